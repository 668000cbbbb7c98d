/** The descriptions over HTTP besides `/openapi.json`, and a page to read and try them (PROTOCOL.md §11). */
import type { Contract } from "../contract/host.ts";
import { Fault } from "../log/fault.ts";
import type { Mount } from "../net/mount.ts";
import { asyncapi, type Broker } from "./asyncapi.ts";
import { type Page, pageOf } from "./page.ts";
import { servicesOf } from "./proto/build.ts";
import { BACKTALK_FILE, BACKTALK_PROTO, describeProto } from "./proto/index.ts";

export interface DescriptionOptions {
  readonly title: string;
  readonly version: string;
  readonly isAnonymous: boolean;
  /** In AsyncAPI. */
  readonly broker?: Broker | undefined;
  /** The text of the pinned .proto files by the name of the service. */
  readonly pins?: ReadonlyMap<string, string>;
  /** The files of the page at `/docs`; without them there is none. */
  readonly page?: Page;
}

const CONTRACT = "/contract/";
const PAGE = "/docs";

/** They need no credentials, as `/openapi.json` needs none. */
export function descriptions(contract: Contract, options: DescriptionOptions): Mount {
  const { title, version, isAnonymous, broker, pins, page } = options;
  const made = new Map<string, string>();
  const once = (key: string, make: () => string): string => {
    const text = made.get(key) ?? make();
    made.set(key, text);
    return text;
  };
  const asyncApi = (request: Request): string => {
    const { host } = new URL(request.url);
    // The one part that depends on how it is reached; a few names at most are kept.
    const make = () => JSON.stringify(asyncapi(contract, { title, version, isAnonymous, host, broker }));
    return made.size < 64 ? once(host, make) : make();
  };
  let files: ReadonlyMap<string, string> | undefined;
  const proto = (name: string): string => {
    if (name === BACKTALK_FILE) return BACKTALK_PROTO;
    files ??= describeProto(contract, pins).files;
    const service = name.replace(/\.proto$/, "");
    const text = files.get(service);
    if (text !== undefined) return text;
    throw new Fault("not_found", `there is no service ${service.slice(0, 128)}`, { hint: "see /openapi.json" });
  };
  const services = [...servicesOf(contract).keys()].map((name) => `contract/${name}.proto`);
  const pages = page && pageOf(page, title, ["openapi.json", "asyncapi.json", ...services]);
  return {
    countsByAddress: true,
    matches(path) {
      if (path === "/asyncapi.json" || (path.startsWith(CONTRACT) && path.endsWith(".proto"))) return true;
      return pages !== undefined && (path === "/" || path === PAGE || path.startsWith(`${PAGE}/`));
    },
    fetch(request, server, own) {
      const path = new URL(request.url).pathname;
      if (path === "/") return isForPeople(request) ? toPage() : own.fetch(request, server);
      if (request.method !== "GET" && request.method !== "HEAD") {
        const fault = new Fault("unimplemented", `${request.method} is not possible here`, { hint: "use GET" });
        return own.problem(fault, { allow: "GET, HEAD" }, 405);
      }
      if (path === "/asyncapi.json") return answer(asyncApi(request), "application/json");
      if (path.startsWith(CONTRACT)) {
        const name = path.slice(CONTRACT.length);
        return answer(proto(name), "text/plain; charset=utf-8");
      }
      return pages!(path.slice(PAGE.length), request.headers.get("accept-encoding") ?? "");
    },
  };
}

/** Somebody has typed the address of the server into a browser; programs are told that there is nothing. */
function isForPeople({ method, headers }: Request): boolean {
  return (method === "GET" || method === "HEAD") && (headers.get("accept") ?? "").includes("text/html");
}

/** Relative, as the names of the page are. */
function toPage(): Response {
  const headers = { location: PAGE.slice(1), "cache-control": "no-store", vary: "accept" };
  return new Response(null, { status: 302, headers });
}

function answer(text: string, type: string): Response {
  return new Response(text, {
    headers: { "content-type": type, "cache-control": "no-cache", "x-content-type-options": "nosniff" },
  });
}
