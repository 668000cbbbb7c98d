/** HAR 1.2: what browsers' developer tools, and much else, read about requests. */
import packageJson from "../../package.json";

/** What is known of a request. Times are in milliseconds; a phase that did not happen is absent. */
export interface Request {
  readonly startedAt: Date;
  readonly method: string;
  readonly url: string;
  /** `HTTP/1.1`, `h2`, `h3`. */
  readonly httpVersion: string;
  readonly status: number;
  readonly statusText?: string;
  readonly requestHeaders?: Headers | readonly (readonly [string, string])[];
  readonly responseHeaders?: Headers | readonly (readonly [string, string])[];
  readonly requestBytes?: number;
  readonly responseBytes?: number;
  readonly mimeType?: string;
  readonly serverAddress?: string;
  readonly connection?: string;
  /** `tls` begins when `connect` has ended; each is its own. */
  readonly phases: {
    readonly blocked?: number;
    readonly dns?: number;
    readonly connect?: number;
    readonly tls?: number;
    readonly send?: number;
    readonly wait: number;
    readonly receive: number;
  };
  readonly comment?: string;
}

/** An entry. In HAR `ssl` is a part of `connect`, and the total counts it once. */
export function harEntry(request: Request): object {
  const { startedAt, method, url, httpVersion, status, phases } = request;
  const { blocked = -1, dns = -1, connect = -1, tls = -1, send = 0, wait, receive } = phases;
  const timings = {
    blocked,
    dns,
    connect: connect < 0 && tls < 0 ? -1 : Math.max(0, connect) + Math.max(0, tls),
    ssl: tls,
    send,
    wait,
    receive,
  };
  const { ssl: _, ...counted } = timings;
  return {
    startedDateTime: startedAt.toISOString(),
    time: Object.values(counted).reduce((total, ms) => total + Math.max(0, ms), 0),
    request: {
      method,
      url,
      httpVersion,
      cookies: [],
      headers: pairs(request.requestHeaders),
      queryString: [...new URL(url).searchParams].map(([name, value]) => ({ name, value })),
      headersSize: -1,
      bodySize: request.requestBytes ?? -1,
    },
    response: {
      status,
      statusText: request.statusText ?? "",
      httpVersion,
      cookies: [],
      headers: pairs(request.responseHeaders),
      content: { size: request.responseBytes ?? 0, mimeType: request.mimeType ?? "" },
      redirectURL: "",
      headersSize: -1,
      bodySize: request.responseBytes ?? -1,
    },
    cache: {},
    timings,
    ...(request.serverAddress !== undefined && { serverIPAddress: request.serverAddress }),
    ...(request.connection !== undefined && { connection: request.connection }),
    ...(request.comment !== undefined && { comment: request.comment }),
  };
}

export function harOf(entries: readonly unknown[]): object {
  return { log: { version: "1.2", creator: { name: "backtalk lab", version: packageJson.version }, entries } };
}

function pairs(headers: Request["requestHeaders"] = []): { name: string; value: string }[] {
  return [...headers].map(([name, value]) => ({ name, value }));
}
