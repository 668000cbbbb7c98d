/** One request about uploads, and what all of them need. */
import type { Host, Principal } from "../contract/index.ts";
import type { HttpServer, Own } from "../net/mount.ts";
import type { Uploads } from "./store.ts";
import type { Taker } from "./takers.ts";

export interface Serving {
  readonly host: Host;
  readonly uploads: Uploads;
  readonly takers: ReadonlyMap<string, Taker>;
  /** Told of defects, which callers are not shown. */
  readonly onError: (error: unknown) => void;
}

export interface Ask {
  readonly request: Request;
  readonly server: HttpServer;
  readonly own: Own;
  /** Of the request, or `X-HTTP-Method-Override`. */
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly principal: Principal;
  readonly address: string | undefined;
}

export type Fields = Record<string, string>;

export const BASE = "/uploads";

export function locationOf(id: string): string {
  return `${BASE}/${id}`;
}
