/**
 * 0-RTT over TCP (RFC 8446 §2.3), proven: a GET goes out with the ClientHello, and it counts only when the
 * server says in its first flight that it takes the early data, and answers the request.
 */
import type { Socket } from "node:net";
import { TlsEnd } from "../tls/connection.ts";
import { type OpenSsl, openOpenssl, TlsContext } from "../tls/openssl.ts";
import { absent, type Finding, found, type Phases } from "./finding.ts";
import { USER_AGENT } from "./http1.ts";
import { absentOf, dial } from "./line.ts";
import { Absent, reasonOf } from "./reason.ts";
import { ms, type Setting } from "./setting.ts";

const NAME = "0rtt-tcp";
/** How long the client's Finished is held back to see whether the answer comes before it, in milliseconds. */
const MOST_HOLD_MS = 1_000;
/** How much of an answer is read in case a ticket comes with it. */
const MOST_AFTER_BYTES = 256 * 1024;

export async function earlyData(setting: Setting): Promise<Finding> {
  let openssl: OpenSsl;
  try {
    openssl = openOpenssl();
  } catch (thrown) {
    return absent(NAME, { code: "platform", detail: (thrown as Error).message });
  }
  let context: TlsContext | undefined;
  try {
    context = new TlsContext(openssl, { isServer: false, version: "1.3" });
    return await twice(setting, context);
  } catch (thrown) {
    return absent(NAME, reasonOf(thrown));
  } finally {
    context?.free();
  }
}

async function twice(setting: Setting, context: TlsContext): Promise<Finding> {
  const first = await visit(setting, context, undefined);
  if (!first.session) return absent(NAME, { code: "not_offered" }, "no ticket came");
  const { bytes, maxEarlyData } = first.session;
  const facts = { maxEarlyData };
  if (maxEarlyData === 0) return absent(NAME, { code: "not_offered" }, "the ticket allows no early data", { facts });
  const again = await visit(setting, context, bytes);
  const claims = `the ticket claims ${maxEarlyData.toLocaleString("en")} bytes of it`;
  if (!again.isAccepted) {
    const how = again.isResumed ? "the ticket was taken, the early data not" : "the ticket was not taken";
    return absent(NAME, { code: "rejected" }, `${claims}; ${how}`, { facts: { ...facts, isResumed: again.isResumed } });
  }
  if (again.status === undefined) {
    return absent(NAME, again.fault ?? { code: "closed" }, `${claims}; taken, but not answered`, { facts });
  }
  const when = again.isAnsweredFirst ? "before the handshake had ended" : "after the handshake had ended";
  // RFC 8470 §5.2: the server wants it again, after the handshake.
  const status = again.status === 425 ? "425 Too Early" : `status ${again.status}`;
  const all = { ...facts, status: again.status, isAnsweredBeforeFinished: again.isAnsweredFirst };
  const seen = { facts: all, phases: again.phases };
  if (again.status === 425)
    return absent(NAME, { code: "http_status", detail: "425" }, `${claims}; refused for GET`, seen);
  return found(NAME, `taken, and answered with ${status} ${when}`, seen);
}

interface Visit {
  readonly session: { readonly bytes: Uint8Array; readonly maxEarlyData: number } | undefined;
  readonly isAccepted: boolean;
  readonly isResumed: boolean;
  /** Of the answer; undefined when none came. */
  readonly status: number | undefined;
  readonly fault: ReturnType<typeof reasonOf> | undefined;
  /** The answer came before this side had sent its Finished. */
  readonly isAnsweredFirst: boolean;
  readonly phases: Phases;
}

/** With a session, the request is early data. */
async function visit(setting: Setting, context: TlsContext, session: Uint8Array | undefined): Promise<Visit> {
  const { target } = setting;
  const deadline = setting.deadline();
  const begunAt = performance.now();
  const socket = await dial(setting, setting.address, deadline);
  const connectMs = performance.now() - begunAt;
  // An empty name is none.
  const options = { serverName: target.serverName ?? "", alpn: ["http/1.1"], ...(session && { session }) };
  const end = new TlsEnd(context, options);
  const bytes = new Incoming(setting, socket, deadline);
  const request = Buffer.from(
    `GET ${target.path} HTTP/1.1\r\nhost: ${target.authority}\r\nuser-agent: ${USER_AGENT}\r\naccept: */*\r\nconnection: close\r\n\r\n`,
  );
  setting.meter.otherRequests++;
  try {
    let text = "";
    const readAll = (): boolean => {
      for (let part = end.read(); part; part = end.read()) {
        // The first line is enough.
        if (text.length < 1_024) text += Buffer.from(part.bytes).toString("latin1");
      }
      return text !== "";
    };
    if (session) end.writeEarly(request);
    end.handshake();
    bytes.send(end.take());
    while (!end.isReady) {
      end.feed(await bytes.next());
      // A HelloRetryRequest is answered by another ClientHello; the Finished is not sent yet.
      if (!end.handshake()) bytes.send(end.take());
    }
    const tlsMs = performance.now() - begunAt;
    const isAccepted = session !== undefined && end.isEarlyAccepted;
    // This side's Finished waits in `end`: what comes now was answered to the early data alone (RFC 8446 §2.3).
    let isAnsweredFirst = false;
    if (isAccepted) {
      const hold = Math.min(deadline, performance.now() + Math.min(MOST_HOLD_MS, 200 + 4 * connectMs));
      isAnsweredFirst = readAll();
      while (!isAnsweredFirst) {
        const more = await bytes.next(hold).catch(() => undefined);
        if (!more) break;
        end.feed(more);
        isAnsweredFirst = readAll();
      }
    }
    let firstByteAt = isAnsweredFirst ? performance.now() : undefined;
    bytes.send(end.take());
    if (!isAccepted) end.write(request);
    bytes.send(end.take());
    let fault: Visit["fault"];
    try {
      while (!readAll() || !(text.includes("\r\n") || text.length > 1_024)) end.feed(await bytes.next());
      firstByteAt ??= performance.now();
      // Tickets may come with the answer; a server that closes has sent them.
      let more = session === undefined ? MOST_AFTER_BYTES : 0;
      while (more > 0 && (end.session()?.maxEarlyData ?? 0) === 0) {
        const piece = await bytes.next(Math.min(deadline, performance.now() + 200));
        more -= piece.length;
        end.feed(piece);
        readAll();
      }
    } catch (thrown) {
      fault = reasonOf(thrown);
    }
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1];
    const at = (value: number): number => ms(setting.namelookupMs + value);
    return {
      session: end.session(),
      isAccepted,
      isResumed: end.isResumed,
      status: status === undefined ? undefined : Number(status),
      fault: status === undefined && text !== "" ? { code: "malformed" } : fault,
      isAnsweredFirst,
      phases: {
        namelookup: at(0),
        connect: at(connectMs),
        appconnect: at(tlsMs),
        ...(firstByteAt !== undefined && { starttransfer: at(firstByteAt - begunAt) }),
        ...(session && isAccepted && { roundTrips: 2 }),
      },
    };
  } catch (thrown) {
    throw absentOf(thrown);
  } finally {
    end.free();
    socket.destroy();
  }
}

/** The bytes of a socket, piece by piece. */
class Incoming {
  readonly #setting: Setting;
  readonly #socket: Socket;
  readonly #deadline: number;
  readonly #pieces: Uint8Array[] = [];
  #over: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(setting: Setting, socket: Socket, deadline: number) {
    this.#setting = setting;
    this.#socket = socket;
    this.#deadline = deadline;
    socket.on("data", (bytes: Buffer) => {
      setting.meter.bytesReceived += bytes.length;
      this.#pieces.push(bytes);
      this.#wake?.();
    });
    const over = (error?: Error): void => {
      this.#over ??= error ? absentOf(error) : new Absent("closed");
      this.#wake?.();
    };
    socket.on("end", () => over());
    socket.on("close", () => over());
    socket.on("error", over);
  }

  send(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#setting.meter.bytesSent += bytes.length;
    this.#socket.write(bytes);
  }

  /** @throws Absent at its end, and when nothing comes in time */
  async next(deadline = this.#deadline): Promise<Uint8Array> {
    if (this.#pieces.length === 0 && !this.#over) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await this.#setting.within(promise, deadline);
    }
    const piece = this.#pieces.shift();
    if (piece) return piece;
    throw this.#over!;
  }
}
