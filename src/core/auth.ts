/** Who calls: ready-made ways to `authenticate`. None of them logs or echoes what it was shown. */
import { createHash, timingSafeEqual } from "node:crypto";
import { createLocalJWKSet, createRemoteJWKSet, type JSONWebKeySet, type JWTVerifyOptions, jwtVerify } from "jose";
import { ANONYMOUS, type Authenticate, type Principal } from "../contract/index.ts";
import { Fault } from "../log/index.ts";

export const ANYBODY: Authenticate = () => ANONYMOUS;

/** API keys: the principal of each. Compared in constant time by their hashes. */
export function apiKeys(keys: ReadonlyMap<string, Principal> | Readonly<Record<string, Principal>>): Authenticate {
  const entries = keys instanceof Map ? [...keys] : Object.entries(keys as Record<string, Principal>);
  const hashed = entries.map(([key, principal]) => ({ hash: hash(key), principal }));
  return ({ apiKey, bearer }) => {
    const shown = apiKey ?? bearer;
    if (shown === undefined) throw missing("an API key", "send it as X-API-Key or as Authorization: Bearer");
    const shownHash = hash(shown);
    let found: Principal | undefined;
    for (const { hash: each, principal } of hashed) if (timingSafeEqual(each, shownHash)) found = principal;
    if (!found) throw refused("invalid", "the API key is not known");
    return found;
  };
}

export interface JwtOptions {
  /** The keys, or where they are (a JWKS, RFC 7517 §5; fetched when first needed and cached by `jose`). */
  readonly jwks: URL | JSONWebKeySet;
  readonly issuer?: string;
  readonly audience?: string;
  /** Signature algorithms that are taken (default ES256, RS256, EdDSA, PS256). */
  readonly algorithms?: readonly string[];
  /** The claim that names the principal (default `sub`). */
  readonly claim?: string;
  /** Seconds of difference between the clocks that is forgiven (default 30). */
  readonly clockTolerance?: number;
}

/** Bearer tokens that are JWTs (RFC 7519), by their signature, issuer, audience and times. */
export function jwt(options: JwtOptions): Authenticate {
  const keys = options.jwks instanceof URL ? createRemoteJWKSet(options.jwks) : createLocalJWKSet(options.jwks);
  const rules: JWTVerifyOptions = {
    algorithms: [...(options.algorithms ?? ["ES256", "RS256", "EdDSA", "PS256"])],
    clockTolerance: options.clockTolerance ?? 30,
    requiredClaims: ["exp"],
    ...(options.issuer !== undefined && { issuer: options.issuer }),
    ...(options.audience !== undefined && { audience: options.audience }),
  };
  const claim = options.claim ?? "sub";
  return async ({ bearer }) => {
    if (bearer === undefined) throw missing("a token", "send it as Authorization: Bearer");
    try {
      const { payload } = await jwtVerify(bearer, keys, rules);
      const id = payload[claim];
      if (typeof id !== "string" || id === "") throw refused("invalid", `the token has no claim ${claim}`);
      const scope = payload["scope"];
      return {
        id,
        claims: payload,
        ...(payload.exp !== undefined && { expiresAt: payload.exp * 1000 }),
        ...(typeof scope === "string" && { scopes: scope.split(" ") }),
      };
    } catch (thrown) {
      if (thrown instanceof Fault) throw thrown;
      const code = (thrown as { code?: unknown }).code;
      if (code === "ERR_JWT_EXPIRED") {
        throw refused("expired", "the token has expired", "get a new one and go on from the last cursor");
      }
      if (typeof code === "string" && INVALID.test(code)) {
        throw refused("invalid", "the token is not valid", "check its issuer, audience and signature");
      }
      throw new Fault("unavailable", "the keys to check the token with cannot be had now", { cause: thrown });
    }
  };
}

/** What `jose` says of a bad token; all else is trouble with the keys, of which the token is not guilty. */
const INVALID = /^ERR_(JWT|JWS|JWE|JOSE_ALG_NOT_ALLOWED|JOSE_NOT_SUPPORTED|JWKS_NO_MATCHING|JWKS_MULTIPLE)/;

/**
 * The first way that takes what the caller has shown. When none does, the answer is of the way that knew it best: an
 * outage before a refusal, a token that has expired before one that is unknown, and `missing` last.
 */
export function anyOf(...ways: readonly Authenticate[]): Authenticate {
  return async (credentials) => {
    let answer: unknown;
    let rank = -1;
    for (const way of ways) {
      try {
        return await way(credentials);
      } catch (thrown) {
        const each = rankOf(thrown);
        if (each > rank) [answer, rank] = [thrown, each];
      }
    }
    throw answer ?? refused("missing", "no credentials are taken here");
  };
}

type Reason = "missing" | "invalid" | "expired";
const RANKS: Readonly<Record<Reason, number>> = { missing: 0, invalid: 1, expired: 2 };

function rankOf(thrown: unknown): number {
  if (!(thrown instanceof Fault) || thrown.code !== "unauthenticated") return 3;
  return RANKS[thrown.detail?.["credentials"] as Reason] ?? RANKS.invalid;
}

function missing(what: string, hint: string): Fault {
  return refused("missing", `${what} is needed`, hint);
}

function refused(credentials: Reason, message: string, hint?: string): Fault {
  return new Fault("unauthenticated", message, { detail: { credentials }, ...(hint !== undefined && { hint }) });
}

function hash(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
