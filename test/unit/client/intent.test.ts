/** What makes a key, a request and a stored intent. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  canonicalJson,
  decodeContent,
  encodeBody,
  encodeBytes,
} from "../../../src/client/content.ts";
import { fileStore } from "../../../src/client/file-store.ts";
import { type Intent, isSameRequest, parseIntent } from "../../../src/client/intent.ts";
import { keyOf, systemRandomness, uuidV7 } from "../../../src/client/key.ts";
import { memoryStore } from "../../../src/client/store.ts";
import { webStore } from "../../../src/client/web-store.ts";

const intent = (key: string, change: Partial<Intent> = {}): Intent => ({
  version: 1,
  key,
  request: {
    method: "POST",
    url: "https://api.example/v1/payments",
    headers: { "content-type": "application/json" },
    content: { kind: "text", text: "{}" },
  },
  createdAtMs: 1,
  safeUntilMs: 2,
  notBeforeMs: 0,
  answer: null,
  ...change,
});

describe("the key", () => {
  it("is a UUID of version 7 that sorts by time and never repeats", () => {
    const at = Date.parse("2026-11-25T12:00:00Z");
    const key = uuidV7(at, systemRandomness);
    expect(key).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(Number.parseInt(key.replaceAll("-", "").slice(0, 12), 16)).toBe(at);
    expect(uuidV7(at + 1, systemRandomness) > key).toBe(true);
    expect(uuidV7(at, systemRandomness)).not.toBe(key);
  });

  it("of metadata is one whatever the order of members, and another for anything else", async () => {
    const key = await keyOf({ order: "1042", act: "pay" });
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    expect(await keyOf({ act: "pay", order: "1042" })).toBe(key);
    expect(await keyOf({ act: "pay", order: 1042 })).not.toBe(key);
    await expect(keyOf({})).rejects.toThrow(TypeError);
    await expect(keyOf({ order: undefined })).rejects.toThrow(TypeError);
  });
});

describe("a body", () => {
  it("of JSON is one text whatever the order of its members, and dates are what JSON makes of them", () => {
    expect(canonicalJson({ b: [1, { d: null, c: "é" }], a: undefined })).toBe(
      '{"b":[1,{"c":"é","d":null}]}',
    );
    expect(canonicalJson({ at: new Date(0) })).toBe('{"at":"1970-01-01T00:00:00.000Z"}');
  });

  it.each([
    ["NaN", { amount: Number.NaN }],
    ["a function", () => 1],
    ["a stream", new ReadableStream()],
    ["a form", new FormData()],
    ["a map", { items: new Map([["a", 1]]) }],
  ])("that is or holds %s is refused, for it could not be sent again", (_, body) => {
    expect(() => encodeBody(body)).toThrow(TypeError);
  });

  it("that holds itself is refused", () => {
    const body: Record<string, unknown> = {};
    body["self"] = body;
    expect(() => encodeBody(body)).toThrow(TypeError);
  });

  it("of any bytes comes back byte for byte", () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(decodeContent(encodeBytes(bytes))).toEqual(bytes);
    expect(encodeBytes(new TextEncoder().encode("\uFEFFé"))).toEqual({
      kind: "text",
      text: "\uFEFFé",
    });
  });
});

describe("a stored intent", () => {
  it("is the same request only if method, URL, headers and body are", () => {
    const { request } = intent("k");
    expect(isSameRequest(request, structuredClone(request))).toBe(true);
    for (const change of [
      { method: "PATCH" },
      { url: "https://api.example/v1/payments?x=1" },
      { headers: {} },
      { headers: { "content-type": "text/plain" } },
      { content: null },
      { content: { kind: "text", text: "{ }" } },
      { content: { kind: "bytes", base64: "{}" } },
    ] as const) {
      expect(isSameRequest(request, { ...request, ...change })).toBe(false);
    }
  });

  it("that is spoilt is none", () => {
    const whole = intent("k");
    expect(parseIntent(structuredClone(whole))).toEqual(whole);
    for (const spoilt of [
      undefined,
      "text",
      { ...whole, version: 2 },
      { ...whole, key: 1 },
      { ...whole, request: { ...whole.request, url: "/relative" } },
      { ...whole, request: { ...whole.request, content: { kind: "text" } } },
      { ...whole, safeUntilMs: Number.NaN },
      { ...whole, answer: {} },
    ]) {
      expect(parseIntent(spoilt)).toBeUndefined();
    }
  });
});

const storage = () => {
  const kept = new Map<string, string>([["the page's own", "x"]]);
  return {
    get length() {
      return kept.size;
    },
    key: (i: number) => [...kept.keys()][i] ?? null,
    getItem: (name: string) => kept.get(name) ?? null,
    setItem: (name: string, value: string) => void kept.set(name, value),
    removeItem: (name: string) => void kept.delete(name),
  };
};

const newFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-intents-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
};

describe.each([
  ["memory", () => memoryStore()],
  ["Web Storage", () => webStore(storage())],
  ["files", () => fileStore(join(newFolder(), "made", "when needed"))],
])("a store in %s", (_, open) => {
  it("keeps the first intent of a key, replaces it when told, lists and deletes", async () => {
    const store = open();
    const first = intent("key-1-/../é");
    expect(await store.all()).toEqual([]);
    expect(await store.get(first.key)).toBeUndefined();
    expect(await store.add(first)).toEqual(first);
    expect(await store.add(intent(first.key, { createdAtMs: 9 }))).toEqual(first);
    expect(await store.add(intent("KEY-1-/../é"))).toMatchObject({ key: "KEY-1-/../é" });
    await store.put({ ...first, notBeforeMs: 7 });
    expect(await store.get(first.key)).toEqual({ ...first, notBeforeMs: 7 });
    expect(await store.all()).toHaveLength(2);
    await store.delete(first.key);
    await store.delete(first.key);
    expect(await store.get(first.key)).toBeUndefined();
    expect(await store.all()).toHaveLength(1);
  });

  it("gives one winner to many who add a key at once", async () => {
    const store = open();
    const winners = await Promise.all(
      Array.from({ length: 20 }, (__, i) => store.add(intent("one", { createdAtMs: i }))),
    );
    expect(new Set(winners.map((one) => JSON.stringify(one))).size).toBe(1);
  });
});

describe("a store in files", () => {
  it("leaves no unfinished file, and shows a spoilt one as what it is", async () => {
    const folder = newFolder();
    const store = fileStore(folder);
    await store.add(intent("a"));
    await store.put(intent("a"));
    expect(readdirSync(folder)).toHaveLength(1);
    writeFileSync(join(folder, "spoilt.json"), "{");
    expect(await store.all()).toContain("{");
  });
});
