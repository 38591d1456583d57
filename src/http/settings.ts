/** The settings of a request's bindings. Parsed once for each set of bindings: in production, once for each isolate. */
import {
  type Bindings,
  type EngineSettings,
  parseEngineSettings,
  parseSettings,
  type Settings,
} from "../env.ts";
import { type Gateway, parseGateway } from "../gateway/route-policy.ts";

/** Throws what `parse` throws, every time: a setting that is wrong does not get better by itself. */
const once = <Parsed>(parse: (env: Bindings) => Parsed): ((env: Bindings) => Parsed) => {
  const known = new WeakMap<Bindings, { readonly parsed: Parsed }>();
  return (env) => {
    const found = known.get(env) ?? { parsed: parse(env) };
    known.set(env, found);
    return found.parsed;
  };
};

/** Of a Worker that checks tokens. */
export const settingsOf: (env: Bindings) => Settings = once((env) => {
  // A token that could not be revoked is not to be trusted.
  if (env.REVOCATIONS === undefined) {
    throw new Error("Configuration: the binding REVOCATIONS is missing.");
  }
  return parseSettings(env);
});

/** The routes of the gateway. */
export const gatewayOf: (env: Bindings) => Gateway = once(parseGateway);

/** Of a Worker whose host says who calls. */
export const engineSettingsOf: (env: Bindings) => EngineSettings = once(parseEngineSettings);
