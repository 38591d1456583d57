/**
 * Leaves prose alone: a title or a cause with another wording breaks no promise, and a test that repeats it
 * word for word would only be a second copy. Codes, statuses, retry rules and SQL are not prose.
 */

/** What of Stryker's (Babel's) path is looked at. */
type NodePath = {
  readonly node: {
    readonly type: string;
    readonly key?: { readonly type: string; readonly name?: string };
  };
  readonly parentPath: NodePath | null;
};

const PROSE = new Set(["title", "cause", "cure", "detail", "description", "examples"]);

const shouldIgnore = (path: NodePath): string | undefined => {
  const { type } = path.node;
  if (type !== "StringLiteral" && type !== "TemplateLiteral") return undefined;
  const parent = path.parentPath?.node;
  return parent?.type === "ObjectProperty" && PROSE.has(parent.key?.name ?? "")
    ? "prose: its wording promises nothing"
    : undefined;
};

export const strykerPlugins = [{ kind: "Ignore", name: "prose", value: { shouldIgnore } }];
