/** Time that jumps from one event to the next. Of two at one moment the earlier planned comes first. */
type Event = { readonly atMs: number; readonly order: number; readonly run: () => void };

export class Events {
  nowMs = 0;
  readonly #heap: Event[] = [];
  #planned = 0;

  after(delayMs: number, run: () => void): void {
    const event = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#planned++, run };
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  /** Carries out the next event. False: there is none. */
  step(): boolean {
    const heap = this.#heap;
    const [next] = heap;
    const last = heap.pop();
    if (next === undefined || last === undefined) return false;
    if (heap.length > 0) {
      let at = 0;
      for (;;) {
        let child = 2 * at + 1;
        let below = heap[child];
        if (below === undefined) break;
        const right = heap[child + 1];
        if (right !== undefined && isBefore(right, below)) {
          child += 1;
          below = right;
        }
        if (!isBefore(below, last)) break;
        heap[at] = below;
        at = child;
      }
      heap[at] = last;
    }
    this.nowMs = next.atMs;
    next.run();
    return true;
  }
}

const isBefore = (a: Event, b: Event): boolean =>
  a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
