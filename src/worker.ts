/** The entry: what Cloudflare calls. No logic. */
import { createApp } from "./app.ts";
import { keyObjectFor } from "./objects/key-object.ts";
import { RevocationObject } from "./objects/revocation-object.ts";
import { operations, queries } from "./operations/registry.ts";

export default createApp({ operations, queries });

export { RevocationObject };

export class KeyObject extends keyObjectFor(operations) {}
