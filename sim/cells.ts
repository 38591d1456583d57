/** Cells on all processors: handed out one at a time to as many threads as there are. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Cell, Task } from "./cell.ts";

export type RunCell = (task: Task) => Promise<Cell>;

/** Gives `use` a way to run cells; the threads end with it. */
export const withCells = async <Result>(
  use: (runCell: RunCell) => Promise<Result>,
): Promise<Result> => {
  const workers = Array.from(
    { length: availableParallelism() },
    () => new Worker(new URL("cell-worker.ts", import.meta.url)),
  );
  const idle = [...workers];
  const waiting: ((worker: Worker) => void)[] = [];
  const runCell: RunCell = async (task) => {
    const worker = idle.pop() ?? (await new Promise<Worker>((resolve) => waiting.push(resolve)));
    const cell = await new Promise<Cell>((resolve, reject) => {
      worker.once("error", reject);
      worker.once("message", (answer: Cell) => {
        worker.off("error", reject);
        resolve(answer);
      });
      worker.postMessage(task, []);
    });
    const next = waiting.shift();
    if (next === undefined) idle.push(worker);
    else next(worker);
    return cell;
  };
  try {
    return await use(runCell);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
};
