/**
 * A rule for redocly: every POST and PATCH declares the Idempotency-Key header, as required. A client
 * generated from the document then cannot leave it out.
 */
type Parameter = { readonly in?: string; readonly name?: string; readonly required?: boolean };
type Operation = { readonly parameters?: readonly Parameter[] };
type PathItem = Operation & { readonly post?: Operation; readonly patch?: Operation };

/** What this rule uses of the context that redocly calls it with. */
type Context = {
  readonly resolve: (parameter: Parameter) => { readonly node: Parameter | undefined };
  readonly location: { readonly child: (keys: readonly string[]) => unknown };
  readonly report: (problem: { readonly message: string; readonly location: unknown }) => void;
};

const keyDeclared = () => ({
  PathItem(pathItem: PathItem, { resolve, location, report }: Context) {
    for (const method of ["post", "patch"] as const) {
      const operation = pathItem[method];
      if (operation === undefined) continue;
      const declared = [...(pathItem.parameters ?? []), ...(operation.parameters ?? [])]
        .map((parameter) => resolve(parameter).node)
        .some(
          (parameter) =>
            parameter?.in === "header" &&
            parameter.name?.toLowerCase() === "idempotency-key" &&
            parameter.required === true,
        );
      if (!declared) {
        report({
          message: `${method.toUpperCase()} must declare a required Idempotency-Key header.`,
          location: location.child([method]),
        });
      }
    }
  },
});

/** The plugin's default export, in the form redocly loads. */
export default () => ({ id: "idempotency", rules: { oas3: { "key-declared": keyDeclared } } });
