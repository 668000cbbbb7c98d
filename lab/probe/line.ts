/**
 * A TCP connection, with TLS or without, on which every byte is seen: counted, timed, and for TLS read as far
 * as it is in the clear. Each line is one try: it has a deadline, and ends with a reason.
 */
import { connect, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import { certificatesOf } from "./certificate.ts";
import { Absent, reasonOf } from "./reason.ts";
import { type Address, ms, type Setting } from "./setting.ts";
import { type Said, TlsSeen } from "./tls-seen.ts";

export interface LineOptions {
  /** With TLS: what is offered. */
  readonly tls?: Pick<ConnectionOptions, "ALPNProtocols" | "minVersion" | "maxVersion" | "session" | "ecdhCurve">;
  /** Only TLS is looked at: nothing will be sent in it, so it does not matter whom it is with. */
  readonly isForLooking?: boolean;
  readonly address?: Address;
  /** On the clock of `performance.now()` (default: as long as a try may take). */
  readonly deadline?: number;
}

/** The bytes of a TCP connection as a stream, which is what TLS is put on. */
class Wire extends Duplex {
  readonly socket: Socket;
  readonly seen = new TlsSeen();

  constructor(socket: Socket, { meter }: Setting) {
    super();
    this.socket = socket;
    socket.on("data", (bytes: Buffer) => {
      meter.bytesReceived += bytes.length;
      this.seen.received(bytes);
      this.push(bytes);
    });
    socket.on("end", () => this.push(null));
    socket.on("error", (error) => this.destroy(error));
    socket.on("close", () => this.destroy());
    this.on("error", () => {});
    this.#count = (bytes) => {
      meter.bytesSent += bytes;
      this.seen.sent();
    };
  }

  readonly #count: (bytes: number) => void;

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#count(bytes.length);
    this.socket.write(bytes, (error) => done(error));
  }

  override _final(done: () => void): void {
    this.socket.end();
    done();
  }
}

export class Line {
  readonly setting: Setting;
  readonly deadline: number;
  /** When it was begun, on the clock of `performance.now()`, and in milliseconds since 1970. */
  readonly begunAt: number;
  readonly begunDate: number;
  readonly connectMs: number;
  /** Since the begin, like `connectMs`. */
  readonly tlsMs: number | undefined;
  /** Round trips until a request can be sent. */
  readonly roundTrips: number;
  readonly tls: TLSSocket | undefined;
  readonly seen: TlsSeen;
  /** What TLS got until it was ready: the first flight of the server, without what came later. */
  readonly flightBytes: number;
  /** What requests go over. */
  readonly stream: Duplex;
  /** Sessions of TLS 1.3 to resume, as their tickets come: of some servers with the first flight. */
  readonly sessions: readonly Buffer[];
  readonly #secured: Secured | undefined;
  readonly #wire: Wire;
  #isUsed = false;

  private constructor(fields: {
    setting: Setting;
    deadline: number;
    begunAt: number;
    begunDate: number;
    connectMs: number;
    tlsMs?: number;
    secured?: Secured;
    wire: Wire;
  }) {
    this.setting = fields.setting;
    this.deadline = fields.deadline;
    this.begunAt = fields.begunAt;
    this.begunDate = fields.begunDate;
    this.connectMs = fields.connectMs;
    this.tlsMs = fields.tlsMs;
    this.#secured = fields.secured;
    this.tls = fields.secured?.tls;
    this.sessions = fields.secured?.sessions ?? [];
    this.#wire = fields.wire;
    this.seen = fields.wire.seen;
    this.flightBytes = this.seen.bytesReceived;
    this.roundTrips = 1 + this.seen.turns;
    this.stream = this.tls ?? fields.wire;
  }

  /** @throws Absent */
  static async open(setting: Setting, options: LineOptions = {}): Promise<Line> {
    const deadline = options.deadline ?? setting.deadline();
    const [begunAt, begunDate] = [performance.now(), Date.now()];
    const socket = await dial(setting, options.address ?? setting.address, deadline);
    const connectMs = performance.now() - begunAt;
    const wire = new Wire(socket, setting);
    const shared = { setting, deadline, begunAt, begunDate, connectMs, wire };
    if (!options.tls) return new Line(shared);
    try {
      const secured = await setting.within(secure(setting, wire, options), deadline);
      const tlsMs = performance.now() - begunAt;
      const { fault } = certificatesOf(setting, secured.tls);
      if (fault !== undefined && !setting.isInsecure && !options.isForLooking) throw new Absent("certificate", fault);
      return new Line({ ...shared, secured, tlsMs });
    } catch (thrown) {
      wire.destroy();
      socket.destroy();
      throw thrown;
    }
  }

  /** True for the first who asks: later requests go over a connection that was used. */
  take(): boolean {
    const isFresh = !this.#isUsed;
    this.#isUsed = true;
    return isFresh;
  }

  /** What the server said in the handshake, with what TLS 1.3 encrypts of it. */
  async said(): Promise<Said> {
    // The platform tells the secrets a moment after it has said that it is ready.
    await new Promise((resolve) => setImmediate(resolve));
    const line = this.#secured?.keyLog.find((each) => each.startsWith("SERVER_HANDSHAKE_TRAFFIC_SECRET "));
    return this.seen.read(line === undefined ? undefined : Buffer.from(line.trim().split(" ")[2]!, "hex"));
  }

  /** Until the other end closes it. */
  get isOpen(): boolean {
    return !this.#wire.destroyed && !this.#wire.readableEnded;
  }

  close(): void {
    this.tls?.destroy();
    this.#wire.destroy();
    this.#wire.socket.destroy();
  }
}

/** @throws Absent */
export async function dial(setting: Setting, { host, port }: Address, deadline: number): Promise<Socket> {
  setting.meter.tcpConnections++;
  const socket = connect({ host, port, noDelay: true });
  socket.on("error", () => {});
  try {
    await setting.within(
      new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve);
        socket.once("error", (error) => reject(absentOf(error)));
      }),
      deadline,
    );
    return socket;
  } catch (thrown) {
    socket.destroy();
    throw thrown;
  }
}

interface Secured {
  readonly tls: TLSSocket;
  readonly sessions: Buffer[];
  /** Lines as NSS writes them. */
  readonly keyLog: string[];
}

function secure(setting: Setting, wire: Wire, { tls: offered }: LineOptions): Promise<Secured> {
  const { serverName } = setting.target;
  const { promise, resolve, reject } = Promise.withResolvers<Secured>();
  const tls = connectTls({
    socket: wire as unknown as Socket,
    ...(serverName !== undefined && { servername: serverName }),
    ...(setting.ca !== undefined && { ca: setting.ca }),
    // Whether it is trusted is a finding: see `certificatesOf`.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...offered,
  });
  const failed = (error?: Error): void => reject(tlsFault(wire.seen, error));
  tls.on("error", failed);
  wire.once("error", failed);
  wire.once("close", () => failed());
  const secured: Secured = { tls, sessions: [], keyLog: [] };
  tls.on("session", (session: Buffer) => secured.sessions.push(session));
  tls.on("keylog", (line: Buffer) => secured.keyLog.push(line.toString()));
  tls.once("secureConnect", () => resolve(secured));
  return promise;
}

/** What was seen on the wire says more than the library. */
function tlsFault(seen: TlsSeen, error: Error | undefined): Absent {
  const { foreign, alert, choice, asksCertificate } = seen.read();
  if (foreign) return new Absent("malformed", `no TLS: it answers ${looksLike(foreign)}`);
  if (alert !== undefined && alert !== "close_notify") {
    return new Absent("tls_alert", alert, asksCertificate ? "it asked for a client certificate" : "");
  }
  // RFC 7301 §3.2: some servers choose what was not offered, instead of refusing.
  if (/invalid_alpn_protocol/i.test(`${error?.message}`)) {
    return new Absent("alpn_other", choice?.alpn ?? "one that was not offered");
  }
  // RFC 8446 §4.1.3: an older server answers with the version that it has, and this side ends it.
  if (choice && /unsupported_protocol|wrong_version/i.test(error?.message ?? "")) {
    return new Absent("not_offered", `it chose ${choice.version}`);
  }
  if (!error) return new Absent("closed", seen.bytesReceived > 0 ? "in the handshake" : undefined);
  return absentOf(error);
}

export function absentOf(error: unknown): Absent {
  const { code, detail } = reasonOf(error);
  return new Absent(code, detail);
}

/** The first bytes of something else, named where they are known. */
export function looksLike(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString("latin1");
  if (text.startsWith("HTTP/")) return `${text.split("\r\n")[0]!.slice(0, 40)}`;
  if (text.startsWith("SSH-")) return `SSH (${text.split(/\r?\n/)[0]!.slice(0, 40)})`;
  if (/^220[ -]/.test(text)) return "a greeting of SMTP or FTP";
  // RFC 9113 §3.4: the first frame of a server is SETTINGS, on stream 0.
  if (bytes.length >= 9 && bytes[3] === 4 && !bytes.subarray(5, 9).some((byte) => byte !== 0)) return "HTTP/2";
  if (bytes[0] === 21 && bytes[1] === 3) return "an alert of TLS";
  if (bytes[0] === 22 && bytes[1] === 3) return "a handshake of TLS";
  return JSON.stringify(text.slice(0, 24).replace(/[^\x20-\x7e]/g, "."));
}

/** The phases of the first request on this line, when its answer began and was over now. */
export function phasesOf(line: Line, isFresh: boolean, firstByteAt: number, endAt: number, sentAt: number) {
  const { namelookupMs } = line.setting;
  if (!isFresh) {
    return { namelookup: 0, starttransfer: ms(firstByteAt - sentAt), total: ms(endAt - sentAt), roundTrips: 1 };
  }
  const since = (at: number): number => ms(namelookupMs + at - line.begunAt);
  return {
    namelookup: ms(namelookupMs),
    connect: ms(namelookupMs + line.connectMs),
    ...(line.tlsMs !== undefined && { appconnect: ms(namelookupMs + line.tlsMs) }),
    starttransfer: since(firstByteAt),
    total: since(endAt),
    roundTrips: line.roundTrips + 1,
  };
}
