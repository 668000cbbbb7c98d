/** Who may use a listener from a browser (PROTOCOL.md §2.8): by which names it is reached, and pages of which origins. */
import { isOwnOrigin, type Origins } from "../wire/origin.ts";

export interface Access {
  /** The names that it answers to, such as `localhost`; default any. */
  readonly hosts?: readonly string[] | undefined;
  /** Origins whose pages may use it besides its own (default none). */
  readonly origins?: Origins | undefined;
}

/** Whether a page of this origin may use the server that it has reached by this host. */
export function isAllowedOrigin(
  origin: string,
  host: string | null,
  url: string,
  origins: Origins,
): "own" | "other" | undefined {
  if (isOwnOrigin(origin, host, url)) return "own";
  return origins === "*" || origins.includes(origin) ? "other" : undefined;
}

/** Whether the beginning of a URL, `scheme://host:port`, names one of the hosts. What was right once is remembered. */
export function hostCheck(hosts: readonly string[]): (base: string) => boolean {
  const names = new Set(hosts.map((name) => name.toLowerCase()));
  const known = new Set<string>();
  return (base) => {
    if (known.has(base)) return true;
    const name = base
      .slice(base.indexOf("://") + 3)
      .replace(/:\d*$/, "")
      .toLowerCase();
    // RFC 6761 §6.3: names below localhost are this machine.
    if (!names.has(name) && !(names.has("localhost") && name.endsWith(".localhost"))) return false;
    if (known.size < KNOWN_BASES) known.add(base);
    return true;
  };
}

const KNOWN_BASES = 64;

/** What is wrong, and what to do about it: the same words on every listener. */
export const OTHER_NAME = {
  message: "this server does not answer to that name",
  hint: "use localhost or its address, or allow the name in the server's options (--name)",
};

export function otherOrigin(origin: string): typeof OTHER_NAME {
  return {
    message: `pages of ${origin.slice(0, 128)} may not use this server`,
    hint: "allow the origin in the server's options",
  };
}
