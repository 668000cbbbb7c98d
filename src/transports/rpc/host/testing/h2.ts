/** HTTP/2 by the frame: what no client would send, and what a client does not tell of what it got. */
import { connect, type Socket } from "node:net";

export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export class RawHttp2 {
  readonly frames: Frame[] = [];
  isClosed = false;
  readonly #socket: Socket;
  #left: Buffer = Buffer.alloc(0);
  #isPaused = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (data: Buffer) => this.#take(data));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isClosed = true;
    });
  }

  /** Connects, and greets with settings of this client: pairs of an identifier and a value. */
  static async open(port: number, settings: readonly (readonly [number, number])[] = []): Promise<RawHttp2> {
    const socket = connect(port, "127.0.0.1");
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    const client = new RawHttp2(socket);
    const payload = Buffer.alloc(6 * settings.length);
    settings.forEach(([id, value], at) => {
      payload.writeUInt16BE(id, 6 * at);
      payload.writeUInt32BE(value, 6 * at + 2);
    });
    socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(SETTINGS, 0, 0, payload);
    // So that its acknowledgement comes between no frames of a test.
    while (client.of(SETTINGS).length === 0 && !client.isClosed) await Bun.sleep(1);
    return client;
  }

  send(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): boolean {
    return this.#socket.write(frame(type, flags, stream, payload));
  }

  write(bytes: Uint8Array): boolean {
    return this.#socket.write(bytes);
  }

  /** The header of a gRPC call. */
  call(stream: number, path: string, fields: Readonly<Record<string, string>> = {}, flags = END_HEADERS): void {
    this.send(HEADERS, flags, stream, callFields(path, fields));
  }

  of(type: number, stream?: number): Frame[] {
    return this.frames.filter((each) => each.type === type && (stream === undefined || each.stream === stream));
  }

  /** Takes nothing more from the socket. */
  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#socket.resume();
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(data: Buffer): void {
    this.#left = this.#left.length === 0 ? data : Buffer.concat([this.#left, data]);
    while (this.#left.length >= 9) {
      const end = 9 + this.#left.readUIntBE(0, 3);
      if (this.#left.length < end) break;
      const payload = this.#left.subarray(9, end);
      const each = { type: this.#left[3]!, flags: this.#left[4]!, stream: this.#left.readUInt32BE(5), payload };
      this.frames.push(each);
      if (each.type === SETTINGS && each.flags !== ACK && !this.#isPaused) this.send(SETTINGS, ACK, 0);
      this.#left = this.#left.subarray(end);
    }
  }
}

export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function callFields(path: string, fields: Readonly<Record<string, string>> = {}): Buffer {
  return encodeFields({
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    ":authority": "localhost",
    "content-type": "application/grpc",
    te: "trailers",
    ...fields,
  });
}

/** RFC 7541 §6.2.2: literal fields without indexing, names and values as they are. */
export function encodeFields(fields: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(Object.entries(fields).flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

/** RFC 7541 §5.2 */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  return Buffer.concat([integer(bytes.length), bytes]);
}

/** RFC 7541 §5.1, with a prefix of 7 bits. */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.from([value]);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}
