import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkMediaType, decodeText, readBytes } from "../../../src/http/json-body.ts";
import { BODY_BYTES_MAX } from "../../../src/kernel/limits.ts";
import { property, text } from "../property.ts";

/** The problem that these headers get; undefined if they pass. */
const refusal = (headers: Record<string, string>): string | undefined => {
  const result = checkMediaType(new Headers(headers));
  return result.ok ? undefined : result.failure.code;
};

const decoded = (bytes: readonly number[]): string => {
  const result = decodeText(new Uint8Array(bytes));
  return result.ok ? `text ${result.value}` : result.failure.code;
};

/** What the runtime's own bodies are, and what a host may make of one in its middleware. */
const KINDS = ["bytes", "chunks"] as const;

/** A request whose body is a stream of that kind, without Content-Length. */
const streaming = (
  kind: (typeof KINDS)[number],
  pull: (
    controller: ReadableByteStreamController | ReadableStreamDefaultController<Uint8Array>,
  ) => void,
): Request => {
  const body: ReadableStream<Uint8Array> =
    kind === "bytes" ? new ReadableStream({ type: "bytes", pull }) : new ReadableStream({ pull });
  const init = { method: "POST", body, duplex: "half" };
  return new Request("http://latchkey.example/", init);
};

/** One whose body comes in these chunks. */
const streamed = (
  kind: (typeof KINDS)[number],
  chunks: readonly Uint8Array<ArrayBuffer>[],
  end: "closes" | "breaks" = "closes",
): Request => {
  const left = [...chunks];
  return streaming(kind, (controller) => {
    const chunk = left.shift();
    if (chunk !== undefined) controller.enqueue(chunk);
    else if (end === "breaks") controller.error(new Error("reset"));
    else {
      controller.close();
      // The read that waits gets what there is.
      if ("byobRequest" in controller) controller.byobRequest?.respond(0);
    }
  });
};

const read = async (request: Request): Promise<Uint8Array | string> => {
  const result = await readBytes(request);
  return result.ok ? result.value : result.failure.code;
};

describe("18: the media type", () => {
  it.each([
    "application/json",
    "APPLICATION/JSON",
    "application/json; charset=utf-8",
    'application/json;charset="UTF-8"',
    "application/json ; charset = utf-8",
    "application/json; profile=x",
  ])("%s is read", (type) => {
    expect(refusal({ "Content-Type": type })).toBeUndefined();
  });

  it.each([
    "text/plain",
    "text/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json-patch+json",
    "application/problem+json",
    "application/jsonp",
    "application/json, application/json",
    "application",
    "",
  ])("%j is not", (type) => {
    expect(refusal({ "Content-Type": type })).toBe("unsupported-media-type");
  });

  it("that is missing is not guessed", () => {
    expect(refusal({})).toBe("unsupported-media-type");
  });

  it.each(["latin1", "utf-16", "utf8", "", "us-ascii", "utf-8x"])(
    "19: charset=%s is another",
    (charset) => {
      expect(refusal({ "Content-Type": `application/json; charset=${charset}` })).toBe(
        "unsupported-media-type",
      );
    },
  );

  it.each(["gzip", "br", "deflate", "identity, gzip", "x"])(
    "21: Content-Encoding %s is not decoded",
    (encoding) => {
      expect(refusal({ "Content-Type": "application/json", "Content-Encoding": encoding })).toBe(
        "unsupported-media-type",
      );
    },
  );

  it("21: Content-Encoding identity is none", () => {
    expect(
      refusal({ "Content-Type": "application/json", "Content-Encoding": " Identity " }),
    ).toBeUndefined();
  });
});

describe.each(KINDS)("the bytes of a body that is a stream of %s", (kind) => {
  it("are put together from however many chunks", async () => {
    const chunks = [[1, 2], [3], [4, 5, 6]].map((chunk) => new Uint8Array(chunk));
    await expect(read(streamed(kind, chunks))).resolves.toEqual(new Uint8Array([1, 2, 3, 4, 5, 6]));
    await expect(read(streamed(kind, [new Uint8Array([7])]))).resolves.toEqual(new Uint8Array([7]));
  });

  it("may be none", async () => {
    const none = new Request("http://latchkey.example/", { method: "POST" });
    await expect(read(none)).resolves.toEqual(new Uint8Array());
    await expect(read(streamed(kind, []))).resolves.toEqual(new Uint8Array());
  });

  it("32: pass up to the limit, and are refused one byte beyond it, in chunks too", async () => {
    // A new one each time: a stream of bytes takes what it is given.
    const quarters = () => Array.from({ length: 4 }, () => new Uint8Array(BODY_BYTES_MAX / 4));
    await expect(read(streamed(kind, quarters()))).resolves.toHaveLength(BODY_BYTES_MAX);
    const over = [...quarters(), new Uint8Array(1)];
    await expect(read(streamed(kind, over))).resolves.toBe("body-too-large");
    await expect(read(streamed(kind, [new Uint8Array(BODY_BYTES_MAX + 1)]))).resolves.toBe(
      "body-too-large",
    );
  });

  it("32: of an endless stream are not waited for", async () => {
    let pulled = 0;
    const endless = streaming(kind, (controller) => {
      pulled += 1;
      controller.enqueue(new Uint8Array(1_024));
    });
    await expect(read(endless)).resolves.toBe("body-too-large");
    expect(pulled).toBeLessThan(100);
  });

  it("32: are refused by their announced length before any is read", async () => {
    const request = streamed(kind, [], "breaks");
    request.headers.set("Content-Length", String(BODY_BYTES_MAX + 1));
    await expect(read(request)).resolves.toBe("body-too-large");
  });

  it("31: that end early are no body", async () => {
    await expect(read(streamed(kind, [new Uint8Array([123])], "breaks"))).resolves.toBe(
      "request-invalid",
    );
  });
});

describe("the text of a body", () => {
  it("20: is UTF-8, strictly: nothing is replaced", () => {
    expect(decoded([0x22, 0xc3, 0xa9, 0x22])).toBe('text "é"');
    expect(decoded([])).toBe("text ");
  });

  it.each([
    ["a byte of Latin-1", [0x22, 0xe9, 0x22]],
    ["a sequence cut short", [0x22, 0xf0, 0x9f, 0x98]],
    ["a continuation byte alone", [0x80]],
    ["an overlong slash", [0xc0, 0xaf]],
    ["half of a surrogate pair", [0xed, 0xa0, 0x80]],
    ["a code point beyond Unicode", [0xf4, 0x90, 0x80, 0x80]],
    ["UTF-16", [0xff, 0xfe, 0x7b, 0x00]],
  ])("20: with %s is refused: two bodies must not become one", (_, bytes) => {
    expect(decoded(bytes)).toBe("request-invalid");
  });

  it("19: with a byte order mark is refused, not silently the same without it", () => {
    expect(decoded([0xef, 0xbb, 0xbf, 0x7b, 0x7d])).toBe("request-invalid");
    expect(decoded([0x22, 0xef, 0xbb, 0xbf, 0x22])).toBe('text "\uFEFF"');
  });

  property(
    "20: is what was encoded, to the character",
    fc.property(text, (sent) => {
      if (sent.startsWith("\uFEFF")) return;
      expect(decodeText(new TextEncoder().encode(sent))).toEqual({ ok: true, value: sent });
    }),
  );

  property(
    "20: comes from one sequence of bytes only",
    fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
      const result = decodeText(bytes);
      if (result.ok) expect([...new TextEncoder().encode(result.value)]).toEqual([...bytes]);
    }),
    2_000,
  );
});
