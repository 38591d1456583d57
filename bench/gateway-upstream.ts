/** The upstream of `--only gateway`, in a process of its own: answers each call after so many milliseconds. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const delayMs = Number(process.argv[2] ?? "20");
let charges = 0;

const server = createServer((request, response) => {
  request.resume();
  request.once("end", () => {
    setTimeout(() => {
      charges += 1;
      const body = JSON.stringify({
        id: `ch_${String(charges).padStart(10, "0")}`,
        object: "charge",
      });
      response.writeHead(200, {
        "Content-Type": "application/json",
        "Content-Length": body.length,
      });
      response.end(body);
    }, delayMs);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
