/** GET over one version of HTTP; HTTP/2 and 3 on one connection, whose secrets are told. */
import * as http2 from "node:http2";
import * as quic from "node:quic";
import { connect } from "node:tls";
import type { Congestion } from "../../conditions.ts";
import { quicClient } from "../../quic.ts";

export interface Target {
  readonly protocol: "http1.1" | "http2" | "http3";
  readonly address: string;
  readonly port: number;
  /** Of QUIC; that of TCP is the host's. */
  readonly congestion: Congestion;
}

export interface Visit {
  /** The pieces of the response as they come. */
  get(path: string): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** As much as browsers allow on the way, so that it is not the window that is waited for (RFC 9113 §6.9). */
const WINDOW_BYTES = 6_291_456;

/** @param onKey told of each line for a key log */
export async function visit(target: Target, onKey: (line: string) => void = () => {}): Promise<Visit> {
  switch (target.protocol) {
    case "http1.1":
      return overHttp1(target);
    case "http2":
      return overHttp2(target, onKey);
    case "http3":
      return await overHttp3(target, onKey);
  }
}

function overHttp1({ address, port }: Target): Visit {
  return {
    async *get(path) {
      yield* (await fetch(`http://${address}:${port}${path}`, { protocol: "http1.1" })).body!;
    },
    close: async () => {},
  };
}

function overHttp2({ address, port }: Target, onKey: (line: string) => void): Visit {
  const session = http2.connect(`https://${address}:${port}`, {
    settings: { initialWindowSize: WINDOW_BYTES },
    createConnection() {
      const socket = connect({ host: address, port, ALPNProtocols: ["h2"], rejectUnauthorized: false });
      socket.on("keylog", (line) => onKey(line.toString().trim()));
      return socket;
    },
  });
  session.on("error", () => {});
  session.once("connect", () => session.setLocalWindowSize(WINDOW_BYTES));
  return {
    async *get(path) {
      yield* session.request({ ":path": path }) as AsyncIterable<Uint8Array>;
    },
    close: () => new Promise((resolve) => session.close(resolve)),
  };
}

async function overHttp3({ address, port, congestion }: Target, onKey: (line: string) => void): Promise<Visit> {
  const session = await quic.connect(`${address}:${port}`, quicClient(onKey, congestion));
  session.closed.catch(() => {});
  return {
    async *get(path) {
      const stream = await session.createBidirectionalStream({
        headers: { ":method": "GET", ":scheme": "https", ":path": path, ":authority": "localhost" },
      });
      stream.closed.catch(() => {});
      for await (const pieces of stream) yield* pieces;
    },
    close: () => session.close(),
  };
}
