/**
 * A client in a process of its own, to be killed at any moment: it goes on with what is in its file store, and then pays,
 * each time under a new key, as often as it is told. Of what it did it keeps nothing but the store. It says when it has
 * started, and whenever the store has another intent.
 */
import { createClient } from "../../src/client/client.ts";
import { fileStore } from "../../src/client/file-store.ts";

const [payments = "0", url = "", token = "", folder = "", body = ""] = process.argv.slice(2);

const client = createClient({
  store: fileStore(folder),
  credentials: () => ({ authorization: `Bearer ${token}` }),
  onEvent: ({ type }) => {
    if (type === "stored") process.stdout.write("stored\n");
  },
});

process.stdout.write("started\n");
for (const resumed of await client.resume()) {
  if ("error" in resumed) throw resumed.error;
}
const headers = { "Content-Type": "application/json" };
const pay = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await client.request(url, { body, headers });
};
// Several at once, so that a kill meets intents in every state.
await Promise.all(Array.from({ length: 4 }, async () => pay(Number(payments) / 4)));
