/** Chromium sends files from a page of another origin, over a line that breaks: tus-js-client, and `backtalk/upload`. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { seeded } from "../../src/wire/seed.ts";
import { tool } from "../clients/setup.ts";
import { breaker } from "./breaker.ts";
import { UploadServer } from "./process.ts";

const browser = tool("chromium", "/usr/bin/chromium", "chromium-browser", "google-chrome");
const root = new URL("../..", import.meta.url).pathname;
let pages: Bun.Server<undefined>;
let server: UploadServer;
let context: BrowserContext;
let page: Page;

beforeAll(async () => {
  if (browser === undefined) return;
  const entrypoints = ["src/uploads/client.ts", "src/client/index.ts"].map((path) => join(root, path));
  const built = await Bun.build({ entrypoints, target: "browser", naming: "[dir]/[name].js" });
  const text = async (part: string) => await built.outputs.find(({ path }) => path.includes(part))!.text();
  const files: Record<string, [type: string, text: string]> = {
    "/": ["text/html", '<!doctype html><title>Uploads</title><script src="/tus.js"></script>'],
    "/tus.js": ["text/javascript", await Bun.file(join(root, "node_modules/tus-js-client/dist/tus.min.js")).text()],
    "/upload.js": ["text/javascript", await text("uploads/client")],
    "/client.js": ["text/javascript", await text("client/index")],
  };
  pages = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request) {
      const [type, text] = files[new URL(request.url).pathname] ?? ["text/plain", ""];
      return new Response(text, { headers: { "content-type": type } });
    },
  });
  const origin = `http://127.0.0.1:${pages.port}`;
  server = await new UploadServer(["--origin", origin]).start();
  context = await chromium.launchPersistentContext(join(server.folder, "browser"), {
    executablePath: browser,
    headless: true,
    args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"],
  });
  page = context.pages()[0] ?? (await context.newPage());
  await page.goto(`${origin}/`);
}, 60_000);

afterAll(async () => {
  if (browser === undefined) return;
  await context.close();
  await server.remove();
  await pages.stop(true);
});

/** What the page has; the functions below run in it. */
declare const tus: { Upload: new (file: Blob, options: object) => { start(): void } };

describe.skipIf(browser === undefined)("a page", () => {
  for (const client of ["tus-js-client", "backtalk/upload"] as const) {
    test(`${client}: the bytes of a File arrive`, async () => {
      const random = seeded(client.length);
      const line = await breaker(server.port, () => Math.floor(200_000 + random() * 1_500_000));
      const url = `http://127.0.0.1:${line.port}`;
      try {
        const { sent, result } = await page.evaluate(
          async ([url, client]) => {
            const bytes = new Uint8Array(6_000_000);
            for (let at = 0; at < bytes.length; at += 60_000) crypto.getRandomValues(bytes.subarray(at, at + 60_000));
            const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
            const sent = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
            const file = new File([bytes], "von der Kamera.bin", { type: "application/x-own" });
            if (client === "tus-js-client") {
              const body = await new Promise<string>((resolve, reject) => {
                const onSuccess = (end: { lastResponse: { getBody(): string } }) => resolve(end.lastResponse.getBody());
                new tus.Upload(file, {
                  endpoint: `${url}/uploads`,
                  chunkSize: 1_000_000,
                  retryDelays: Array.from({ length: 50 }, () => 10),
                  metadata: { filename: file.name, method: "files/hash" },
                  onSuccess,
                  onError: reject,
                }).start();
              });
              return { sent, result: JSON.parse(body) as object };
            }
            const [uploads, clients] = ["/upload.js", "/client.js"];
            // biome-ignore lint/suspicious/noExplicitAny: the types of the modules are not in the page
            const { fileLayer } = (await import(uploads!)) as any;
            // biome-ignore lint/suspicious/noExplicitAny: the types of the modules are not in the page
            const { createClient } = (await import(clients!)) as any;
            const made = createClient(url, { layers: [fileLayer(url, { chunkBytes: 1_000_000 })], retry: true });
            const result = (await made.files.hash({ file }, { retry: true })) as object;
            made.close();
            return { sent, result };
          },
          [url, client] as const,
        );
        expect(result).toMatchObject({ size: 6_000_000, sha256: sent });
        expect(line.breaks).toBeGreaterThan(1);
      } finally {
        await line.close();
      }
    }, 60_000);
  }
});
