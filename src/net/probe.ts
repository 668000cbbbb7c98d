/** Asks a listener which protocols it really speaks: some versions of the platform ignore an option silently. */
import { createSocket } from "node:dgram";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** RFC 9113 §3.4: the preface of a client, and an empty SETTINGS frame. */
const PREFACE = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);
const SETTINGS = 4;

/** HTTP/2 without TLS, by prior knowledge: the server's preface is a SETTINGS frame. */
export function speaksH2c({ host, port }: Address, timeoutMs: number): Promise<boolean> {
  return asked(connect({ host, port }), timeoutMs, (socket, answer) => {
    socket.write(PREFACE);
    socket.once("data", (data) => answer(data.length >= 9 && data[3] === SETTINGS));
  });
}

/** What a TLS listener chooses of these (ALPN, RFC 7301). */
export async function choosesAlpn({ host, port }: Address, name: string, timeoutMs: number): Promise<boolean> {
  // The certificate is not the question, and nothing is sent.
  const socket = connectTls({ host, port, ALPNProtocols: [name], rejectUnauthorized: false });
  return asked(socket, timeoutMs, (_, answer) => {
    socket.once("secureConnect", () => answer(socket.alpnProtocol === name));
  });
}

/**
 * Whether QUIC answers: a packet of a version that nobody speaks must be answered by a Version Negotiation
 * packet (RFC 9000 §6.1), which lists the real ones. It opens no connection.
 */
export function speaksQuic({ host, port }: Address, timeoutMs: number): Promise<boolean> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  return new Promise((resolve) => {
    const send = (): void => socket.send(unknownVersion(), port, host);
    // Datagrams get lost.
    const again = setInterval(send, timeoutMs / 5);
    const answer = (speaks: boolean): void => {
      clearTimeout(timer);
      clearInterval(again);
      socket.close();
      resolve(speaks);
    };
    const timer = setTimeout(() => answer(false), timeoutMs);
    socket.once("message", (data) => answer(isVersionNegotiation(data)));
    socket.once("error", () => answer(false));
    send();
  });
}

/** RFC 9000 §17.2: a long header with a version of the form that is kept free (§15), filled up to 1,200 bytes (§14.1). */
function unknownVersion(): Buffer {
  const packet = Buffer.alloc(1200);
  packet.set([0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 7, 6, 5, 4, 3, 2, 1]);
  return packet;
}

/** RFC 9000 §17.2.1: a long header with version 0, and a list of versions. */
function isVersionNegotiation(data: Uint8Array): boolean {
  return data.length >= 11 && (data[0]! & 0x80) !== 0 && data.subarray(1, 5).every((byte) => byte === 0);
}

function asked(
  socket: Socket,
  timeoutMs: number,
  ask: (socket: Socket, answer: (speaks: boolean) => void) => void,
): Promise<boolean> {
  return new Promise((resolve) => {
    const answer = (speaks: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(speaks);
    };
    const timer = setTimeout(() => answer(false), timeoutMs);
    socket.on("error", () => answer(false));
    socket.once("close", () => answer(false));
    ask(socket, answer);
  });
}
