/** Headless Chromium: EventSource, fetch and WebSocket over HTTP/2 and HTTP/3, and the built client in a page. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { buildClient } from "../../scripts/build-client.ts";
import { until } from "../transport/world.ts";
import { Studio, tool } from "./setup.ts";

const browser = tool("chromium", "/usr/bin/chromium", "chromium-browser", "google-chrome");
const studio = new Studio();

beforeAll(async () => {
  if (browser === undefined) return;
  const { file } = await buildClient(studio.folder);
  await studio.start({
    "/page": { type: "text/html", text: "<!doctype html><title>Backtalk</title>" },
    "/client.js": { type: "text/javascript", text: await Bun.file(file).text() },
  });
}, 60_000);

afterAll(() => studio.stop());

async function launch(name: string, ...args: readonly string[]): Promise<{ context: BrowserContext; page: Page }> {
  const context = await chromium.launchPersistentContext(join(studio.folder, name), {
    executablePath: browser!,
    headless: true,
    args: [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      // The server has this address only, and QUIC tries one: that which localhost resolves to first.
      "--host-resolver-rules=MAP localhost 127.0.0.1",
      `--ignore-certificate-errors-spki-list=${studio.spki}`,
      ...args,
    ],
  });
  const page = context.pages()[0] ?? (await context.newPage());
  await page.goto(`https://localhost:${studio.tlsPort}/page`);
  return { context, page };
}

/** What the page has collected; the functions below run in the page. */
interface Seen {
  numbers: number[];
  verdicts: string[];
  ended: boolean;
  state: number;
}
declare const window: { seen: Seen; source: EventSource };

describe.skipIf(browser === undefined)("Chromium", () => {
  for (const [protocol, args] of [
    ["h2", () => ["--disable-quic"]],
    ["h3", () => ["--enable-quic", `--origin-to-force-quic-on=localhost:${studio.tlsPort}`]],
  ] as const) {
    test(`${protocol}: fetch, WebSocket, the built client, and an EventSource through a kill of the server`, async () => {
      const { context, page } = await launch(protocol, ...args());
      try {
        const result = await page.evaluate(async () => {
          const headers = { "content-type": "application/json" };
          const response = await fetch("/studio/isPrime", { method: "POST", headers, body: '{"n":19}' });
          const output = (await response.json()) as unknown;
          const entries = performance.getEntriesByType("resource") as PerformanceResourceTiming[];
          const entry = entries.find(({ name }) => name.endsWith("/studio/isPrime"));
          return { output, protocol: entry?.nextHopProtocol };
        });
        expect(result).toEqual({ output: { prime: true }, protocol });

        const socket = await page.evaluate(
          () =>
            new Promise<string[]>((resolve, reject) => {
              const types: string[] = [];
              const socket = new WebSocket(`wss://${location.host}/ws`, "backtalk.v1");
              socket.onerror = () => reject(new Error("the socket failed"));
              socket.onmessage = ({ data }) => {
                const { type } = JSON.parse(data as string) as { type: string };
                types.push(type);
                if (type === "welcome") {
                  socket.send('{"type":"call","id":1,"method":"studio/isPrime","input":{"n":4}}');
                } else {
                  socket.close(1000);
                  resolve(types);
                }
              };
            }),
        );
        expect(socket).toEqual(["welcome", "result"]);

        for (const transport of ["auto", "websocket", "sse", "long-poll", "poll"]) {
          const output = await page.evaluate(async (transport) => {
            const path = "/client.js";
            const { createClient } = (await import(path)) as { createClient: (url: string, options: object) => never };
            // biome-ignore lint/suspicious/noExplicitAny: the types of the service are not in the page
            const client = createClient(location.origin, { transport }) as any;
            const numbers: number[] = [];
            for await (const { n } of client.studio.countdown({ from: 3, intervalMs: 5 })) numbers.push(n);
            const prime = await client.studio.isPrime({ n: 23 });
            client.close();
            return { numbers, prime };
          }, transport);
          expect([transport, output]).toEqual([transport, { numbers: [3, 2, 1, 0], prime: { prime: true } }]);
        }

        await page.evaluate(async () => {
          const body = '{"from":80,"intervalMs":20}';
          const started = await fetch("/studio/countdown", {
            method: "POST",
            body,
            headers: { "content-type": "application/json", prefer: "respond-async" },
          });
          const seen: Seen = { numbers: [], verdicts: [], ended: false, state: 0 };
          const source = new EventSource(`${started.headers.get("location")}/events`);
          const data = (event: Event) => JSON.parse((event as MessageEvent<string>).data);
          source.addEventListener("item", (event) => seen.numbers.push(data(event).n));
          source.addEventListener("verdict", (event) => seen.verdicts.push(data(event).verdict));
          source.addEventListener("end", () => {
            seen.ended = true;
          });
          Object.assign(window, { seen, source });
        });
        const seen = () => page.evaluate(() => ({ ...window.seen, state: window.source.readyState }));
        await until(async () => (await seen()).numbers.length > 3, "the first items", 100);
        await studio.restart();
        await until(async () => (await seen()).ended, "the end", 100);
        await until(async () => (await seen()).state === 2, "the 204 that stops it", 100);
        const { numbers, verdicts } = await seen();
        expect(numbers).toEqual(Array.from({ length: 81 }, (_, i) => 80 - i));
        expect(verdicts.length).toBeGreaterThan(1);
        expect(new Set(verdicts)).toEqual(new Set(["recovered"]));
      } finally {
        await context.close();
      }
    }, 120_000);
  }
});
