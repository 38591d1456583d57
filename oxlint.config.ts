import { readdirSync } from "node:fs";
import { defineConfig, type OxlintOverride } from "oxlint";

/**
 * The layers of src/, lowest first, and what each may import: itself and what is listed. Everything
 * else is refused, so the arrows between folders keep one direction and a cycle cannot form.
 */
const domain = ["kernel", "contract"];
const storage = [...domain, "idempotency", "ledger", "orders", "advisor"];
const services = [...storage, "journal"];
const shell = [...services, "operations", "gateway", "audit", "env.ts"];
const faces = [...shell, "objects"];

type Layer = {
  readonly imports: readonly string[];
  /** Importable with `import type` only. */
  readonly types?: readonly string[];
  readonly hono?: true;
  readonly workers?: true;
  /** Decides over data it is given: now, ids and randomness come in as arguments. */
  readonly pure?: true;
};

const layers: Readonly<Record<string, Layer>> = {
  kernel: { imports: [] },
  contract: { imports: ["kernel"], pure: true },
  idempotency: { imports: domain, pure: true },
  ledger: { imports: domain, pure: true },
  orders: { imports: domain, pure: true },
  advisor: { imports: domain, pure: true },
  journal: { imports: storage },
  operations: { imports: services, pure: true },
  gateway: { imports: services },
  audit: { imports: services },
  objects: { imports: shell, workers: true },
  http: { imports: faces, hono: true },
  mcp: { imports: faces, hono: true },
  // Sign-in, files and streams are those of http.
  console: { imports: [...faces, "http"], hono: true },
  client: { imports: ["contract"], types: ["operations"] },

  // Bindings and vars: it names the objects' classes, and nothing of them exists when it runs.
  "env.ts": { imports: domain, types: ["objects"] },
  "app.ts": { imports: [...faces, "http", "mcp", "console"], hono: true },
  "index.ts": { imports: [...faces, "http", "app.ts"], hono: true },
  "worker.ts": { imports: [...faces, "http", "mcp", "console", "app.ts"], workers: true },
};

// A folder that is not in the table would be held to nothing.
for (const entry of readdirSync(new URL("src/", import.meta.url), { withFileTypes: true })) {
  if (entry.name.endsWith(".d.ts") || entry.name.startsWith(".")) continue;
  if (!Object.hasOwn(layers, entry.name)) {
    throw new Error(`src/${entry.name}: give it a place among the layers of oxlint.config.ts`);
  }
}

const override = ([name, layer]: [string, Layer]): OxlintOverride => {
  const isFile = name.endsWith(".ts");
  // A file of src/ itself says "./journal/…", one in a folder says "../journal/…".
  const up = isFile ? String.raw`^\./` : String.raw`^(\.\./)+`;
  const others = Object.keys(layers).filter((other) => other !== name);
  const allowed = `${name} may import ${layer.imports.length === 0 ? "nothing else of src/" : layer.imports.join(", ")}`;

  const patterns = others
    .filter((other) => !layer.imports.includes(other))
    .map((other) => ({
      regex: up + other.replace(".", String.raw`\.`) + (other.endsWith(".ts") ? "$" : "/"),
      allowTypeImports: layer.types?.includes(other) ?? false,
      message: layer.types?.includes(other)
        ? `${allowed}, and of ${other} only types.`
        : `${allowed}.`,
    }));
  if (layer.hono !== true) {
    patterns.push({
      regex: "^@?hono(/|$)",
      allowTypeImports: false,
      message: "Only http, mcp, console and app.ts know the web framework.",
    });
  }
  if (layer.workers !== true) {
    patterns.push({
      regex: "^cloudflare:",
      allowTypeImports: false,
      message: "Only objects and worker.ts touch the platform's modules; pass in what is needed.",
    });
  }

  return {
    files: isFile ? [`src/${name}`] : [`src/${name}/**/*.ts`, `src/${name}/**/*.tsx`],
    rules: {
      "no-restricted-imports": ["error", { patterns }],
      "no-restricted-properties": [
        "error",
        ...(name === "journal"
          ? []
          : [{ property: "prepare", message: "Only journal/ runs SQL on D1." }]),
        ...(layer.pure === true
          ? [
              { object: "Date", property: "now", message: "The time is passed in." },
              { object: "Math", property: "random", message: "Randomness is passed in." },
              { object: "crypto", property: "randomUUID", message: "Ids are passed in." },
            ]
          : []),
      ],
    },
  };
};

export default defineConfig({
  plugins: ["typescript", "unicorn", "oxc", "import", "promise", "vitest"],
  categories: { correctness: "error", suspicious: "error", perf: "error" },
  options: { typeAware: true, reportUnusedDisableDirectives: "error", denyWarnings: true },
  ignorePatterns: ["node_modules", "dist", "coverage", ".wrangler", ".reports"],
  rules: {
    // Every promise is awaited or handed to waitUntil: a lost one is an effect nobody waits for.
    "typescript/no-floating-promises": "error",
    "typescript/no-misused-promises": "error",
    "typescript/await-thenable": "error",
    // An await inside try is what makes its catch see the failure.
    "typescript/return-await": ["error", "in-try-catch"],

    // Inside the parsed edge there is no any, no `!`, and no switch with a forgotten or default case.
    "typescript/no-explicit-any": "error",
    "typescript/no-non-null-assertion": "error",
    "typescript/no-unsafe-argument": "error",
    "typescript/no-unsafe-assignment": "error",
    "typescript/no-unsafe-call": "error",
    "typescript/no-unsafe-member-access": "error",
    "typescript/no-unsafe-return": "error",
    "typescript/switch-exhaustiveness-check": [
      "error",
      { allowDefaultCaseForExhaustiveSwitch: false, considerDefaultExhaustiveForUnions: false },
    ],
    "typescript/only-throw-error": "error",
    "typescript/prefer-promise-reject-errors": "error",
    "typescript/no-deprecated": "error",

    "typescript/consistent-type-imports": [
      "error",
      { fixStyle: "inline-type-imports", disallowTypeAnnotations: false },
    ],
    "typescript/no-import-type-side-effects": "error",
    "import/no-cycle": "error",
    "import/no-self-import": "error",
    "import/no-duplicates": "error",

    eqeqeq: "error",
    "no-var": "error",
    "prefer-const": "error",
    "no-shadow": "error",
    "no-param-reassign": "error",
    "no-eval": "error",
    "no-new-func": "error",

    // The compiler checks it (noImplicitReturns), and knows when a switch is exhaustive.
    "typescript/consistent-return": "off",
    // A value is parsed by zod, or asserted where its making is in sight; both read alike to this rule.
    "typescript/no-unsafe-type-assertion": "off",
    // One statement after another is often the point here: a batch, then what depends on it.
    "no-await-in-loop": "off",
    // `.then(() => { … })` for its effect alone is plain enough.
    "promise/always-return": "off",
    // A changed copy is the point: data is not modified in place.
    "oxc/no-map-spread": "off",
    // A module may be imported for the global types it declares.
    "import/no-unassigned-import": "off",
    // `fc.string()` of fast-check's default export is how its documentation reads.
    "import/no-named-as-default-member": "off",
  },
  overrides: [
    ...Object.entries(layers).map(override),
    {
      files: ["src/**", "examples/booking/**"],
      rules: {
        // workers-types declares these as any; what they do differs from Node.
        "no-restricted-globals": ["error", "Buffer", "process", "global"],
      },
    },
    {
      files: ["test/**", "bench/**"],
      rules: {
        // A small function reads best beside the one test that uses it.
        "unicorn/consistent-function-scoping": "off",
        // test/unit/property.ts declares a test whose cases are random.
        "vitest/no-standalone-expect": ["error", { additionalTestBlockFunctions: ["property"] }],
        "vitest/expect-expect": ["error", { assertFunctionNames: ["expect", "fc.assert"] }],
      },
    },
  ],
});
