/** Checksums that callers give: `Upload-Checksum` of tus, `Content-Digest` and `Repr-Digest` (RFC 9530). */
import { Fault } from "../log/index.ts";

/** Of tus; all that the platform computes and clients use. */
export const TUS_ALGORITHMS = ["sha1", "sha256", "sha512", "md5"] as const;
export type Algorithm = (typeof TUS_ALGORITHMS)[number];

export interface Digest<A extends Algorithm = Algorithm> {
  readonly algorithm: A;
  readonly base64: string;
}

/** `sha1 BASE64`. @throws Fault `invalid_argument` */
export function parseChecksum(header: string | null): Digest | undefined {
  if (header === null) return undefined;
  const [name = "", base64 = "", ...rest] = header.trim().split(" ");
  const algorithm = TUS_ALGORITHMS.find((each) => each === name);
  if (algorithm === undefined || rest.length > 0 || !BASE64.test(base64)) {
    throw new Fault("invalid_argument", "the Upload-Checksum cannot be read", {
      fields: [
        { path: "Upload-Checksum", message: `must be one of ${TUS_ALGORITHMS.join(", ")}, a space, and base64` },
      ],
    });
  }
  return { algorithm, base64 };
}

/** `sha-256=:BASE64:`, maybe among others, of which the strongest that is known here counts. @throws Fault `invalid_argument` */
export function parseDigest(name: string, header: string | null): Digest<"sha256" | "sha512"> | undefined {
  if (header === null) return undefined;
  for (const algorithm of ["sha512", "sha256"] as const) {
    const key = algorithm.replace("sha", "sha-");
    const base64 = new RegExp(`(?:^|,)\\s*${key}=:([A-Za-z0-9+/]+={0,2}):`).exec(header)?.[1];
    if (base64 !== undefined) return { algorithm, base64 };
  }
  // RFC 9530 §2: digests by other algorithms may be ignored; one that looks like ours is a mistake.
  if (!/sha-(256|512)/.test(header)) return undefined;
  throw new Fault("invalid_argument", `the ${name} cannot be read`, {
    fields: [{ path: name, message: "must be such as sha-256=:BASE64:" }],
  });
}

export class Check {
  readonly #digest: Digest;
  readonly #hash: Bun.CryptoHasher;

  constructor(digest: Digest) {
    this.#digest = digest;
    this.#hash = new Bun.CryptoHasher(digest.algorithm);
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  isRight(): boolean {
    return this.#hash.digest("base64") === this.#digest.base64;
  }
}

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
