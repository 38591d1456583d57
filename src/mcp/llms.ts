/** `/llms.txt`: what an agent's builder, or the agent, reads first. */
import type { Tool } from "./tools.ts";

export const agentsGuide = (tools: readonly Tool[]): string =>
  [
    "# Latchkey",
    "",
    "> An API in which every POST and PATCH runs once per Idempotency-Key, and every retry gets the same answer.",
    "",
    "- One key per intent, kept before the first call, sent with every retry. Retrying with the same key is safe.",
    "- No answer is not a failure: send the same request again, or look the key up. Never take a new key instead.",
    "- `retry.use` of every problem says what to do with the key: same-key, new-key or never.",
    "",
    "## Documents",
    "",
    "- [OpenAPI](openapi.json): every endpoint",
    "- [Agents](docs/agents): the tools and their rules",
    "- [Client guide](docs/client-guide): keys, retries, answers",
    "- [Problems](problems): every error with cause and cure",
    "",
    "## Tools at /mcp (Model Context Protocol, the API's bearer tokens)",
    "",
    ...tools.map(({ name, title }) => `- ${name}: ${title}`),
    "",
  ].join("\n");
