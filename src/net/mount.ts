/** Addresses of the HTTP listeners that another part answers: uploads, RPC, Durable Streams, pages. */

/** What is needed of the platform's HTTP server. */
export interface HttpServer {
  requestIP(request: Request): { readonly address: string } | null;
  /** Sets the idle timeout of the request's connection; 0 for none. */
  timeout(request: Request, seconds: number): void;
}

/** Nothing, when the connection was taken over. */
export type Answer = Response | undefined | Promise<Response | undefined>;

/** Backtalk's own answers, for a mount that has turned a request into another, or refuses it with fields of its own. */
export interface Own {
  /** Of a request that was counted. */
  fetch(request: Request, server: HttpServer): Response | Promise<Response>;
  /** A fault as problem details; `status` where it is another than that of its code. */
  problem(thrown: unknown, headers?: Readonly<Record<string, string>>, status?: number): Response;
}

export interface Mount {
  /** Asked for paths that are none of Backtalk's own. Decoding and the query are left to `fetch`. */
  matches(path: string): boolean;
  /**
   * Answers with any method. The name of the host and the origin of a page were checked; credentials (`callerOf`)
   * and the limits of the body were not. It may throw: the answer is then the fault as problem details.
   */
  fetch(request: Request, server: HttpServer, own: Own): Answer;
  /** It asks nobody who they are, or not as the server does: its requests count by their address (`ratePerSecond`). */
  readonly countsByAddress?: true;
  /** Addresses of Backtalk's own that it is asked for first, by their path: when `takes`, `fetch` answers there too. */
  readonly first?: {
    readonly paths: ReadonlySet<string>;
    takes(request: Request): boolean;
  };
  /** What pages of other origins may send and see, besides what they may everywhere (Fetch §3.3.3). */
  readonly cors?: {
    readonly methods: string;
    /** Names of header fields, separated by commas. */
    readonly accepts?: string;
    readonly exposes?: string;
  };
}
