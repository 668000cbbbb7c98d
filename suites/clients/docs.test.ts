/** The page at /docs in headless Chromium: in light and dark, on a wide and a narrow screen, without any other server. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type Browser, chromium } from "playwright-core";
import { Place, type Server, serveIn } from "../../cli/testing.ts";
import { tool } from "./setup.ts";

const executable = tool("chromium", "/usr/bin/chromium", "chromium-browser", "google-chrome");
const place = new Place();
let server: Server;
let browser: Browser;

beforeAll(async () => {
  if (executable === undefined) return;
  server = await serveIn(place);
  const args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"];
  browser = await chromium.launch({ executablePath: executable, args });
}, 60_000);

afterAll(async () => {
  await browser?.close();
  server?.child.kill("SIGKILL");
  await server?.child.exited;
  place.remove();
});

test("a browser is led from / to the page, a program is told that there is nothing", async () => {
  const own = server ?? (await serveIn(place));
  const ask = (accept: string) => fetch(`${own.http}/`, { headers: { accept }, redirect: "manual" });
  const browser = await ask("text/html,application/xhtml+xml,*/*;q=0.8");
  expect([browser.status, browser.headers.get("location")]).toEqual([302, "docs"]);
  const program = await ask("*/*");
  expect([program.status, (await program.json()).code]).toEqual([404, "not_found"]);
  if (server === undefined) own.child.kill("SIGKILL");
}, 60_000);

describe.skipIf(executable === undefined)("/docs", () => {
  for (const colorScheme of ["light", "dark"] as const) {
    for (const width of [1280, 390]) {
      test(`${colorScheme}, ${width} px: is whole, needs this server only, and calls a method`, async () => {
        const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
        page.setDefaultTimeout(30_000);
        const asked: string[] = [];
        const wrong: string[] = [];
        page.on("request", (request) => asked.push(request.url()));
        page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
        page.on("pageerror", (error) => wrong.push(String(error)));
        await page.goto(`${server.http}/docs`);
        await page.locator(".opblock-summary-path", { hasText: "isPrime" }).first().waitFor();

        const seen = await page.evaluate(() => ({
          background: getComputedStyle(document.body).backgroundColor,
          overflow: document.documentElement.scrollWidth - innerWidth,
        }));
        expect(seen).toEqual({
          background: colorScheme === "light" ? "rgb(255, 255, 255)" : "rgb(28, 32, 34)",
          overflow: 0,
        });

        const operation = page.locator(".opblock-post", { hasText: "isPrime" }).first();
        await operation.locator(".opblock-summary-control").click();
        await operation.locator(".try-out__btn").click();
        await operation.locator(".body-param__text").fill('{"n":97}');
        await operation.locator(".execute").click();
        await operation.locator(".live-responses-table .highlight-code", { hasText: "prime" }).first().waitFor();
        expect(await operation.locator(".live-responses-table .response-col_status").last().textContent()).toContain(
          "200",
        );
        expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBe(0);

        expect(asked.filter((url) => !url.startsWith(server.http) && !url.startsWith("data:"))).toEqual([]);
        expect(wrong).toEqual([]);
        const shots = process.env["BACKTALK_SHOTS"];
        if (shots !== undefined) await page.screenshot({ path: join(shots, `docs-${colorScheme}-${width}.png`) });
        await page.close();
      }, 60_000);
    }
  }
});
