/**
 * Leaves prose alone: a title or a cause with another wording breaks no promise, and a test that repeats it
 * word for word would only be a second copy. Codes, statuses, retry rules and SQL are not prose.
 */

/** What of Stryker's (Babel's) path is looked at. */
type NodePath = {
  readonly node: {
    readonly type: string;
    readonly key?: { readonly name?: string };
    readonly callee?: { readonly property?: { readonly name?: string } };
  };
  readonly parentPath: NodePath | null;
};

const PROSE = new Set(["title", "cause", "cure", "detail"]);

const shouldIgnore = (path: NodePath): string | undefined => {
  const parent = path.parentPath?.node;
  switch (path.node.type) {
    case "StringLiteral":
    case "TemplateLiteral":
      return parent?.type === "ObjectProperty" && PROSE.has(parent.key?.name ?? "")
        ? "prose: its wording promises nothing"
        : undefined;
    case "ObjectExpression":
      // What a schema says of itself to the reader of the OpenAPI document.
      return parent?.callee?.property?.name === "meta" ? "prose: documentation only" : undefined;
  }
  return undefined;
};

export const strykerPlugins = [{ kind: "Ignore", name: "prose", value: { shouldIgnore } }];
