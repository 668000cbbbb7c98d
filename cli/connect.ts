/** Names every client transport, and makes the one that was asked for. */
import { platformEnvironment } from "../src/client/environment.ts";
import type { Context } from "../src/client/retry.ts";
import { ANONYMOUS, type Peer } from "../src/contract/index.ts";
import { Fault } from "../src/log/index.ts";
import { amqpPeer } from "../src/transports/amqp/client.ts";
import { type HttpMode, httpPeer } from "../src/transports/http/client.ts";
import { neverSent } from "../src/transports/http/client-request.ts";
import { connectPeer, grpcWebPeer } from "../src/transports/rpc/client.ts";
import { grpcPeer } from "../src/transports/rpc/client-grpc.ts";
import { tcpPeer } from "../src/transports/tcp/client.ts";
import { udpPeer } from "../src/transports/udp/client.ts";
import { websocketPeer } from "../src/transports/websocket/client.ts";
import type { Args, Option } from "./args.ts";
import { causeOf, hintsOf, UsageError } from "./exit.ts";
import type { Screen } from "./screen.ts";
import { viaOf } from "./target.ts";
import { tracer } from "./trace.ts";
import { type Trust, trustOf } from "./trust.ts";
import { durationText } from "./values.ts";

interface HttpWay {
  readonly mode: HttpMode;
  readonly protocol?: "http1.1" | "http2" | "http3";
}

/** A transport that is no HTTP: makes a peer of an address. @throws UsageError */
export type OtherWay = (url: string, options: ConnectOptions) => { readonly peer: Peer; readonly close: () => void };

/** Every name of `--via`. */
const WAYS = {
  http1: { mode: "ndjson", protocol: "http1.1" },
  http2: { mode: "ndjson", protocol: "http2" },
  http3: { mode: "ndjson", protocol: "http3" },
  sse: { mode: "sse" },
  "long-poll": { mode: "long-poll" },
  poll: { mode: "poll" },
  websocket: "websocket",
  grpc: grpcWay,
  "grpc-web": webWay,
  connect: webWay,
  tcp: tcpWay,
  unix: tcpWay,
  udp: udpWay,
  amqp: amqpWay,
} as const satisfies Record<string, HttpWay | "websocket" | OtherWay>;

export type Via = keyof typeof WAYS;
export const VIAS = Object.keys(WAYS) as readonly Via[];
/** Those that the HTTP listeners speak. */
export const HTTP_VIAS = VIAS.filter((via) => typeof WAYS[via] !== "function");

/** Options of every command that talks to a server. */
export const CONNECT_OPTIONS: Readonly<Record<string, Option>> = {
  via: { value: "TRANSPORT", what: `${VIAS.join(", ")} (default: as the URL says, else http1)`, choices: VIAS },
  token: { value: "TOKEN", what: "sent as Authorization: Bearer (default: BACKTALK_TOKEN)" },
  "api-key": { value: "KEY", what: "sent as X-API-Key (default: BACKTALK_API_KEY)" },
  cacert: { value: "FILE", what: "trust the certificates of this PEM file" },
  insecure: { what: "do not check the server's certificate; over UDP: send credentials in the clear" },
  trace: { what: "show what goes over the wire, and when" },
  json: { what: "print lines of JSON on a terminal too, as in a pipe" },
};

export interface ConnectOptions {
  readonly via: Via;
  readonly token?: string | undefined;
  readonly apiKey?: string | undefined;
  readonly trust: Trust;
  /** Over what is not encrypted credentials go to other machines too. */
  readonly isInsecure?: boolean;
  readonly trace?: ((direction: "*" | ">" | "<", text: string) => void) | undefined;
  /** Told of each wait for another try. */
  readonly onRetry?: (lines: readonly string[]) => void;
}

export interface Connection {
  readonly context: Context;
  close(): void;
}

/** Nothing is sent before it is used. @throws UsageError */
export function connect(url: string, options: ConnectOptions): Connection {
  const { peer, close } = peerOf(url, options);
  const closing = new AbortController();
  let isTold = false;
  const context: Context = {
    peer,
    principal: ANONYMOUS,
    base: url,
    env: platformEnvironment(),
    tokens: undefined,
    attempts: undefined,
    closing: closing.signal,
    isUnsent: neverSent,
    onRetry({ fault, delayMs }) {
      // Who waits in vain is to know why at once, not after the last try.
      const hints = isTold || !(fault instanceof Fault) ? [] : hintsOf(fault);
      isTold = true;
      options.onRetry?.([`${fault.message}${causeOf(fault)}; trying again in ${durationText(delayMs)}`, ...hints]);
    },
  };
  return {
    context,
    close() {
      closing.abort();
      close();
    },
  };
}

/** The bare transport, which comes back from nothing by itself. */
export function peerOf(url: string, options: ConnectOptions): { readonly peer: Peer; readonly close: () => void } {
  const { via, token, apiKey, trust, trace } = options;
  const way = WAYS[via] as HttpWay | "websocket" | OtherWay;
  if (typeof way === "function") return way(url, options);
  const shared = {
    url,
    ...(token !== undefined && { token }),
    ...(trace && { trace }),
  };
  if (way === "websocket") {
    const headers = apiKey === undefined ? undefined : { "x-api-key": apiKey };
    const peer = websocketPeer({ ...shared, WebSocket: platformSocket(trust, headers) });
    return { peer, close: () => peer.close() };
  }
  if ((way.protocol === "http2" || way.protocol === "http3") && !url.startsWith("https:")) {
    throw new UsageError(
      `${via} goes over TLS, and ${url} is without`,
      "use the https:// address that `backtalk serve` has printed, by default https://localhost:4443",
    );
  }
  const tls = trust.tls(way.protocol === "http3");
  const peer = httpPeer({
    ...shared,
    ...way,
    // HTTP/3 of this platform tries one address of a name only, and for localhost that may be ::1.
    ...(way.protocol === "http3" && { url: url.replace("//localhost:", "//127.0.0.1:") }),
    ...(apiKey !== undefined && { headers: { "x-api-key": apiKey } }),
    ...(tls && { tls }),
  });
  return { peer, close() {} };
}

function grpcWay(url: string, { token, apiKey, trust, trace }: ConnectOptions): ReturnType<OtherWay> {
  if (!/^(grpcs?|https?):/.test(url)) throw new UsageError(`grpc is not spoken at ${url}`, GRPC_HINT);
  const tls = trust.tls(false);
  const credentials = { ...(token !== undefined && { token }), ...(apiKey !== undefined && { apiKey }) };
  const peer = grpcPeer({ url, ...credentials, ...(tls && { tls }), ...(trace && { trace }) });
  return { peer, close: () => peer.close() };
}

const GRPC_HINT = "use the address that `backtalk serve` has printed, by default grpc://localhost:4450";

function webWay(url: string, { via, token, apiKey, trust, trace }: ConnectOptions): ReturnType<OtherWay> {
  if (!/^https?:/.test(url)) {
    throw new UsageError(`${via} is not spoken at ${url}`, "use the http:// or https:// address of the server");
  }
  const tls = trust.tls(false);
  const credentials = { ...(token !== undefined && { token }), ...(apiKey !== undefined && { apiKey }) };
  const make = via === "connect" ? connectPeer : grpcWebPeer;
  const peer = make({ url, ...credentials, ...(tls && { tls }), ...(trace && { trace }) });
  return { peer, close: () => peer.close() };
}

function tcpWay(url: string, { via, token, apiKey, trust, trace }: ConnectOptions): ReturnType<OtherWay> {
  const schemes = via === "unix" ? /^unix:/ : /^(tcp|tls):/;
  if (!schemes.test(url)) {
    const address = via === "unix" ? "unix:PATH" : "tcp://localhost:4460";
    throw new UsageError(
      `${via} is not spoken at ${url}`,
      `use the address that \`backtalk serve\` has printed: ${address}`,
    );
  }
  // There are no header fields: what proves the caller is the token of `auth`, a key too.
  const shown = token ?? apiKey;
  const tls = trust.tls(false);
  const shared = { url, ...(shown !== undefined && { token: shown }), ...(trace && { trace }), ...(tls && { tls }) };
  try {
    const peer = tcpPeer(shared);
    return { peer, close: () => peer.close() };
  } catch (thrown) {
    throw thrown instanceof Fault ? new UsageError(thrown.message, thrown.hint) : thrown;
  }
}

/** Whether one answer is all that a transport brings: then there are no events to follow. */
export function answersOnce(args: Args, url: string): boolean {
  return (args.text("via") ?? viaOf(url)) === "udp";
}

function udpWay(url: string, { token, apiKey, trace, isInsecure = false }: ConnectOptions): ReturnType<OtherWay> {
  const credentials = { ...(token !== undefined && { token }), ...(apiKey !== undefined && { apiKey }) };
  try {
    const peer = udpPeer({ url, ...credentials, insecureCredentials: isInsecure, ...(trace && { trace }) });
    return { peer, close: () => peer.close() };
  } catch (thrown) {
    throw thrown instanceof Fault ? new UsageError(thrown.message, thrown.hint) : thrown;
  }
}

/** The prefix of names on the broker, where it is another one, is a parameter of the address: `?prefix=NAME`. */
function amqpWay(text: string, { token, apiKey, trust, trace }: ConnectOptions): ReturnType<OtherWay> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const prefix = url?.searchParams.get("prefix") ?? undefined;
  url?.searchParams.delete("prefix");
  const tls = trust.tls(false);
  try {
    const peer = amqpPeer({
      url: url?.href ?? text,
      ...(prefix !== undefined && { prefix }),
      ...(tls && { tls }),
      ...(token !== undefined && { token }),
      ...(apiKey !== undefined && { apiKey }),
      ...(trace && { trace }),
    });
    return { peer, close: () => void peer.close() };
  } catch (thrown) {
    throw thrown instanceof Fault ? new UsageError(thrown.message, thrown.hint) : thrown;
  }
}

/** Bun's WebSocket takes header fields and TLS options, which a browser's has not. */
function platformSocket(trust: Trust, headers: Record<string, string> | undefined): typeof WebSocket {
  const tls = trust.tls(false);
  if (!tls && !headers) return WebSocket;
  return class extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      const given = { ...(protocols && { protocols }), ...(tls && { tls }), ...(headers && { headers }) };
      super(url, given as unknown as string[]);
    }
  };
}

/** What the arguments of a command say. @throws UsageError */
export function connectArgs(url: string, args: Args, screen: Screen): Connection {
  const trust = trustOf(url, { cacert: args.text("cacert"), isInsecure: args.has("insecure") });
  const trace = args.has("trace")
    ? tracer({ print: (line) => screen.note(line), now: () => performance.now(), startedAt: Date.now() })
    : undefined;
  for (const note of trust.notes) trace?.("*", note);
  return connect(url, {
    via: (args.text("via") ?? viaOf(url) ?? "http1") as Via,
    token: args.text("token") ?? process.env["BACKTALK_TOKEN"],
    apiKey: args.text("api-key") ?? process.env["BACKTALK_API_KEY"],
    trust,
    isInsecure: args.has("insecure"),
    trace,
    onRetry: (lines) => screen.explain(lines),
  });
}
