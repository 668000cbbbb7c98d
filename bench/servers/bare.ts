/** What the platform itself costs: parses and answers JSON, publishes bytes as they are, and does no more. */
import { isPrime, options, ready } from "../peers/shared.mjs";

const { tls } = options<{ tls?: { key: string; cert: string } }>();
const TOPIC = "feed";
/** The bare SSE: one direct response for each reader, written to in a loop. */
const readers = new Set<ReadableStreamDefaultController<Uint8Array>>();

async function answer(request: Request, server: Bun.Server<undefined>): Promise<Response | undefined> {
  const path = request.url.slice(request.url.indexOf("/", 8));
  if (path === "/bench/isPrime") {
    const { n } = (await request.json()) as { n: number };
    return Response.json({ prime: isPrime(n) });
  }
  if (path === "/publish") {
    server.publish(TOPIC, await request.text());
    return Response.json({});
  }
  if (path === "/publish-sse") {
    const bytes = await request.bytes();
    for (const reader of readers) reader.enqueue(bytes);
    return Response.json({});
  }
  if (path === "/bench/collect") {
    Bun.gc(true);
    return Response.json({});
  }
  if (path === "/sse") return stream(request, server);
  if (path === "/ws" && server.upgrade(request)) return undefined;
  return new Response(null, { status: 404 });
}

function stream(request: Request, server: Bun.Server<undefined>): Response {
  server.timeout(request, 0);
  let own: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      own = controller;
      readers.add(controller);
      controller.enqueue(new TextEncoder().encode(":\n\n"));
    },
    cancel() {
      readers.delete(own);
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

function serve(secure: { tls: { key: string; cert: string }; http3: true } | object): number {
  return Bun.serve({
    ...secure,
    hostname: "127.0.0.1",
    port: 0,
    http2: true,
    development: false,
    fetch: answer,
    websocket: {
      open(socket) {
        socket.subscribe(TOPIC);
        socket.send("{}");
      },
      message() {},
    },
  }).port!;
}

ready({ port: serve({}), ...(tls && { tlsPort: serve({ tls, http3: true }) }) });
