import type { Credentials } from "../contract/index.ts";

/** What a request shows of its caller: `Authorization: Bearer` (RFC 6750 §2.1), or a key. */
export function credentialsIn(
  header: (name: string) => string | null,
  via: string,
  address: string | undefined,
): Credentials {
  // The scheme's name is not case-sensitive (RFC 9110 §11.1).
  const bearer = /^bearer +(\S+)$/i.exec(header("authorization") ?? "")?.[1];
  const apiKey = header("x-api-key");
  return {
    via,
    ...(bearer !== undefined && { bearer }),
    ...(apiKey !== null && { apiKey }),
    ...(address !== undefined && { address }),
  };
}
