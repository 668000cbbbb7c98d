/**
 * The HTTP half of a server: turns a host into what `Bun.serve` takes as `fetch` (PROTOCOL.md §2). It opens
 * no port; HTTP/1.1, 2 and 3 look alike from here.
 */
import type { Host } from "../../contract/index.ts";
import { toFault } from "../../log/index.ts";
import { hostCheck, isAllowedOrigin } from "../../net/access.ts";
import { credentialsIn } from "../../net/credentials.ts";
import type { Answer, HttpServer, Mount, Own } from "../../net/mount.ts";
import type { Origins } from "../../wire/origin.ts";
import { Ask } from "./ask.ts";
import { discardBody } from "./body.ts";
import { allowOrigin, misdirected, preflight, refuseOrigin } from "./cors.ts";
import { HttpFault, notAllowed } from "./fault.ts";
import { problem } from "./problem.ts";
import { fixedTargets, type Handle, type Target, targetOf } from "./routes.ts";
import { Web } from "./web.ts";

export type { Answer, HttpServer } from "../../net/mount.ts";
export type { Origins } from "../../wire/origin.ts";

export interface HttpOptions<S extends HttpServer = HttpServer> {
  /** Origins whose pages may use the server besides its own (default none). */
  readonly origins?: Origins;
  /**
   * The names that the server answers to, such as `localhost`; default any. A server for one machine names
   * its own, or a page whose name is made to resolve to it (DNS rebinding) would be of its own origin.
   */
  readonly hosts?: readonly string[] | undefined;
  /** The transport's name for the log and the metrics (default `http`: the platform does not tell the version). */
  readonly via?: string;
  /** The listener's idle timeout in seconds: connections get it back after a stream or a held request (default 60). */
  readonly idleSeconds?: number;
  /** Gets the requests for `/ws` whose origin is allowed; gives nothing when the connection was upgraded. */
  readonly websocket?: (request: Request, server: S) => Answer;
  /** Further addresses by their path, with any method. They cannot take the place of Backtalk's own. */
  readonly routes?: ReadonlyMap<string, (request: Request, server: S) => Answer>;
  /** Further addresses that other parts answer, asked in their order. */
  readonly mounts?: readonly Mount[];
  /** Of `/openapi.json`. */
  readonly title?: string;
  readonly version?: string;
}

/**
 * Gives the function for `fetch` of `Bun.serve`. It never throws and never rejects.
 * Set `maxRequestBodySize` of the listener above the limit `callBytes`: bodies of client streams are as long
 * as their calls, and every other body is held to `bodyBytes` here.
 */
export function httpHandler<S extends HttpServer>(
  host: Host,
  options: HttpOptions<S> = {},
): (request: Request, server: S) => Answer {
  const web = new Web(host, options.idleSeconds ?? 60);
  const via = options.via ?? "http";
  const origins = options.origins ?? [];
  const { urlChars, headerBytes } = host.limits;
  const countsHeaders = headerBytes < PLATFORM_HEADER_BYTES;
  const isHost = options.hosts && hostCheck(options.hosts);
  const targets = fixedTargets(web, options.title ?? "Backtalk", options.version ?? "0");
  const others = new Map(options.routes);
  const mounts = options.mounts ?? [];
  const mountOf = (path: string) => mounts.find((mount) => mount.matches(path));
  const firsts = new Map(mounts.flatMap((mount) => [...(mount.first?.paths ?? [])].map((path) => [path, mount])));
  const firstOf = (path: string) => (firsts.size === 0 ? undefined : firsts.get(path));
  if (options.websocket) others.set("/ws", needUpgrade(options.websocket));

  const refused = (ask: Ask, thrown: unknown): Promise<Response> => {
    host.metrics.add("backtalk_faults_total", `code="${toFault(thrown).code}"`, 1);
    const response = problem(thrown, ask.answerHeaders());
    return web.within(ask, discardBody(ask.request)).then(
      () => response,
      () => response,
    );
  };

  /** Each request counts once, here or where a mount asks for its caller; the calls that are made of it do not. */
  const count = (ask: Ask): void => {
    if (!ask.counted) host.count(ask);
    ask.counted = true;
  };

  const handled = (ask: Ask, target: Target, handle: Handle): Response | Promise<Response> => {
    if (target.counts) count(ask);
    const answer = handle(ask);
    return answer instanceof Promise ? answer.catch((thrown) => refused(ask, thrown)) : answer;
  };

  const dispatch = (ask: Ask, target: Target): Response | Promise<Response> => {
    const { method } = ask.request;
    const handle = target.handlers.get(method);
    if (!handle) {
      if (method === "OPTIONS") return preflight(target.allow, undefined);
      throw notAllowed(method, target.allow);
    }
    if (host.anonymous || target.isPublic) return handled(ask, target, handle);
    const principal = host.authenticate(credentialsIn((name) => ask.header(name), ask.via, ask.address));
    if (!(principal instanceof Promise)) {
      ask.principal = principal;
      return handled(ask, target, handle);
    }
    return principal
      .then((principal) => {
        ask.principal = principal;
        return handled(ask, target, handle);
      })
      .catch((thrown) => refused(ask, thrown));
  };

  const own: Own = {
    problem,
    fetch(request, server) {
      const ask = askOf(request, request.url, server, via);
      ask.counted = true;
      try {
        return dispatch(ask, targets.get(ask.path) ?? targetOf(web, ask.path));
      } catch (thrown) {
        return refused(ask, thrown);
      }
    },
  };

  const mounted = (ask: Ask, mount: Mount, server: S): Answer => {
    if (mount.countsByAddress) count(ask);
    const answer = mount.fetch(ask.request, server, own);
    return answer instanceof Promise ? answer.catch((thrown) => refused(ask, thrown)) : answer;
  };

  const route = (ask: Ask, server: S): Answer => {
    const target = targets.get(ask.path);
    if (target) {
      const first = firstOf(ask.path);
      return first?.first?.takes(ask.request) ? mounted(ask, first, server) : dispatch(ask, target);
    }
    const other = others.get(ask.path);
    if (other) return other(ask.request, server);
    const mount = mountOf(ask.path);
    return mount ? mounted(ask, mount, server) : dispatch(ask, targetOf(web, ask.path));
  };

  /** With an `Origin` a browser asks. */
  const browser = (ask: Ask, server: S, origin: string): Answer => {
    const { request, path } = ask;
    const allowed = isAllowedOrigin(origin, request.headers.get("host"), request.url, origins);
    if (allowed === "own") return route(ask, server);
    if (allowed === undefined) throw refuseOrigin(origin);
    const mount = targets.has(path) ? firstOf(path) : mountOf(path);
    if (request.method === "OPTIONS") {
      if (mount?.cors) return preflight(mount.cors.methods, origin, mount.cors.accepts);
      return preflight((targets.get(path) ?? targetOf(web, path)).allow, origin);
    }
    const allow = (response: Response) => allowOrigin(response, origin, mount?.cors?.exposes);
    let answer: Answer;
    try {
      answer = route(ask, server);
    } catch (thrown) {
      answer = refused(ask, thrown);
    }
    if (answer instanceof Promise) return answer.then((response) => response && allow(response));
    return answer && allow(answer);
  };

  return (request, server) => {
    const { url } = request;
    const ask = askOf(request, url, server, via);
    const start = (ask.queryAt < 0 ? url.length : ask.queryAt) - ask.path.length;
    try {
      if (url.length - start > urlChars) throw urlTooLong(urlChars);
      if (countsHeaders && bytesOf(request.headers) > headerBytes) throw headersTooLarge(headerBytes);
      if (isHost && !isHost(url.slice(0, start))) throw misdirected();
      const origin = request.headers.get("origin");
      return origin === null ? route(ask, server) : browser(ask, server, origin);
    } catch (thrown) {
      return refused(ask, thrown);
    }
  };
}

function askOf(request: Request, url: string, server: HttpServer, via: string): Ask {
  // Sliced instead of parsed: a URL object costs as much as the rest of the routing together.
  const start = url.indexOf("/", 8);
  const queryAt = url.indexOf("?", start);
  return new Ask(request, server, queryAt < 0 ? url.slice(start) : url.slice(start, queryAt), queryAt, via);
}

/** What `Bun.serve` takes at most: it answers 431 itself beyond it (tried on 1.4.5). */
const PLATFORM_HEADER_BYTES = 16 * 1024;

/** As in HTTP/1.1: `name: value` and the end of the line. */
function bytesOf(headers: Headers): number {
  let bytes = 0;
  for (const [name, value] of headers) bytes += name.length + value.length + 4;
  return bytes;
}

/** RFC 6585 §5 */
function headersTooLarge(headerBytes: number): HttpFault {
  return new HttpFault(431, "invalid_argument", `the header fields have more than ${headerBytes} bytes`, {
    limit: "headerBytes",
    hint: "send fewer or shorter header fields, or raise the limit headerBytes of the server",
  });
}

function needUpgrade<S>(websocket: (request: Request, server: S) => Answer) {
  return (request: Request, server: S): Answer => {
    if (request.headers.get("upgrade")?.toLowerCase() === "websocket") return websocket(request, server);
    // RFC 9110 §15.5.22
    throw new HttpFault(
      426,
      "unimplemented",
      "this address speaks WebSocket",
      { hint: "open it as a WebSocket, over HTTP/1.1" },
      { upgrade: "websocket", connection: "upgrade" },
    );
  };
}

/** RFC 9110 §15.5.15 */
function urlTooLong(urlChars: number): HttpFault {
  return new HttpFault(414, "invalid_argument", `the target has more than ${urlChars} characters`, {
    limit: "urlChars",
    hint: "send the input in a body: by POST, or QUERY for a safe method",
  });
}
