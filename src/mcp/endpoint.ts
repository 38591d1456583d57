/**
 * The Model Context Protocol over HTTP, without sessions: every message stands alone, so that a client whose stream broke
 * may call again through any isolate, and our key, not the message's id, finds the first call. It remembers nothing.
 */
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server";
import { systemClock } from "../kernel/clock.ts";
import { systemRandomness, timeOrderedId } from "../kernel/ids.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { Catalogue } from "../operations/catalogue.ts";
import { agentsGuide } from "./llms.ts";
import { answerResult, refusedResult, type ToolResult, toResult } from "./result.ts";
import { type Arguments, type Tool, type ToolRequest, toolsOf } from "./tools.ts";

/** Sends a request through the app's own routes, in the name of whoever calls. */
export type Dispatch = (request: ToolRequest) => Promise<Response>;

export type AgentFace = {
  /** @param body the message, read and parsed */
  readonly serve: (request: Request, body: unknown, dispatch: Dispatch) => Promise<Response>;
  /** What `/llms.txt` says. */
  readonly guide: string;
};

export const agentFace = (catalogue: Catalogue): AgentFace => {
  const tools = toolsOf(catalogue, {
    newKey: () => timeOrderedId(systemClock(), systemRandomness),
  });
  return {
    serve: async (request, body, dispatch) => {
      const handler = createMcpHandler(() => serverOf(tools, dispatch), { responseMode: "json" });
      return handler.fetch(request, { parsedBody: body });
    },
    guide: agentsGuide(tools),
  };
};

const INSTRUCTIONS =
  "Tools that change something take idempotencyKey. Get one by begin_operation, keep it, and use it for every call of that intent. If no result came, call again with the same key and arguments, or ask get_operation. Never take a new key while the outcome is unknown-yet, in-flight or uncertain.";

const serverOf = (tools: readonly Tool[], dispatch: Dispatch): McpServer => {
  const mcp = new McpServer(
    { name: "latchkey", version: "0.1.0" },
    { capabilities: { tools: {} }, instructions: INSTRUCTIONS },
  );
  // Below its own tools, which would judge arguments by the schema before the key's state is known.
  const { server } = mcp;
  server.setRequestHandler("tools/list", () => ({
    tools: tools.map(({ name, title, description, inputSchema, annotations }) => ({
      name,
      title,
      description,
      inputSchema,
      annotations,
    })),
  }));
  server.setRequestHandler("tools/call", async ({ params }) => {
    const tool = tools.find(({ name }) => name === params.name);
    return tool === undefined
      ? refusedResult(`There is no tool ${params.name}.`)
      : call(tool, params.arguments ?? {}, dispatch);
  });
  return mcp;
};

const call = async (tool: Tool, given: Arguments, dispatch: Dispatch): Promise<ToolResult> => {
  const plan = tool.plan(given);
  if (!plan.ok) return refusedResult(plan.failure);
  if ("answer" in plan.value) return toResult(plan.value.answer);
  if ("send" in plan.value) return answerOf(plan.value.send, dispatch);
  const pages: JsonObject[] = [];
  for (const { of, send } of plan.value.pages) {
    const page = await answerOf(send, dispatch);
    if (page.isError) return page;
    pages.push({ ...of, ...page.structuredContent });
  }
  return toResult({ pages });
};

const answerOf = async (request: ToolRequest, dispatch: Dispatch): Promise<ToolResult> =>
  answerResult(request, await dispatch(request));
