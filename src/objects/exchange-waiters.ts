/** Who waits for an exchange to come to something: a final answer, or the word that it will not. In memory only. */
import { WAITERS_PER_KEY_MAX, WAITERS_PER_OBJECT_MAX } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";

export class Waiters<News> {
  readonly #waiting = new Map<string, Set<(news: News) => void>>();
  #count = 0;

  /** What they are told; undefined if that takes longer, or too many wait already. */
  async wait(key: string, ms: number): Promise<News | undefined> {
    const waiting = this.#waiting.get(key) ?? new Set();
    if (waiting.size >= WAITERS_PER_KEY_MAX || this.#count >= WAITERS_PER_OBJECT_MAX) {
      return undefined;
    }
    this.#waiting.set(key, waiting);
    this.#count += 1;
    const told = Promise.withResolvers<News>();
    waiting.add(told.resolve);
    try {
      return await withTimeout(told.promise, ms);
    } catch {
      return undefined;
    } finally {
      this.#count -= 1;
      waiting.delete(told.resolve);
      if (waiting.size === 0 && this.#waiting.get(key) === waiting) this.#waiting.delete(key);
    }
  }

  wake(key: string, news: News): void {
    const waiting = this.#waiting.get(key);
    this.#waiting.delete(key);
    for (const tell of waiting ?? []) tell(news);
  }
}
