/** Which handler an address has (PROTOCOL.md §2.1). */
import { CALLS, type Method, TOPICS } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import type { Ask } from "./ask.ts";
import { getSafe, postServerStream, postUnary } from "./call.ts";
import { readEvents } from "./events.ts";
import { postItems } from "./items.ts";
import { postBidi, postClientStream } from "./many.ts";
import { description, health, metrics, ready } from "./operator.ts";
import { attach, cancelCall, getState, listCalls } from "./state.ts";
import { publish, readTopic } from "./topics.ts";
import type { Web } from "./web.ts";

export type Handle = (ask: Ask) => Response | Promise<Response>;

/** The handlers of one address by the request's method, `HEAD` where there is `GET`. */
export interface Target {
  readonly handlers: ReadonlyMap<string, Handle>;
  /** Of the field `Allow`. */
  readonly allow: string;
  /** Nobody has to say who they are. */
  readonly isPublic: boolean;
  /** Whether its requests count for the limit `ratePerSecond`; who watches over the server is not refused by it. */
  readonly counts: boolean;
}

/** The addresses that are known when the server starts. */
export function fixedTargets(web: Web, title: string, version: string): Map<string, Target> {
  const { host } = web;
  const targets = new Map<string, Target>();
  for (const [name, method] of host.contract.methods) targets.set(`/${name}`, methodTarget(web, name, method));
  targets.set("/calls", target({ GET: (ask) => listCalls(web, ask) }));
  const describe = description(host, title, version);
  targets.set("/healthz", target({ GET: health }, WATCHED));
  targets.set("/readyz", target({ GET: () => ready(host) }, WATCHED));
  targets.set("/metrics", target({ GET: () => metrics(host) }, WATCHED));
  targets.set("/openapi.json", target({ GET: describe }, PUBLIC));
  return targets;
}

/** @throws Fault `not_found` */
export function targetOf(web: Web, path: string): Target {
  if (path.startsWith(CALLS_PATH)) return callTarget(web, path);
  if (path.startsWith(TOPICS_PATH)) {
    const name = path.slice(TOPICS_PATH.length);
    return target({ GET: (ask) => readTopic(web, ask, name), POST: (ask) => publish(web, ask, name) });
  }
  // Like an address of a method: the peer says whether a name is close to it, once it knows who asks.
  if (METHOD_PATH.test(path)) {
    const unknown = async (ask: Ask): Promise<Response> => {
      ask.to = path.slice(1);
      await web.host.peer(ask);
      throw nowhere(path);
    };
    return target({ GET: unknown, POST: unknown, QUERY: unknown });
  }
  throw nowhere(path);
}

const CALLS_PATH = `/${CALLS}`;
const TOPICS_PATH = `/${TOPICS}`;
const METHOD_PATH = /^\/[A-Za-z0-9_]{1,64}\/[A-Za-z0-9_]{1,64}$/;

function callTarget(web: Web, path: string): Target {
  const [id = "", part, more] = path.slice(CALLS_PATH.length).split("/", 3);
  if (id !== "" && more === undefined) {
    if (part === undefined) {
      return target({ GET: (ask) => getState(web, ask, id), DELETE: (ask) => cancelCall(web, ask, id) });
    }
    if (part === "events") {
      return target({ GET: async (ask) => readEvents(web, ask, await attach(web, ask, id), "start") });
    }
    if (part === "items") return target({ POST: (ask) => postItems(web, ask, id) });
  }
  throw nowhere(path);
}

function methodTarget(web: Web, name: string, method: Method): Target {
  const post = POST[method.kind];
  const handlers: Record<string, Handle> = {
    POST: (ask) => {
      ask.to = name;
      return post(web, ask);
    },
  };
  if (method.options.safe) {
    const get: Handle = (ask) => {
      ask.to = name;
      return getSafe(web, ask, method);
    };
    handlers["GET"] = get;
    handlers["QUERY"] = get;
  }
  return target(handlers);
}

const POST = {
  unary: postUnary,
  serverStream: postServerStream,
  clientStream: postClientStream,
  bidi: postBidi,
} as const;

const CALLERS = { isPublic: false, counts: true };
const PUBLIC = { isPublic: true, counts: true };
const WATCHED = { isPublic: true, counts: false };

function target(handlers: Readonly<Record<string, Handle>>, access = CALLERS): Target {
  const all = new Map(Object.entries(handlers));
  const get = all.get("GET");
  // The platform sends the length and leaves the body out (RFC 9110 §9.3.2).
  if (get) all.set("HEAD", get);
  return { handlers: all, allow: [...all.keys(), "OPTIONS"].join(", "), ...access };
}

function nowhere(path: string): Fault {
  return new Fault("not_found", `there is nothing at ${path.slice(0, 128)}`, {
    hint: "methods are at /{service}/{method}, topics at /topics/{name}, calls at /calls/{id}; /openapi.json has all",
  });
}
