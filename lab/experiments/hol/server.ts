/** Streams that say 600 bytes every 20 ms, each a little after the one before; and objects of a page. */
import { createPrivateKey } from "node:crypto";
import * as quic from "node:quic";
import { LIMITS } from "../../../src/contract/index.ts";
import { serve } from "../../../src/net/serve.ts";
import type { Congestion } from "../../conditions.ts";
import { serveProgram } from "../../wire/program.ts";

const object = new Uint8Array(20_000).fill(111);

serveProgram({
  /** HTTP/1.1 without TLS, HTTP/2 with it: the port. */
  async serve(address: string, tls: { cert: string; key: string } | null): Promise<number> {
    const { listeners } = await serve({
      hostname: address,
      ...(tls ? { tls: { port: 0, ...tls } } : { port: 0 }),
      limits: LIMITS,
      fetch(request, server) {
        server.timeout(request, 0);
        return new Response(bodyOf(request.url));
      },
    });
    return listeners[0]!.port;
  },
  /** HTTP/3 by itself, whose congestion control can be chosen: `Bun.serve` has no such choice. */
  async serveQuic(
    address: string,
    { cert, key }: { cert: string; key: string },
    congestion: Congestion,
  ): Promise<number> {
    const onSession = (session: quic.QuicSession) => {
      session.closed.catch(() => {});
      session.onstream = (stream) => {
        stream.closed.catch(() => {});
        stream.onheaders = (headers) => {
          stream.sendHeaders({ ":status": "200" });
          stream.setBody(bodyOf(`https://server${headers[":path"]}`));
        };
      };
    };
    const endpoint = await quic.listen(onSession, {
      alpn: "h3",
      cc: congestion,
      sni: { "*": { keys: [createPrivateKey(key)], certs: [Buffer.from(cert)] } },
      endpoint: { address: `${address}:0` },
    });
    return endpoint.address!.port;
  },
});

function bodyOf(address: string): Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> {
  const { pathname, searchParams } = new URL(address);
  if (pathname === "/object") return object;
  const number = (name: string) => Number(searchParams.get(name));
  return pieces(number("bytes"), number("every"), number("count"), number("first"));
}

/** On a schedule of its own, whatever the network does: the first after `first` milliseconds. */
function pieces(bytes: number, everyMs: number, count: number, firstMs: number): ReadableStream<Uint8Array> {
  const piece = new Uint8Array(bytes).fill(112);
  let timer: ReturnType<typeof setTimeout>;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const began = performance.now() + firstMs;
      let sent = 0;
      const next = () => {
        controller.enqueue(piece.slice());
        if (++sent === count) controller.close();
        else timer = setTimeout(next, Math.max(0, began + sent * everyMs - performance.now()));
      };
      timer = setTimeout(next, firstMs);
    },
    cancel: () => clearTimeout(timer),
  });
}
