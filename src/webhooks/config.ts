/** What is sent where: the operator's list of endpoints. */
import { Fault } from "../log/index.ts";
import { type Signer, signerOf } from "./sign.ts";

export interface Endpoint {
  /** Letters, digits, `_` and `-`, at most 64: what is kept of it in the store is found by it. */
  readonly name: string;
  readonly url: URL;
  /** The first is the newest: all sign at once. */
  readonly signers: readonly Signer[];
  /** Types that are sent; `call.*` is all that begin so. Default all. */
  readonly types: readonly string[];
  /** Methods whose ends are sent, `studio/*` for all of a service (default all); `[]` for none. */
  readonly methods: readonly string[];
  /** Topics whose events are sent (default none). */
  readonly topics: readonly string[];
  /** Where topics begin that it never had (default `now`). */
  readonly from: "start" | "now";
}

export interface WebhooksConfig {
  readonly endpoints: readonly Endpoint[];
  /** Who may look at and change deliveries at `/webhooks`; without it that address is not there. */
  readonly token: string | undefined;
}

/** Gives what `env:NAME` or `file:PATH` names. @throws */
export type ReadSecret = (kind: "env" | "file", name: string) => string;

/**
 * `{"endpoints": [{"name", "url", "secrets": ["env:NAME", "file:PATH"], "types"?, "methods"?, "topics"?, "from"?}],
 * "token"?: "env:NAME"}`.
 * @throws Fault `invalid_argument` that says where it is wrong, without secrets
 */
export function webhooksConfig(json: unknown, read: ReadSecret): WebhooksConfig {
  const { endpoints, token, ...rest } = object(json, "the file");
  none(rest, "the file");
  if (!Array.isArray(endpoints) || endpoints.length === 0) throw wrong("endpoints", "must be a list with an endpoint");
  const made = endpoints.map((each, index) => endpointOf(each, `endpoints[${index}]`, read));
  const names = made.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw wrong("endpoints", `has ${twice} twice`);
  const secret = token === undefined ? undefined : secretOf(token, "token", read);
  // RFC 6750 §2.1: what can follow `Bearer`.
  if (secret !== undefined && !/^[A-Za-z0-9._~+/-]{16,512}=*$/.test(secret)) {
    throw wrong("token", "must have 16 to 512 letters, digits and . _ ~ + / -");
  }
  return { endpoints: made, token: secret };
}

function endpointOf(json: unknown, at: string, read: ReadSecret): Endpoint {
  const { name, url, secrets, types, methods, topics, from = "now", ...rest } = object(json, at);
  none(rest, at);
  if (typeof name !== "string" || !/^[A-Za-z0-9_-]{1,64}$/.test(name)) {
    throw wrong(`${at}.name`, "must be 1 to 64 letters, digits, _ or -");
  }
  if (typeof url !== "string" || !URL.canParse(url)) throw wrong(`${at}.url`, "must be a URL");
  const target = new URL(url);
  if (target.protocol !== "https:" && target.protocol !== "http:") throw wrong(`${at}.url`, "must be http or https");
  if (target.username !== "" || target.password !== "") throw wrong(`${at}.url`, "must be without a password");
  if (from !== "start" && from !== "now") throw wrong(`${at}.from`, "must be start or now");
  const named = texts(secrets, `${at}.secrets`);
  if (!named || named.length === 0) throw wrong(`${at}.secrets`, "must be a list with a secret");
  const signers = named.map((each, index) => {
    const where = `${at}.secrets[${index}]`;
    try {
      return signerOf(secretOf(each, where, read));
    } catch (thrown) {
      throw wrong(where, (thrown as Error).message.replace(`${where} `, ""));
    }
  });
  return {
    name,
    url: target,
    signers,
    types: texts(types, `${at}.types`) ?? ["*"],
    methods: texts(methods, `${at}.methods`) ?? ["*"],
    topics: texts(topics, `${at}.topics`) ?? [],
    from,
  };
}

function secretOf(value: unknown, at: string, read: ReadSecret): string {
  const match = typeof value === "string" ? /^(env|file):(.+)$/.exec(value) : null;
  if (!match) throw wrong(at, "must be env:NAME or file:PATH: secrets do not belong into this file");
  try {
    return read(match[1] as "env" | "file", match[2]!).trim();
  } catch (thrown) {
    throw wrong(at, `cannot be read: ${(thrown as Error).message}`);
  }
}

/** Whether a pattern of a list fits: `*`, the text itself, or its beginning and `*`. */
export function fits(patterns: readonly string[], text: string): boolean {
  return patterns.some((each) => each === text || (each.endsWith("*") && text.startsWith(each.slice(0, -1))));
}

function object(value: unknown, at: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw wrong(at, "must be an object");
}

function none(rest: object, at: string): void {
  const [name] = Object.keys(rest);
  if (name !== undefined) throw wrong(at, `has ${JSON.stringify(name)}, which means nothing here`);
}

function texts(value: unknown, at: string): readonly string[] | undefined {
  if (value === undefined) return undefined;
  if (Array.isArray(value) && value.every((each) => typeof each === "string" && each !== "")) return value as string[];
  throw wrong(at, "must be a list of texts");
}

function wrong(path: string, message: string): Fault {
  return new Fault("invalid_argument", `${path} ${message}`, { fields: [{ path, message }] });
}
