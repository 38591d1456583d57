/** `npm run docs`: writes what is made of the guides in docs/ and of web/. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { docsFiles } from "./docs-files.ts";
import { main, root } from "./tool.ts";

await main(async () => {
  for (const [path, text] of docsFiles()) writeFileSync(join(root, path), text);
});
