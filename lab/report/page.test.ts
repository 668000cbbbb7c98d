/** The report in headless Chromium: light and dark, wide and narrow, without any request, and with all that it can do. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { tool } from "../../suites/clients/setup.ts";
import { nagle } from "../experiments/nagle/experiment.ts";
import { hasNetwork, tryOut } from "../testing.ts";
import { documentOf } from "./document.ts";
import { junitOf } from "./junit.ts";
import { writeOut } from "./out.ts";
import { madeCapture, madeLine, madeRun } from "./testing.ts";

const executable = tool("chromium", "/usr/bin/chromium", "chromium-browser", "google-chrome");
const root = mkdtempSync(join(tmpdir(), "backtalk-report-"));
let browser: Browser;

const words = "a line that goes on and on until it needs more room than any phone has ";
const wide = "Wide".repeat(60);

/** What a run can be that is hard to show. */
const RUNS = {
  nothing: madeRun({ columns: [], findings: [] }),
  plain: madeRun({ captures: [madeCapture(30)] }),
  large: madeRun({
    captures: [madeCapture(6_000, "large"), madeCapture(0, "small"), { ...madeCapture(0, "empty"), seen: [] }],
  }),
  long: madeRun(
    {
      check: { rttMs: 100.2, p99Ms: 101, answered: 50, sent: 50 },
      columns: ["one", "two", "three", "four", "five", "six", "seven"].map((key) => ({
        key,
        title: `${key} ${words.slice(0, 20)}`,
        unit: "bytes",
        what: words,
      })),
      findings: Array.from({ length: 12 }, (_, index) =>
        madeLine({
          name: index === 0 ? wide : `${words}${index}`,
          values: { one: [1e9, 2e9], two: 123_456_789, three: wide, four: Number.NaN, five: [], six: 1, seven: 2 },
          expected: words,
          verdict: (["ok", "failed", "refused", "none"] as const)[index % 4]!,
          why: words.repeat(4),
          source: "RFC 9293 §3.7.4",
          explain: words.repeat(8),
          capture: wide,
        }),
      ),
      plots: (["bars", "dots", "lines", "steps"] as const).map((kind) => ({
        title: `${kind} ${words}`,
        kind,
        x: { title: words, ...(kind === "dots" ? {} : { unit: "s" }) },
        y: { title: words, unit: "ms" },
        series: Array.from({ length: 8 }, (_, index) => ({
          name: `${words}${index}`,
          points: Array.from({ length: 900 }, (_, at) => [at, Math.sin(at / 300) * index] as const),
        })),
      })),
      captures: [madeCapture(20, wide)],
      notes: [words.repeat(5), wide],
    },
    { title: words, question: words.repeat(3), variant: wide, versions: { kernel: wide } },
  ),
};
type Name = keyof typeof RUNS | "real";

beforeAll(async () => {
  if (executable === undefined) return;
  browser = await chromium.launch({
    executablePath: executable,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
  for (const [name, run] of Object.entries(RUNS)) await writeOut(join(root, name), run);
}, 60_000);

afterAll(async () => {
  await browser?.close();
  rmSync(root, { recursive: true });
});

interface Opened extends AsyncDisposable {
  readonly page: Page;
  readonly asked: string[];
  readonly wrong: string[];
}

async function open(name: Name, width = 1280, colorScheme: "light" | "dark" = "light"): Promise<Opened> {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme, hasTouch: width < 500 });
  page.setDefaultTimeout(30_000);
  const [asked, wrong]: [string[], string[]] = [[], []];
  page.on("request", (request) => asked.push(request.url()));
  page.on(
    "console",
    (message) => (message.type() === "error" || message.type() === "warning") && wrong.push(message.text()),
  );
  page.on("pageerror", (error) => wrong.push(String(error)));
  await page.goto(`file://${join(root, name, "report.html")}`);
  return { page, asked, wrong, [Symbol.asyncDispose]: () => page.close() };
}

/** Points at the label of an arrow, which is drawn anew while it is pointed at. */
async function pointAt(page: Page, index: number): Promise<void> {
  await page.locator(".ladder").evaluate((element) => element.scrollIntoView({ block: "center" }));
  const box = (await page.locator(`.rung[data-index="${index}"] .label`).boundingBox())!;
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
}

describe.skipIf(executable === undefined)("a report", () => {
  for (const name of Object.keys(RUNS) as (keyof typeof RUNS)[]) {
    for (const [width, scheme] of [
      [1280, "light"],
      [390, "dark"],
      [390, "light"],
      [320, "dark"],
      [768, "light"],
    ] as const) {
      test(`of ${name}, ${width} px, ${scheme}: is whole, asks for nothing, and does not scroll sideways`, async () => {
        await using opened = await open(name, width, scheme);
        const { page, asked, wrong } = opened;
        const seen = await page.evaluate(() => ({
          overflow: document.documentElement.scrollWidth - innerWidth,
          background: getComputedStyle(document.body).backgroundColor,
          // Text that sticks out of the window, other than in boxes that scroll by themselves.
          out: [...document.querySelectorAll("h1, p, dd, li, th, td, figcaption")].filter((element) => {
            const { left, right } = element.getBoundingClientRect();
            return !element.closest(".scroll, pre") && (right > innerWidth + 1 || left < -1);
          }).length,
        }));
        expect(seen).toEqual({
          overflow: 0,
          background: scheme === "light" ? "rgb(255, 255, 255)" : "rgb(20, 23, 27)",
          out: 0,
        });
        expect(asked).toEqual([`file://${join(root, name, "report.html")}`]);
        expect(wrong).toEqual([]);
        const shots = process.env["BACKTALK_SHOTS"];
        if (shots !== undefined)
          await page.screenshot({ path: join(shots, `lab-${name}-${scheme}-${width}.png`), fullPage: true });
      }, 60_000);
    }
  }

  test("its policy lets nothing else run, load or send", async () => {
    await using opened = await open("plain");
    const { page } = opened;
    const policy = await page.locator("meta[http-equiv]").getAttribute("content");
    expect(policy).toMatch(
      /^default-src 'none'; style-src 'sha256-\S+'; script-src 'sha256-\S+'; base-uri 'none'; form-action 'none'$/,
    );
    const refused = await page.evaluate(async () => {
      const script = document.createElement("script");
      script.textContent = "document.title = 'ran'";
      document.body.append(script);
      const sent = await fetch("https://example.com").then(
        () => "sent",
        () => "refused",
      );
      return [document.title === "ran", sent];
    });
    expect(refused).toEqual([false, "refused"]);
  });

  test("the ladder shows a packet's layers under the pointer, keeps it with a click, and goes on with keys", async () => {
    await using opened = await open("plain");
    const { page, wrong } = opened;
    const title = page.locator(".packet-title strong");
    expect(await page.locator(".ladder-space text.mark").first().textContent()).toContain("request sent");
    await pointAt(page, 1);
    await page.locator('.rung.selected[data-index="1"]').waitFor();
    expect(await title.textContent()).toContain("SYN");
    expect(await page.locator(".layers tr").allTextContents()).toEqual([
      expect.stringContaining("Ethernet"),
      expect.stringContaining("IPv4"),
      expect.stringContaining("TCP"),
    ]);
    const box = (await page.locator('.rung[data-index="3"] .label').boundingBox())!;
    await page.mouse.click(box.x + 5, box.y + 5);
    await page.locator('.rung.selected[data-index="3"]').waitFor();
    await pointAt(page, 1);
    await page.keyboard.press("ArrowDown");
    await page.locator('.rung.selected[data-index="4"]').waitFor();
    await page.keyboard.press("n");
    await page.locator(".rung.selected.lost").waitFor();
    expect(await page.locator(".ladder-detail").textContent()).toContain("dropped by a rule");
    expect(wrong).toEqual([]);
  }, 60_000);

  test("the ladder zooms by buttons and by wheel, and what was under the pointer stays", async () => {
    await using opened = await open("plain");
    const { page } = opened;
    const height = () => page.locator(".ladder-space").evaluate((element) => element.clientHeight);
    const before = await height();
    await page.locator('[data-do="in"]').click();
    const larger = await height();
    expect(larger).toBeGreaterThan(before * 1.2);
    await page.locator(".ladder").evaluate((element) => element.scrollIntoView({ block: "center" }));
    const box = (await page.locator(".ladder").boundingBox())!;
    await page.mouse.move(box.x + box.width / 2, box.y + 200);
    await page.keyboard.down("Control");
    await page.mouse.wheel(0, 300);
    await page.keyboard.up("Control");
    await page.waitForFunction((most) => document.querySelector(".ladder-space")!.clientHeight < most, larger);
    await page.locator("label", { hasText: "by time" }).click();
    await page.locator(".ladder .tick").first().waitFor({ state: "attached" });
    for (let n = 0; n < 30; n++) await page.locator('[data-do="in"]').click();
    expect(await height()).toBeLessThan(8_500_000);
    expect(await page.evaluate(() => document.querySelectorAll(".ladder .tick").length)).toBeLessThan(60);
  }, 60_000);

  test("thousands of packets are drawn only where they are looked at", async () => {
    await using opened = await open("large");
    const { page } = opened;
    expect(await page.locator(".ladder-count").textContent()).toContain("of 12,603");
    const drawn = () => page.evaluate(() => document.querySelectorAll(".rung").length);
    expect(await drawn()).toBeLessThan(200);
    await page.locator("label", { hasText: "by time" }).click();
    // All of them in one window.
    expect(await drawn()).toBeLessThan(1_500);
    const took = await page.evaluate(async () => {
      const ladder = document.querySelector(".ladder")!;
      document.querySelector<HTMLInputElement>("input[value=order]")!.click();
      const began = performance.now();
      for (let n = 1; n <= 20; n++) {
        ladder.scrollTop = (ladder.scrollHeight * n) / 21;
        await new Promise(requestAnimationFrame);
      }
      return performance.now() - began;
    });
    expect(took).toBeLessThan(20_000);
    await page.locator("select[name=capture]").selectOption("2");
    expect(await page.locator(".ladder-count").textContent()).toContain("0 packets");
  }, 60_000);

  test("on a phone a tap shows a packet, and values of plots", async () => {
    await using opened = await open("long", 390);
    const { page, wrong } = opened;
    await page.locator(".ladder").evaluate((element) => element.scrollIntoView({ block: "center" }));
    const box = (await page.locator(".ladder").boundingBox())!;
    await page.touchscreen.tap(box.x + box.width / 2, box.y + 30);
    await page.locator(".rung.selected").waitFor();
    expect(await page.locator(".layers tr").count()).toBeGreaterThan(2);
    await page.locator("svg.narrow .bar").last().dispatchEvent("pointerdown");
    expect(await page.locator(".tip").textContent()).toContain("median");
    expect(wrong).toEqual([]);
  }, 60_000);

  test("plots have a title, a description, and their numbers as a table", async () => {
    await using opened = await open("long");
    const { page } = opened;
    for (const svg of await page.locator(".plot svg").all()) {
      const ids = (await svg.getAttribute("aria-labelledby"))!.split(" ");
      for (const id of ids) expect((await page.locator(`[id="${id}"]`).textContent())!.length).toBeGreaterThan(5);
    }
    const tables = await page.locator(".plot .numbers table").all();
    expect(tables).toHaveLength(4);
    for (const table of tables) expect(await table.locator("tbody tr").count()).toBeGreaterThan(7);
    expect(
      await page.evaluate(
        () =>
          new Set([...document.querySelectorAll("[id]")].map(({ id }) => id)).size ===
          document.querySelectorAll("[id]").length,
      ),
    ).toBe(true);
  });

  test("prints without what only a screen can do", async () => {
    await using opened = await open("plain", 1280, "dark");
    const { page } = opened;
    await page.emulateMedia({ media: "print" });
    expect(await page.locator(".ladder-box").isVisible()).toBe(false);
    expect(await page.locator(".findings").isVisible()).toBe(true);
    expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe("rgb(255, 255, 255)");
  });

  test("JUnit is well-formed XML", async () => {
    await using opened = await open("nothing");
    const xml = Object.values(RUNS).map((run) => junitOf(documentOf(run)));
    const roots = await opened.page.evaluate(
      (texts) => texts.map((text) => new DOMParser().parseFromString(text, "application/xml").documentElement.nodeName),
      xml,
    );
    expect(new Set(roots)).toEqual(new Set(["testsuites"]));
  });

  test.skipIf(!hasNetwork("the report of a real run"))(
    "of a real run has its lines, and the packets of each a click away",
    async () => {
      const { run } = await tryOut(nagle, { runs: 4 });
      await writeOut(join(root, "real"), run);
      await using opened = await open("real");
      const { page, wrong, asked } = opened;
      expect(await page.locator(".findings tbody tr").count()).toBe(3);
      await page.locator("a[data-ladder]").nth(1).click();
      expect(await page.locator("select[name=capture]").inputValue()).toBe("1");
      expect(await page.locator(".ladder-count").textContent()).toContain("capture-two-writes-tcp-nodelay.pcapng");
      expect(await page.locator(".rung").count()).toBeGreaterThan(5);
      expect(wrong).toEqual([]);
      expect(asked).toHaveLength(1);
    },
    60_000,
  );
});
