/**
 * One subscriber on a raw socket: it takes a fraction of what a WebSocket or an EventSource of the platform
 * costs, so that the server is what is measured. It counts events by a mark that each of them has once.
 */
import type { Socket } from "bun";

/** In the text of each event once, and nowhere else. */
export const MARK = "@";
const MARK_CODE = MARK.charCodeAt(0);
/** Events that the server may send ahead (PROTOCOL.md §3.3); half of them are given back when half are used. */
const CREDIT = 256;

export type Kind = "websocket" | "sse" | "bare-websocket" | "bare-sse" | "socketio";

export interface Tally {
  events: number;
  /** Of the readers whose reading has begun. */
  begun: number;
  /** `recovered`, `gap`, `reset`; readers of servers without verdicts count as `none`. */
  readonly verdicts: Record<string, number>;
  failed: number;
  /** Called after each of these changes. */
  changed(): void;
}

export interface Wanted {
  readonly kind: Kind;
  readonly port: number;
  readonly after?: string;
}

export class Reader {
  readonly #tally: Tally;
  readonly #wanted: Wanted;
  readonly #isFramed: boolean;
  #socket: Socket | undefined;
  #hasHead = false;
  #hasBegun = false;
  #isClosed = false;
  #rest: Buffer | undefined;
  #early = "";
  /** Bytes of the frame under way that are still to come. */
  #need = 0;
  #uses = 0;
  /** The cursor where reading began. */
  place = "";
  /** The newest text that had an event, when `keep` is set. */
  sample = "";
  keep = false;

  constructor(tally: Tally, wanted: Wanted) {
    this.#tally = tally;
    this.#wanted = wanted;
    this.#isFramed = !wanted.kind.endsWith("sse");
  }

  async open(): Promise<void> {
    await Bun.connect({
      hostname: "127.0.0.1",
      port: this.#wanted.port,
      socket: {
        open: (socket) => {
          this.#socket = socket;
          socket.write(request(this.#wanted));
        },
        data: (_, bytes) => this.#received(bytes),
        close: () => this.#ended(),
        error: () => this.#ended(),
      },
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#socket?.terminate();
  }

  #ended(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#tally.failed++;
    this.#tally.changed();
  }

  #received(bytes: Buffer): void {
    const all = this.#rest ? Buffer.concat([this.#rest, bytes]) : bytes;
    this.#rest = undefined;
    if (this.#hasHead) {
      this.#body(all, 0);
      return;
    }
    const end = all.indexOf("\r\n\r\n");
    if (end < 0) {
      this.#rest = Buffer.from(all);
      return;
    }
    const status = all.toString("latin1", 9, 12);
    if (status !== (this.#isFramed ? "101" : "200")) {
      this.#ended();
      return;
    }
    this.#hasHead = true;
    if (this.#wanted.kind === "websocket") this.#send(subscribe(this.#wanted.after));
    if (all.length > end + 4) this.#body(all, end + 4);
  }

  #body(bytes: Buffer, from: number): void {
    if (this.#isFramed) this.#frames(bytes, from);
    else this.#payload(bytes, from, bytes.length, true);
  }

  /** RFC 6455 §5.2; a server does not mask. */
  #frames(bytes: Buffer, from: number): void {
    for (let at = from; at < bytes.length; ) {
      if (this.#need > 0) {
        const end = Math.min(bytes.length, at + this.#need);
        this.#need -= end - at;
        this.#payload(bytes, at, end, false);
        at = end;
        continue;
      }
      const left = bytes.length - at;
      const short = left < 2 ? 0 : bytes[at + 1]! & 127;
      const header = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (left < header) {
        this.#rest = Buffer.from(bytes.subarray(at));
        return;
      }
      const length =
        short === 126 ? bytes.readUInt16BE(at + 2) : short === 127 ? Number(bytes.readBigUInt64BE(at + 2)) : short;
      const isWhole = left >= header + length;
      const opcode = bytes[at]! & 15;
      at += header;
      if (opcode >= 8) {
        // A control frame is short: wait for all of it.
        if (!isWhole) {
          this.#rest = Buffer.from(bytes.subarray(at - header));
          return;
        }
        if (opcode === 8) {
          this.#ended();
          return;
        }
        if (opcode === 9) this.#write(frame(bytes.subarray(at, at + length), 0x8a));
        at += length;
      } else if (isWhole) {
        this.#payload(bytes, at, at + length, true);
        at += length;
      } else this.#need = length;
    }
  }

  #payload(bytes: Buffer, from: number, end: number, isWhole: boolean): void {
    let events = 0;
    for (let at = bytes.indexOf(MARK_CODE, from); at >= 0 && at < end; at = bytes.indexOf(MARK_CODE, at + 1)) events++;
    if (events > 0) {
      if (this.keep) this.sample = bytes.toString("utf8", from, end);
      this.#uses += events;
      if (this.#wanted.kind === "websocket" && this.#uses >= CREDIT / 2) {
        this.#send(`{"type":"credit","id":1,"n":${this.#uses}}`);
        this.#uses = 0;
      }
    }
    if (!this.#hasBegun || (events === 0 && isWhole && this.#isFramed)) this.#told(bytes.toString("utf8", from, end));
    if (events === 0) return;
    this.#tally.events += events;
    this.#tally.changed();
  }

  /** What is no event: the beginning, and pings. */
  #told(piece: string): void {
    const { kind } = this.#wanted;
    // What comes before the beginning may come in pieces.
    const text = this.#hasBegun ? piece : this.#early + piece;
    if (text.startsWith('{"type":"ping"')) this.#send('{"type":"pong"}');
    if (kind === "socketio" && text === "2") this.#send("3");
    if (kind === "socketio" && text.startsWith("0{")) this.#send("40");
    if (text.startsWith('{"type":"fault"')) this.#ended();
    if (this.#hasBegun) return;
    let verdict = "none";
    if (kind === "websocket" || kind === "sse") {
      verdict = /"verdict":"(\w+)"/.exec(text)?.[1] ?? "";
      this.place = /"to":"([^"]+)"/.exec(text)?.[1] ?? "";
    } else if (kind === "socketio" && !text.startsWith("40")) return;
    if (verdict === "") {
      this.#early = text;
      return;
    }
    this.#early = "";
    this.#hasBegun = true;
    this.#tally.begun++;
    this.#tally.verdicts[verdict] = (this.#tally.verdicts[verdict] ?? 0) + 1;
    this.#tally.changed();
  }

  #send(text: string): void {
    this.#write(frame(Buffer.from(text), 0x81));
  }

  #write(bytes: Uint8Array): void {
    this.#socket?.write(bytes);
  }
}

function request({ kind, port, after = "now" }: Wanted): string {
  const target = { websocket: "/ws", sse: `/topics/feed?after=${after}`, "bare-websocket": "/ws", "bare-sse": "/sse" };
  const path = kind === "socketio" ? "/socket.io/?EIO=4&transport=websocket" : target[kind];
  const head = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n`;
  if (kind.endsWith("sse")) return `${head}Accept: text/event-stream\r\n\r\n`;
  const protocol = kind === "websocket" ? "Sec-WebSocket-Protocol: backtalk.v1\r\n" : "";
  const key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  return `${head}Connection: Upgrade\r\nUpgrade: websocket\r\n${key}${protocol}\r\n`;
}

function subscribe(after = "now"): string {
  return JSON.stringify({ type: "subscribe", id: 1, topic: "feed", after, credit: CREDIT });
}

/** A client masks (RFC 6455 §5.3); with a mask of zeros the bytes stay as they are. At most 125 bytes. */
function frame(payload: Uint8Array, first: number): Uint8Array {
  const bytes = new Uint8Array(6 + payload.length);
  bytes[0] = first;
  bytes[1] = 0x80 | payload.length;
  bytes.set(payload, 6);
  return bytes;
}
