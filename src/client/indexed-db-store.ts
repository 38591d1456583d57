/** Intents in IndexedDB: for a page, its workers and its service worker alike. */
import type { Intent } from "./intent.ts";
import type { IntentStore } from "./store.ts";

const OBJECTS = "intents";

/** @param name of the database; every tab of the origin that names it shares it */
export const indexedDbStore = (name = "latchkey"): IntentStore => {
  let opened: Promise<IDBDatabase> | undefined;
  const database = async (): Promise<IDBDatabase> => {
    opened ??= open(name, () => (opened = undefined));
    try {
      return await opened;
    } catch (error) {
      // Else one failure would be kept for ever.
      opened = undefined;
      throw error;
    }
  };
  /** Resolves when the transaction is done, which is when it is durable. */
  const within = async <Value>(
    mode: IDBTransactionMode,
    work: (objects: IDBObjectStore) => IDBRequest<Value>,
  ): Promise<Value> => {
    const transaction = (await database()).transaction(OBJECTS, mode, { durability: "strict" });
    const request = work(transaction.objectStore(OBJECTS));
    await new Promise<void>((resolve, reject) => {
      transaction.addEventListener("complete", () => resolve());
      transaction.addEventListener("abort", () => reject(failureOf(transaction.error)));
    });
    return request.result;
  };
  return {
    add: async (intent) => {
      let known: unknown;
      await within("readwrite", (objects) => {
        const found = objects.get(intent.key) as IDBRequest<unknown>;
        found.addEventListener("success", () => {
          known = found.result ?? intent;
          if (found.result === undefined) objects.put(intent);
        });
        return found;
      });
      return known;
    },
    get: async (key) =>
      within("readonly", (objects) => objects.get(key) as IDBRequest<Intent | undefined>),
    put: async (intent) => {
      await within("readwrite", (objects) => objects.put(intent));
    },
    delete: async (key) => {
      await within("readwrite", (objects) => objects.delete(key));
    },
    all: async () => within("readonly", (objects) => objects.getAll() as IDBRequest<unknown[]>),
  };
};

const open = async (name: string, closed: () => void): Promise<IDBDatabase> =>
  new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.addEventListener("upgradeneeded", () => {
      request.result.createObjectStore(OBJECTS, { keyPath: "key" });
    });
    request.addEventListener("error", () => reject(failureOf(request.error)));
    request.addEventListener("success", () => {
      const db = request.result;
      // A later version of this store, in another tab, may replace it.
      db.addEventListener("versionchange", () => {
        db.close();
        closed();
      });
      db.addEventListener("close", closed);
      resolve(db);
    });
  });

const failureOf = (error: DOMException | null): Error =>
  error ?? new Error("IndexedDB refused, and did not say why.");
