/**
 * The part of `node:crypto` that the Worker uses (workerd implements it under `nodejs_compat`).
 *
 * `@types/node` would bring every Node global and module into `src/`, so that code which cannot run
 * on Workers would still compile. Add a function here when `src/` needs one; the tests' program reads
 * the same sources against the real `@types/node` and so checks that these declarations are true.
 */
declare module "node:crypto" {
  type Algorithm = "sha256" | "sha512";
  type Encoding = "hex" | "base64" | "base64url";
  type Bytes = ArrayBufferView;

  interface Digest {
    update(data: string | Bytes): this;
    digest(): Uint8Array<ArrayBuffer>;
    digest(encoding: Encoding): string;
  }

  export function createHash(algorithm: Algorithm): Digest;
  /** In one call, without an object for it. */
  export function hash(algorithm: Algorithm, data: string | Bytes, encoding: Encoding): string;
  export function createHmac(algorithm: Algorithm, key: string | Bytes): Digest;

  /** @throws RangeError when the two differ in length: compare digests, never raw input. */
  export function timingSafeEqual(a: Bytes, b: Bytes): boolean;
}
