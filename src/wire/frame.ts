/**
 * The messages of `backtalk.v1` (PROTOCOL.md §3): their types, and how those of the server become text.
 * A `number` named `id` is chosen by the client for each exchange.
 */

export const SUBPROTOCOL = "backtalk.v1";

/** RFC 6455 §7.4.1, and from 3000 on those of PROTOCOL.md §3.4. */
export const CLOSE = {
  normal: 1000,
  goingAway: 1001,
  protocol: 1002,
  notText: 1007,
  policy: 1008,
  tooLarge: 1009,
  internal: 1011,
  tooSlow: 3008,
  credential: 4401,
} as const;

export interface AuthMessage {
  readonly type: "auth";
  readonly token: string;
}

export interface CallMessage {
  readonly type: "call";
  readonly id: number;
  readonly method: string;
  readonly input?: unknown;
  readonly key?: string;
  readonly keep?: boolean;
  /** Milliseconds until `deadline_exceeded`. */
  readonly timeoutMs?: number;
  /** How many events may be sent; without it only the result comes. */
  readonly credit?: number;
  readonly traceparent?: string;
  readonly tracestate?: string;
}

export interface AttachMessage {
  readonly type: "attach";
  readonly id: number;
  readonly call: string;
  readonly after?: string;
  readonly credit?: number;
  /** `false`: one page of what is there now. */
  readonly follow?: boolean;
}

export interface SubscribeMessage {
  readonly type: "subscribe";
  readonly id: number;
  readonly topic: string;
  readonly after?: string;
  readonly credit: number;
  readonly follow?: boolean;
}

export interface CreditMessage {
  readonly type: "credit";
  readonly id: number;
  readonly n: number;
}

export interface ItemsMessage {
  readonly type: "items";
  readonly id: number;
  readonly call?: string;
  readonly seq?: number;
  readonly items: readonly unknown[];
  readonly end?: boolean;
}

export interface PublishMessage {
  readonly type: "publish";
  readonly id: number;
  readonly topic: string;
  readonly event: unknown;
  readonly key?: string;
}

export interface StateMessage {
  readonly type: "state";
  readonly id: number;
  readonly call?: string;
  readonly topic?: string;
  readonly after?: string;
  readonly waitMs?: number;
}

export interface CancelMessage {
  readonly type: "cancel";
  readonly id: number;
  readonly call?: string;
}

export interface LeaveMessage {
  readonly type: "leave";
  readonly id: number;
}

export interface PongMessage {
  readonly type: "pong";
}

/** Those that begin an exchange. */
export type OpeningMessage = CallMessage | AttachMessage | SubscribeMessage | PublishMessage | StateMessage;
/** Those about an exchange that is open; `items` and `cancel` with `call` begin one. */
export type ExchangeMessage = CreditMessage | ItemsMessage | CancelMessage | LeaveMessage;
export type ClientMessage = AuthMessage | PongMessage | OpeningMessage | ExchangeMessage;

/** A fault as it travels (PROTOCOL.md §1.4). */
export interface WireFault {
  readonly code: string;
  readonly message: string;
}

export interface WireEvent {
  readonly cursor: string;
  readonly kind: string;
  readonly at: number;
  readonly data?: unknown;
}

export interface WireVerdict {
  readonly verdict: string;
  readonly from: string;
  readonly to: string;
  readonly state?: unknown;
}

export interface WireLimits {
  readonly bodyBytes: number;
  readonly itemBytes: number;
  readonly exchangesPerConnection: number;
  readonly itemsInFlight: number;
}

export type ServerMessage =
  | { readonly type: "welcome"; readonly heartbeatMs: number; readonly graceMs: number; readonly limits: WireLimits }
  | { readonly type: "auth"; readonly principal: string; readonly expiresAt?: number }
  | { readonly type: "opened"; readonly id: number; readonly call: string; readonly replayed?: boolean }
  | {
      readonly type: "events";
      readonly id: number;
      /** In the first one of a reading, and in a later one after a gap. */
      readonly verdict?: WireVerdict;
      readonly events: readonly WireEvent[];
      /** Reading after it goes on. */
      readonly cursor: string;
    }
  | { readonly type: "result"; readonly id: number; readonly data?: unknown }
  | { readonly type: "fault"; readonly id?: number; readonly fault: WireFault }
  | { readonly type: "ack"; readonly id: number; readonly next: number; readonly cursor: string }
  | {
      readonly type: "done";
      readonly id: number;
      readonly cursor?: string;
      /** The log has its end, and it has been read. */
      readonly ended?: boolean;
      /** The log has more: only of a reading that does not follow. */
      readonly more?: boolean;
    }
  | { readonly type: "ping" }
  | { readonly type: "goaway"; readonly retryAfterMs: number; readonly reason: string };

export const PING = '{"type":"ping"}';

/** `events` has an encoder of its own, because its data is text already. */
export type PlainServerMessage = Exclude<ServerMessage, { readonly type: "events" }>;

/** @throws TypeError for a result that JSON cannot say */
export function encodeMessage(message: PlainServerMessage): string {
  return JSON.stringify(message);
}

/** What an event is made of, with its data as JSON text. */
export interface EventText {
  readonly cursor: string;
  readonly kind: string;
  readonly json: string;
  readonly at: number;
}

/** All of an `events` message but its beginning, which has the id: so that many readers share it. */
export function encodeEventsTail(events: readonly EventText[], cursor: string): string {
  let text = '"events":[';
  for (let i = 0; i < events.length; i++) {
    const event = events[i]!;
    text += `${i === 0 ? "" : ","}{"cursor":"${event.cursor}","kind":"${event.kind}","at":${event.at},"data":${event.json}}`;
  }
  return `${text}],"cursor":"${cursor}"}`;
}

export function encodeEvents(id: number, tail: string, verdict?: VerdictText): string {
  return `{"type":"events","id":${id},${verdict === undefined ? "" : encodeVerdict(verdict)}${tail}`;
}

/** `state` is JSON text. */
export interface VerdictText {
  readonly verdict: string;
  readonly from: string;
  readonly to: string;
  readonly state?: string;
}

function encodeVerdict({ verdict, from, to, state }: VerdictText): string {
  const rest = state === undefined ? "" : `,"state":${state}`;
  return `"verdict":{"verdict":"${verdict}","from":${JSON.stringify(from)},"to":"${to}"${rest}},`;
}
