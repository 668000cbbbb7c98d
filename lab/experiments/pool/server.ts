/** Serves a page that holds requests open, and hears from it how long another one took. */

import { LIMITS } from "../../../src/contract/index.ts";
import { serve } from "../../../src/net/serve.ts";
import { monotonic, openLibc } from "../../wire/libc.ts";
import { serveProgram } from "../../wire/program.ts";
import type { Report } from "./experiment.ts";

/** What runs in the page: `held` requests that the server does not answer for a while, then a plain one. */
function page(held: number): string {
  return `<title>pool</title><script>
(async () => {
  const began = performance.now();
  const all = Array.from({ length: ${held} }, async (_, n) => {
    await (await fetch("/held?" + n)).text();
    return performance.now() - began;
  });
  // The held ones are on their way.
  await new Promise((resolve) => setTimeout(resolve, 100));
  const asked = performance.now();
  await (await fetch("/plain")).text();
  const plain = performance.now() - asked;
  const heldMs = await Promise.all(all);
  const entry = performance.getEntriesByType("resource").find(({ name }) => name.endsWith("/plain"));
  const report = { plain, heldMs, protocol: entry.nextHopProtocol, connectMs: entry.connectEnd - entry.connectStart };
  await fetch("/report", { method: "POST", body: JSON.stringify(report) });
})();
</script>`;
}

const now = monotonic(openLibc());
let [pageAt, reportAt] = [0, 0];
/** Held requests that came before anything was answered, and whether the plain one did. */
let [held, isAnswering, isPlainAtOnce] = [0, false, false];
const reported = Promise.withResolvers<Report>();

function html(text: string): Response {
  return new Response(`<!doctype html><link rel="icon" href="data:,">${text}`, {
    headers: { "content-type": "text/html" },
  });
}

serveProgram({
  async serve(address: string, most: number, heldMs: number, tls?: { cert: string; key: string }): Promise<number> {
    const { listeners } = await serve({
      hostname: address,
      ...(tls ? { tls: { port: 0, ...tls } } : { port: 0 }),
      limits: LIMITS,
      async fetch(request) {
        const { pathname } = new URL(request.url);
        // What is typed is fetched over a connection of its own; what a page goes to shares its pool.
        if (pathname === "/start") return html('<script>location.href = "/page"</script>');
        if (pathname === "/page") {
          pageAt = now();
          return html(page(most));
        }
        if (pathname === "/plain") {
          isPlainAtOnce = !isAnswering;
          return new Response("plain");
        }
        if (pathname === "/held") {
          if (!isAnswering) held++;
          await Bun.sleep(heldMs);
          isAnswering = true;
          return new Response("held");
        }
        if (pathname !== "/report") return new Response(null, { status: 404 });
        reportAt = now();
        reported.resolve((await request.json()) as Report);
        return new Response();
      },
    });
    return Number(new URL(listeners[0]!.url).port);
  },
  /** What the page reports, and what the server saw of it. */
  report: async (): Promise<Report> => ({ ...(await reported.promise), pageAt, reportAt, held, isPlainAtOnce }),
});
