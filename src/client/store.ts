/**
 * Where intents are kept. A store is shared: two tabs or two processes may have the same one open, and neither locks it.
 * What it must give is little: what `add` has returned is there after a crash, and a reader sees a whole intent or none.
 */
import type { Intent } from "./intent.ts";

export type IntentStore = {
  /** Keeps the intent unless its key has one already; gives what the key has. Durable when it resolves. */
  readonly add: (intent: Intent) => Promise<unknown>;
  readonly get: (key: string) => Promise<unknown>;
  /** Replaces what the key has. Losing such a write costs a request, never an effect. */
  readonly put: (intent: Intent) => Promise<void>;
  readonly delete: (key: string) => Promise<void>;
  /** Everything that is kept, in any order. */
  readonly all: () => Promise<readonly unknown[]>;
};

/** Lives as long as the process: for a client whose intents are kept elsewhere, with their keys. */
export const memoryStore = (): IntentStore => {
  const kept = new Map<string, Intent>();
  return {
    add: (intent) => {
      const known = kept.get(intent.key) ?? intent;
      kept.set(intent.key, known);
      return Promise.resolve(known);
    },
    get: (key) => Promise.resolve(kept.get(key)),
    put: (intent) => {
      kept.set(intent.key, intent);
      return Promise.resolve();
    },
    delete: (key) => {
      kept.delete(key);
      return Promise.resolve();
    },
    all: () => Promise.resolve([...kept.values()]),
  };
};
