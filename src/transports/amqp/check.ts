/**
 * Asks a broker who it is before its promises are relied on. The first frame that it sends, before any
 * credential is shown, names its product and version (AMQP 0-9-1 §1.4.2.1).
 */
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { Fault } from "../../log/index.ts";
import type { TlsOptions } from "./driver.ts";
import { parseUrl } from "./names.ts";

export interface BrokerAbout {
  readonly product: string;
  readonly version: string;
}

/** Quorum queues that let messages expire came with it. */
const OLDEST = [3, 10] as const;
const HEADER = Buffer.from([0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1]);
const MOST_BYTES = 64 * 1024;

/** @throws Fault `unavailable` when it cannot be reached, `failed_precondition` when it cannot keep the promises */
export async function checkBroker(url: string, tls: TlsOptions | undefined, timeoutMs: number): Promise<BrokerAbout> {
  const about = await ask(url, tls, timeoutMs);
  const [major = 0, minor = 0] = about.version.split(".").map(Number);
  if (about.product !== "RabbitMQ" || major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    throw new Fault("failed_precondition", `the broker is ${about.product} ${about.version}, which is not enough`, {
      hint: `RabbitMQ ${OLDEST.join(".")} or newer has the quorum queues that an acknowledged message is safe in`,
    });
  }
  return about;
}

function ask(url: string, tls: TlsOptions | undefined, timeoutMs: number): Promise<BrokerAbout> {
  const { host, port, isTls, shown } = parseUrl(url);
  return new Promise((resolve, reject) => {
    const socket = isTls ? connectTls({ host, port, servername: host, ...tls }) : connect({ host, port });
    let bytes = Buffer.alloc(0);
    const done = (result: BrokerAbout | Fault): void => {
      clearTimeout(timer);
      socket.destroy();
      if (result instanceof Fault) reject(result);
      else resolve(result);
    };
    const timer = setTimeout(() => done(unreachable(shown, `nothing came in ${timeoutMs} ms`)), timeoutMs);
    socket.on(isTls ? "secureConnect" : "connect", () => socket.write(HEADER));
    socket.on("error", (error: NodeJS.ErrnoException) => done(unreachable(shown, error.code ?? error.message)));
    socket.on("close", () => done(unreachable(shown, "it closed the connection")));
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.subarray(0, 4).toString() === "AMQP") done(notAmqp(shown, "it speaks another version of AMQP"));
      else if (bytes[0] !== 1 || bytes.length > MOST_BYTES) done(notAmqp(shown, "what it says is no AMQP 0-9-1"));
      // A frame: its type, channel, size, payload and end (§2.3.5).
      else if (bytes.length >= 7 && bytes.length >= 8 + bytes.readUInt32BE(3)) {
        done({ product: text(bytes, "product") ?? "an unknown broker", version: text(bytes, "version") ?? "0" });
      }
    });
  });
}

/** A long string in the server's properties, by its name. */
function text(bytes: Buffer, name: string): string | undefined {
  const key = Buffer.concat([Buffer.from([name.length]), Buffer.from(`${name}S`)]);
  const at = bytes.indexOf(key);
  if (at < 0 || at + key.length + 4 > bytes.length) return undefined;
  const begin = at + key.length + 4;
  return bytes.subarray(begin, begin + Math.min(bytes.readUInt32BE(begin - 4), 128)).toString();
}

function unreachable(shown: string, why: string): Fault {
  return new Fault("unavailable", `the broker ${shown} cannot be reached: ${why}`, {
    hint: "is RabbitMQ running, and is this its address?",
    detail: { sent: false },
  });
}

function notAmqp(shown: string, why: string): Fault {
  return new Fault("failed_precondition", `${shown} is no RabbitMQ: ${why}`, {
    hint: "its port is 5672, or 5671 with TLS",
  });
}
