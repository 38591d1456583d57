/**
 * Breadth-first search of every state that a model can reach. States are kept whole, as bytes: none is taken for
 * another because of a hash. What is found first is found by a shortest way, so a counterexample is short.
 */
import type { Model, Step } from "./model.ts";
import { type Broken, brokenBy, brokenIn, isOver } from "./properties.ts";
import type { State } from "./state.ts";

export type Counterexample = Broken & {
  /** One line for each step from the beginning. */
  readonly trace: readonly string[];
};

export type Search = {
  readonly states: number;
  readonly steps: number;
  readonly depth: number;
  readonly seconds: number;
  /** The first that was found; the search stops there. */
  readonly counterexample: Counterexample | undefined;
};

/** Throws if there are more states than `statesMax`: a search that was cut short shows nothing. */
export const explore = (model: Model, statesMax: number): Search => {
  const startedAtMs = performance.now();
  const { scenario, codec } = model;
  const known = new StateSet(codec.bytes);
  const ways = new Ways();
  let steps = 0;
  let depth = 0;

  const finish = (broken?: Broken, at?: number, last?: Step): Search => ({
    states: known.size,
    steps,
    depth,
    seconds: (performance.now() - startedAtMs) / 1000,
    counterexample:
      broken === undefined || at === undefined
        ? undefined
        : { ...broken, trace: traceTo(model, known, at, last) },
  });

  known.add(codec.encode(model.initial), -1);
  let endOfLevel = 1;
  for (let at = 0; at < known.size; at++) {
    if (at === endOfLevel) {
      depth += 1;
      endOfLevel = known.size;
    }
    const state = stateAt(model, known, at);
    let broken: { readonly by: Broken; readonly step: Step } | undefined;
    let goesOn = false;
    model.steps(state, (step) => {
      if (broken !== undefined) return;
      steps += 1;
      for (const said of step.said) {
        const by = brokenBy(said, step.next, scenario);
        if (by !== undefined) broken ??= { by, step };
      }
      const length = codec.encode(step.next);
      const before = known.size;
      const index = known.add(length, at);
      if (!step.isFault && index !== at) {
        goesOn = true;
        ways.add(index);
      }
      if (index < before) return;
      const by = brokenIn(step.next, scenario);
      if (by !== undefined) broken ??= { by, step };
    });
    ways.close();
    if (broken !== undefined) return finish(broken.by, at, broken.step);
    if (!goesOn && !isOver(state)) {
      return finish({ property: "LV", what: "nothing goes on, and somebody has no answer" }, at);
    }
    if (known.size > statesMax) {
      throw new Error(`${scenario.name}: more than ${statesMax} states.`);
    }
  }
  const circling = ways.onACycle();
  if (circling !== undefined) {
    return finish({ property: "LV", what: "it can go on for ever without a fault" }, circling);
  }
  return finish();
};

const stateAt = (model: Model, known: StateSet, index: number) => {
  const { keys, requests } = model.scenario;
  return model.codec.decode(known.arena, known.offsetOf(index), keys, requests.length);
};

/** The labels on the way to a state, and of the last step that is not a state of its own yet. */
const traceTo = (model: Model, known: StateSet, to: number, last: Step | undefined): string[] => {
  const path: number[] = [];
  for (let at = to; at !== -1; at = known.parentOf(at)) path.push(at);
  path.reverse();
  let state = model.initial;
  const labels: string[] = [];
  const follow = (isNext: (step: Step) => boolean): void => {
    let taken: Step | undefined;
    model.steps(state, (step) => {
      if (taken === undefined && isNext(step)) taken = step;
    });
    if (taken === undefined) throw new Error("A trace cannot be walked again.");
    labels.push(taken.label());
    // Not as it was stored: nonces and runs keep their names from one line to the next.
    state = taken.next;
  };
  for (const child of path.slice(1)) {
    follow((step) => known.find(model.codec.encode(step.next)) === child);
  }
  if (last !== undefined) {
    const end = stored(model, last.next);
    follow((step) => stored(model, step.next) === end);
  }
  return labels;
};

const stored = (model: Model, state: State): string =>
  model.codec.bytes.subarray(0, model.codec.encode(state)).join(" ");

/** A set of byte strings, numbered in the order of their coming, each with its parent. */
class StateSet {
  arena = new Uint8Array(1 << 24);
  size = 0;
  /** What `add` and `find` look at. */
  readonly #candidate: Uint8Array;
  #end = 0;
  #offsets = new Uint32Array(1 << 16);
  #parents = new Int32Array(1 << 16);
  #hashes = new Uint32Array(1 << 16);
  /** Open addressing: number of the state plus one. */
  #table = new Uint32Array(1 << 18);

  constructor(candidate: Uint8Array) {
    this.#candidate = candidate;
  }

  offsetOf(index: number): number {
    return this.#offsets[index] ?? 0;
  }

  parentOf(index: number): number {
    return this.#parents[index] ?? -1;
  }

  /** Number of the candidate; undefined if it is new. */
  find(length: number): number | undefined {
    const slot = this.#slotOf(length, this.#hash(length));
    const found = this.#table[slot] ?? 0;
    return found === 0 ? undefined : found - 1;
  }

  /** Number of the candidate, which is the size before if it was new. */
  add(length: number, parent: number): number {
    const hash = this.#hash(length);
    const slot = this.#slotOf(length, hash);
    const found = this.#table[slot] ?? 0;
    if (found !== 0) return found - 1;
    const index = this.size;
    this.#makeRoom(length);
    this.arena.set(this.#candidate.subarray(0, length), this.#end);
    this.#offsets[index] = this.#end;
    this.#parents[index] = parent;
    this.#hashes[index] = hash;
    this.#end += length;
    this.#offsets[index + 1] = this.#end;
    this.#table[slot] = index + 1;
    this.size += 1;
    if (this.size * 2 > this.#table.length) this.#rehash();
    return index;
  }

  #hash(length: number): number {
    let hash = 0x811c9dc5;
    for (let i = 0; i < length; i++) {
      hash = Math.imul(hash ^ (this.#candidate[i] ?? 0), 0x01000193);
    }
    hash ^= hash >>> 15;
    hash = Math.imul(hash, 0x2c1b3c6d);
    return (hash ^ (hash >>> 13)) >>> 0;
  }

  #slotOf(length: number, hash: number): number {
    const mask = this.#table.length - 1;
    let slot = hash & mask;
    for (;;) {
      const entry = this.#table[slot] ?? 0;
      if (entry === 0 || this.#isSame(entry - 1, length, hash)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #isSame(index: number, length: number, hash: number): boolean {
    if (this.#hashes[index] !== hash) return false;
    const from = this.#offsets[index] ?? 0;
    if ((this.#offsets[index + 1] ?? 0) - from !== length) return false;
    for (let i = 0; i < length; i++) {
      if (this.arena[from + i] !== this.#candidate[i]) return false;
    }
    return true;
  }

  #makeRoom(length: number): void {
    if (this.#end + length > this.arena.length) this.arena = grown(this.arena, Uint8Array);
    if (this.size + 2 > this.#offsets.length) {
      this.#offsets = grown(this.#offsets, Uint32Array);
      this.#parents = grown(this.#parents, Int32Array);
      this.#hashes = grown(this.#hashes, Uint32Array);
    }
  }

  #rehash(): void {
    this.#table = new Uint32Array(this.#table.length * 2);
    const mask = this.#table.length - 1;
    for (let index = 0; index < this.size; index++) {
      let slot = (this.#hashes[index] ?? 0) & mask;
      while (this.#table[slot] !== 0) slot = (slot + 1) & mask;
      this.#table[slot] = index + 1;
    }
  }
}

/** The steps without a fault, from each state in the order of their numbers. */
class Ways {
  #to = new Int32Array(1 << 18);
  #ends = new Int32Array(1 << 16);
  #count = 0;
  #states = 0;

  add(to: number): void {
    if (this.#count === this.#to.length) this.#to = grown(this.#to, Int32Array);
    this.#to[this.#count++] = to;
  }

  /** The ways of the next state are complete. */
  close(): void {
    if (this.#states === this.#ends.length) this.#ends = grown(this.#ends, Int32Array);
    this.#ends[this.#states++] = this.#count;
  }

  /** A state that lies on or behind a cycle: what is left when states without a way in are taken off one by one. */
  onACycle(): number | undefined {
    const waysIn = new Int32Array(this.#states);
    for (let i = 0; i < this.#count; i++) {
      const to = this.#to[i] ?? 0;
      waysIn[to] = (waysIn[to] ?? 0) + 1;
    }
    const open: number[] = [];
    waysIn.forEach((count, state) => {
      if (count === 0) open.push(state);
    });
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      waysIn[next] = -1;
      const from = next === 0 ? 0 : (this.#ends[next - 1] ?? 0);
      for (let i = from; i < (this.#ends[next] ?? 0); i++) {
        const to = this.#to[i] ?? 0;
        const left = (waysIn[to] ?? 0) - 1;
        waysIn[to] = left;
        if (left === 0) open.push(to);
      }
    }
    const circling = waysIn.findIndex((count) => count > 0);
    return circling === -1 ? undefined : circling;
  }
}

const grown = <Numbers extends Uint8Array | Uint32Array | Int32Array>(
  numbers: Numbers,
  Twice: new (length: number) => Numbers,
): Numbers => {
  const twice = new Twice(numbers.length * 2);
  twice.set(numbers);
  return twice;
};
