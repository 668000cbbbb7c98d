/** `--api-keys` and `--jwks`: how callers prove who they are. */
import { readFileSync } from "node:fs";
import type { Authenticate, Principal } from "../src/contract/index.ts";
import { anyOf, apiKeys, jwt } from "../src/core/auth.ts";
import type { Args } from "./args.ts";
import { UsageError } from "./exit.ts";

/** Undefined when nobody has to prove anything. @throws UsageError */
export function authOf(args: Args): Authenticate | undefined {
  const ways: Authenticate[] = [];
  const keys = args.text("api-keys");
  if (keys !== undefined) ways.push(apiKeys(readKeys(keys)));
  const jwks = args.text("jwks");
  if (jwks !== undefined) ways.push(jwt({ jwks: jwksOf(jwks), ...only(args, "issuer"), ...only(args, "audience") }));
  for (const name of ["issuer", "audience"]) {
    if (args.has(name) && jwks === undefined) throw new UsageError(`--${name} needs --jwks`);
  }
  const [first, ...others] = ways;
  return others.length === 0 ? first : anyOf(...ways);
}

function only(args: Args, name: "issuer" | "audience"): { issuer?: string; audience?: string } {
  const value = args.text(name);
  return value === undefined ? {} : { [name]: value };
}

function jwksOf(text: string): URL {
  if (!URL.canParse(text) || !/^https?:/.test(text)) {
    throw new UsageError(`--jwks ${JSON.stringify(text)} is not an http(s) address`);
  }
  return new URL(text);
}

/** `{"the-key": "principal"}` or `{"the-key": {"id": "principal", "scopes": [...]}}`. */
function readKeys(file: string): Record<string, Principal> {
  const what = `--api-keys ${file}`;
  const hint = 'it is a JSON object: {"the key": "the name of the caller", ...}';
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, "utf8"));
  } catch (thrown) {
    // Not the parser's message: it quotes the file, which holds secrets.
    const isMissing = (thrown as { code?: string }).code === "ENOENT";
    throw new UsageError(isMissing ? `${what}: there is no such file` : `${what} cannot be read as JSON`, hint);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new UsageError(`${what} is wrong`, hint);
  const principals = Object.entries(json).map(([key, value]): [string, Principal] => {
    const principal = typeof value === "string" ? { id: value } : (value as Partial<Principal> | null);
    if (typeof principal?.id !== "string" || principal.id === "")
      throw new UsageError(`${what}: a key has no name`, hint);
    return [key, principal as Principal];
  });
  if (principals.length === 0) throw new UsageError(`${what} holds no key`, hint);
  return Object.fromEntries(principals);
}
