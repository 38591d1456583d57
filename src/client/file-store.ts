/**
 * Intents in a folder, one file each, for Node. A file is written whole under another name, flushed, and only then named:
 * a process that is killed at any moment leaves the intent as it was, or as it is now. Processes may share the folder.
 */
import { createHash, randomUUID } from "node:crypto";
import { link, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Intent } from "./intent.ts";
import { UNFINISHED_FILE_MS } from "./limits.ts";
import type { IntentStore } from "./store.ts";

const ENDING = ".json";

export const fileStore = (folder: string): IntentStore => {
  // A hash: keys differ in letter case, and some file systems do not; and a key may look like a path.
  const fileOf = (key: string): string =>
    join(folder, createHash("sha256").update(key).digest("hex") + ENDING);

  /** Gives the finished file, flushed, a name by `name`; and makes the name durable too. */
  const write = async (
    intent: Intent,
    name: (unfinished: string, file: string) => Promise<void>,
  ): Promise<void> => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const unfinished = join(folder, `${randomUUID()}.unfinished`);
    try {
      const handle = await open(unfinished, "wx", 0o600);
      try {
        await handle.writeFile(JSON.stringify(intent));
        await handle.sync();
      } finally {
        await handle.close();
      }
      await name(unfinished, fileOf(intent.key));
      await syncFolder(folder);
    } finally {
      await rm(unfinished, { force: true });
    }
  };

  return {
    add: async (intent) => {
      try {
        // Unlike a rename, a link does not replace what is there.
        await write(intent, link);
        return intent;
      } catch (error) {
        if (!isCode(error, "EEXIST")) throw error;
        // Another process may have been killed between giving the name and making it durable.
        await syncFolder(folder);
        return read(fileOf(intent.key));
      }
    },
    get: async (key) => read(fileOf(key)),
    put: async (intent) => write(intent, rename),
    delete: async (key) => rm(fileOf(key), { force: true }),
    all: async () => {
      const names = await namesIn(folder);
      await Promise.all(
        names.filter((name) => !name.endsWith(ENDING)).map((name) => removeOld(join(folder, name))),
      );
      const files = names.filter((name) => name.endsWith(ENDING));
      const kept: unknown[] = [];
      // One after the other: there may be more of them than files that a process may have open.
      for (const name of files) kept.push(await read(join(folder, name)));
      return kept.filter((one) => one !== undefined);
    },
  };
};

/** Undefined if there is none. What is there and is no JSON is given as text, which is no intent. */
const read = async (file: string): Promise<unknown> => {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (isCode(error, "ENOENT")) return undefined;
    throw error;
  }
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

const namesIn = async (folder: string): Promise<string[]> => {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isCode(error, "ENOENT")) return [];
    throw error;
  }
};

const removeOld = async (file: string): Promise<void> => {
  try {
    const { mtimeMs } = await stat(file);
    if (file.endsWith(".unfinished") && Date.now() - mtimeMs > UNFINISHED_FILE_MS) await rm(file);
  } catch (error) {
    // Another process has removed it.
    if (!isCode(error, "ENOENT")) throw error;
  }
};

const syncFolder = async (folder: string): Promise<void> => {
  // Windows cannot open a folder, and makes names durable by itself.
  const handle = await open(folder).catch(() => undefined);
  try {
    await handle?.sync();
  } catch (error) {
    if (!isCode(error, "EPERM") && !isCode(error, "EINVAL")) throw error;
  } finally {
    await handle?.close();
  }
};

const isCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code;
