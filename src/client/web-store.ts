/**
 * Intents in Web Storage: `localStorage` outlives the browser, `sessionStorage` the page. Few and small ones: there is
 * room for some 5 MB, and a full storage refuses the next intent before it is sent.
 */
import type { Intent } from "./intent.ts";
import type { IntentStore } from "./store.ts";

/** What is used of `Storage`. */
export type WebStorage = {
  readonly length: number;
  readonly key: (index: number) => string | null;
  readonly getItem: (name: string) => string | null;
  readonly setItem: (name: string, value: string) => void;
  readonly removeItem: (name: string) => void;
};

/** @param prefix of the names in the storage, which the page uses for other things too */
export const webStore = (storage: WebStorage, prefix = "latchkey:"): IntentStore => {
  const read = (name: string): unknown => {
    const text = storage.getItem(name);
    if (text === null) return undefined;
    try {
      return JSON.parse(text);
    } catch {
      // Not ours, or spoilt: whoever reads it finds that it is no intent.
      return text;
    }
  };
  const write = (intent: Intent): void =>
    storage.setItem(prefix + intent.key, JSON.stringify(intent));
  return {
    // One turn: no other tab comes between the look and the write.
    add: async (intent) => {
      const known = read(prefix + intent.key);
      if (known === undefined) write(intent);
      return known ?? intent;
    },
    get: async (key) => read(prefix + key),
    put: async (intent) => write(intent),
    delete: async (key) => storage.removeItem(prefix + key),
    all: async () => {
      const names = Array.from({ length: storage.length }, (_, i) => storage.key(i));
      return names.flatMap((name) => (name?.startsWith(prefix) === true ? [read(name)] : []));
    },
  };
};
