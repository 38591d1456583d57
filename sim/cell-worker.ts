/** Runs one cell after the other, in a thread of its own: a mode of an SDK that borrows the clock borrows only this one's. */
import { parentPort } from "node:worker_threads";
import { runCell, type Task } from "./cell.ts";

if (parentPort === null) throw new Error("This is run as a worker.");
const port = parentPort;
port.on("message", (task: Task) => {
  // A failure ends the thread, and with it the run.
  void runCell(task).then((cell) => port.postMessage(cell));
});
