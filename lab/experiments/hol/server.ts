/** Streams that say 600 bytes every 20 ms, each a little after the one before; and objects of a page. */
import { LIMITS } from "../../../src/contract/index.ts";
import { serve } from "../../../src/net/serve.ts";
import { serveProgram } from "../../wire/program.ts";

const object = new Uint8Array(20_000).fill(111);

serveProgram({
  async serve(address: string, tls: { cert: string; key: string } | null): Promise<number> {
    const { listeners } = await serve({
      hostname: address,
      ...(tls ? { tls: { port: 0, ...tls } } : { port: 0 }),
      limits: LIMITS,
      fetch(request, server) {
        const url = new URL(request.url);
        const number = (name: string) => Number(url.searchParams.get(name));
        if (url.pathname === "/object") return new Response(object);
        server.timeout(request, 0);
        return new Response(pieces(number("bytes"), number("every"), number("count"), number("first")));
      },
    });
    return Number(new URL(listeners[0]!.url).port);
  },
});

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
