/** An agent's side of the Model Context Protocol: the official client, closed when its test ends. */
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { onTestFinished } from "vitest";
import { z } from "zod";

export const connectAgent = async (
  url: string,
  headers: Readonly<Record<string, string>>,
): Promise<Client> => {
  const client = new Client(
    { name: "test", version: "1" },
    { versionNegotiation: { mode: "auto" } },
  );
  await client.connect(
    new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }),
  );
  onTestFinished(async () => client.close());
  return client;
};

const structured = z.record(z.string(), z.unknown());

/** The structured content, with `isError` beside it. */
export const callTool = async (
  client: Client,
  name: string,
  given: Record<string, unknown>,
): Promise<Readonly<Record<string, unknown>>> => {
  const { structuredContent, isError } = await client.callTool({ name, arguments: given });
  const seen: Record<string, unknown> = structured.parse(structuredContent);
  return { ...seen, isError: isError === true };
};
