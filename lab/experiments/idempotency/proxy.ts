/** A proxy as many are set up: it gives each try a time, and tries again, whatever the method. */
import { serveProgram } from "../../wire/program.ts";

const TRIES = 3;

serveProgram({
  serve(address: string, upstream: string, perTryMs: number): number {
    const server = Bun.serve({
      hostname: address,
      port: 0,
      async fetch(request) {
        const { method, headers } = request;
        const body = method === "GET" ? null : await request.bytes();
        const path = new URL(request.url);
        let tries = 0;
        for (;;) {
          tries++;
          try {
            const answer = await fetch(`${upstream}${path.pathname}${path.search}`, {
              method,
              headers,
              body,
              keepalive: false,
              signal: AbortSignal.timeout(perTryMs),
            });
            const answered = new Response(await answer.bytes(), answer);
            answered.headers.set("x-tries", String(tries));
            return answered;
          } catch {
            if (tries === TRIES) return new Response("no answer from behind", { status: 504 });
          }
        }
      },
    });
    return server.port!;
  },
});
