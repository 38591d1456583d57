/** What a client can be typed for: the form alone. `operation-endpoints.ts` makes it of definitions. */

export type Endpoint = {
  readonly params: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly answer: unknown;
};

/** By method and path: `"POST /v1/payments/{id}/refunds"`. */
export type Endpoints = Readonly<Record<string, Endpoint>>;
