/** Bytes as they are, to and from a port. */
import { createHash, randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";

export interface Said {
  /** All that came, as Latin-1: bytes are characters. */
  readonly text: string;
  /** Of each response of HTTP/1.1, in order. */
  readonly statuses: readonly number[];
  readonly isClosed: boolean;
}

/** Sends, and takes what comes until there are `responses`, the server closes, or nothing came for `quietMs`. */
export function say(
  port: number,
  parts: readonly (string | Uint8Array)[],
  responses = 1,
  quietMs = 4_000,
): Promise<Said> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    let isClosed = false;
    const timer = setTimeout(done, quietMs);
    socket.on("error", () => {});
    socket.on("data", (data) => {
      text += data.toString("latin1");
      timer.refresh();
      if (statusesOf(text).length >= responses && text.includes("\r\n\r\n")) setTimeout(done, 5);
    });
    socket.on("close", () => {
      isClosed = true;
      done();
    });
    for (const part of parts) socket.write(part);
    function done(): void {
      clearTimeout(timer);
      socket.destroy();
      resolve({ text, statuses: statusesOf(text), isClosed });
    }
  });
}

function statusesOf(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));
}

export function request(
  method: string,
  target: string,
  headers: Readonly<Record<string, string>> = {},
  body = "",
): string {
  const lines = Object.entries({ Host: "localhost", ...headers }).map(([name, value]) => `${name}: ${value}`);
  const length = body === "" && method === "GET" ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
  return `${[`${method} ${target} HTTP/1.1`, ...lines, ...length].join("\r\n")}\r\n\r\n${body}`;
}

export function post(target: string, body: string, headers: Readonly<Record<string, string>> = {}): string {
  return request("POST", target, { "Content-Type": "application/json", ...headers }, body);
}

/** An open WebSocket that takes any bytes. */
export interface RawWebSocket {
  readonly socket: Socket;
  /** What came since the handshake. */
  readonly received: () => Buffer;
  readonly closed: Promise<void>;
}

export function rawWebSocket(port: number, headers: Readonly<Record<string, string>> = {}): Promise<RawWebSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    const key = randomBytes(16).toString("base64");
    let head: Uint8Array | undefined = new Uint8Array();
    let rest: Buffer = Buffer.alloc(0);
    const closed = new Promise<void>((gone) => socket.on("close", () => gone()));
    socket.on("error", () => {});
    socket.on("close", () => reject(new Error("the handshake was refused")));
    socket.on("data", (data: Buffer) => {
      if (!head) rest = Buffer.concat([rest, data]);
      else {
        const all = Buffer.concat([head, data]);
        head = all;
        const end = all.indexOf("\r\n\r\n");
        if (end < 0) return;
        const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
        const text = all.subarray(0, end).toString();
        if (!text.includes(" 101 ") || !text.includes(accept)) return reject(new Error(text));
        rest = all.subarray(end + 4);
        head = undefined;
        resolve({ socket, received: () => rest, closed });
      }
    });
    const upgrade = { Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Version": "13" };
    const protocol = { "Sec-WebSocket-Key": key, "Sec-WebSocket-Protocol": "backtalk.v1" };
    socket.write(request("GET", "/ws", { ...upgrade, ...protocol, ...headers }));
  });
}

/** One frame (RFC 6455 §5.2), as wrong as it is asked for. */
export function frame(
  opcode: number,
  payload: Uint8Array | string,
  {
    fin = true,
    masked = true,
    rsv = 0,
    length,
  }: { fin?: boolean; masked?: boolean; rsv?: number; length?: bigint } = {},
): Buffer {
  const data = Buffer.from(payload as string);
  const size = length ?? BigInt(data.length);
  const bits = size < 126n ? Number(size) : size < 65_536n ? 126 : 127;
  const head = Buffer.alloc(2 + (bits === 126 ? 2 : bits === 127 ? 8 : 0));
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (masked ? 0x80 : 0) | bits;
  if (bits === 126) head.writeUInt16BE(Number(size), 2);
  if (bits === 127) head.writeBigUInt64BE(size, 2);
  if (!masked) return Buffer.concat([head, data]);
  const mask = randomBytes(4);
  return Buffer.concat([head, mask, data.map((byte, i) => byte ^ mask[i % 4]!)]);
}

/** The close code that came, if one did. */
export function closeCode(received: Buffer): number | undefined {
  for (let at = 0; at + 2 <= received.length; ) {
    const bits = received[at + 1]! & 0x7f;
    const start = at + 2 + (bits === 126 ? 2 : bits === 127 ? 8 : 0);
    if (start > received.length) return undefined;
    const size =
      bits < 126 ? bits : bits === 126 ? received.readUInt16BE(at + 2) : Number(received.readBigUInt64BE(at + 2));
    if ((received[at]! & 0x0f) === 8) return size >= 2 ? received.readUInt16BE(start) : 1005;
    at = start + size;
  }
  return undefined;
}
