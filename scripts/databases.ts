/** The databases that wrangler.toml binds, by binding name, the first one first. */
import { unstable_readConfig as readConfig } from "wrangler";
import { z } from "zod";

const Config = z.object({ d1_databases: z.array(z.object({ binding: z.string() })) });

export const databases = (): string[] =>
  Config.parse(readConfig({ config: "wrangler.toml" })).d1_databases.map(({ binding }) => binding);
