/**
 * The client half of `backtalk.v1` (PROTOCOL.md §3) over any pipe of text messages: a peer that connects when it
 * is used. When the connection breaks, everything that waits fails with `unavailable`, and the next use connects
 * anew: it repeats nothing by itself, the one who reads comes back from the cursor. For browsers too.
 */
import type { Peer } from "../contract/peer.ts";
import { Fault } from "../log/fault.ts";
import { FramesExchange } from "./client-exchange.ts";
import { Line } from "./client-line.ts";

export interface FramesPeerOptions {
  /** Sent as `auth`. A function is asked at each connect, and with `true` before the credential expires. */
  readonly token?: string | ((renew?: boolean) => string | Promise<string>);
  /** Events that may be on their way for one reading (default 128). */
  readonly window?: number;
  /** Silence after which the connection counts as broken, in milliseconds (default 45,000). */
  readonly silenceMs?: number;
  readonly now?: () => number;
  readonly onOpen?: () => void;
  /** It broke, was closed, or could not be opened. */
  readonly onClose?: (fault: Fault) => void;
  readonly trace?: (direction: "*" | ">" | "<", text: string) => void;
}

export interface FramesPeer extends Peer {
  readonly state: "idle" | "connecting" | "open";
  close(): void;
}

/** A connection, from dialling to its end. */
export interface ClientPipe {
  /** Only after the server has spoken. */
  send(text: string): void;
  /** Nothing is heard of it any more; `code` where the pipe can say one (PROTOCOL.md §3.4). */
  close(code: number): void;
}

export interface PipeEvents {
  message(text: string): void;
  /** It has ended, or could not be opened: by the server's `code`, or for a reason of its own. */
  closed(code: number, reason: string, fault?: Fault): void;
}

/** Opens a connection. Nothing is told of it before this returns. */
export type Dial = (on: PipeEvents) => ClientPipe;

export function framesPeer(dial: Dial, options: FramesPeerOptions): FramesPeer {
  let line: Line | undefined;
  const lineNow = (): Line => {
    if (!line) {
      const made: Line = new Line(dial, options, (fault) => {
        if (line === made) line = undefined;
        options.onClose?.(fault);
      });
      line = made;
    }
    return line;
  };
  const peer: Peer = (call) => {
    const exchange = new FramesExchange(lineNow, options, call);
    return call.keep && exchange.isNew ? exchange.open() : exchange;
  };
  const close = (): void => line?.drop(new Fault("cancelled", "the client was closed"), 1000);
  const state = { get: () => (line ? (line.isOpen ? "open" : "connecting") : "idle") };
  return Object.defineProperty(Object.assign(peer, { close, state: "idle" as const }), "state", state);
}
