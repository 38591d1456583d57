/** All files of a worker share one runtime, as starting it costs more than most of them: each begins with empty storage. */
import { reset } from "cloudflare:test";
import { beforeAll } from "vitest";

beforeAll(() => reset());
