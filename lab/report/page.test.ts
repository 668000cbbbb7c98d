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

interface Opened {
  readonly page: Page;
  readonly asked: string[];
  readonly wrong: string[];
}

/** One page with a mouse and one that is touched are enough for all: to make a page takes longer than to go to the next. */
const opened = new Map<"mouse" | "touch", { readonly page: Page; asked: string[]; wrong: string[] }>();

async function newPage(kind: "mouse" | "touch") {
  const page = await browser.newPage({ hasTouch: kind === "touch" });
  page.setDefaultTimeout(30_000);
  const all = { page, asked: [] as string[], wrong: [] as string[] };
  page.on("request", (request) => all.asked.push(request.url()));
  page.on(
    "console",
    (message) => (message.type() === "error" || message.type() === "warning") && all.wrong.push(message.text()),
  );
  page.on("pageerror", (error) => all.wrong.push(String(error)));
  opened.set(kind, all);
  return all;
}

async function open(name: Name, width = 1280, colorScheme: "light" | "dark" = "light"): Promise<Opened> {
  const kind = width < 500 ? "touch" : "mouse";
  const all = opened.get(kind) ?? (await newPage(kind));
  const { page } = all;
  await page.goto("about:blank");
  if (kind === "mouse") await page.mouse.move(0, 0);
  await look(page, width, colorScheme);
  const [asked, wrong]: [string[], string[]] = [[], []];
  Object.assign(all, { asked, wrong });
  await page.goto(`file://${join(root, name, "report.html")}`);
  return { page, asked, wrong };
}

async function look(page: Page, width: number, colorScheme: "light" | "dark"): Promise<void> {
  await page.setViewportSize({ width, height: 900 });
  await page.emulateMedia({ media: "screen", colorScheme });
}

/** Points at the label of an arrow, which is drawn anew while it is pointed at. */
async function pointAt(page: Page, index: number): Promise<void> {
  await page.locator(".ladder").evaluate((element) => element.scrollIntoView({ block: "center" }));
  const box = (await page.locator(`.rung[data-index="${index}"] .label`).boundingBox())!;
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
}

async function expectWhole(page: Page, width: number, scheme: "light" | "dark"): Promise<void> {
  const seen = await page.evaluate(async () => {
    // What follows a change of the window has been done by then.
    for (let n = 0; n < 2; n++) await new Promise(requestAnimationFrame);
    return {
      width: innerWidth,
      overflow: document.documentElement.scrollWidth - innerWidth,
      background: getComputedStyle(document.body).backgroundColor,
      // Text that sticks out of the window, other than in boxes that scroll by themselves.
      out: [...document.querySelectorAll("h1, p, dd, li, th, td, figcaption")].filter((element) => {
        const { left, right } = element.getBoundingClientRect();
        return !element.closest(".scroll, pre") && (right > innerWidth + 1 || left < -1);
      }).length,
    };
  });
  expect(seen).toEqual({
    width,
    overflow: 0,
    background: scheme === "light" ? "rgb(255, 255, 255)" : "rgb(20, 23, 27)",
    out: 0,
  });
}

describe.skipIf(executable === undefined)("a report", () => {
  for (const name of Object.keys(RUNS) as (keyof typeof RUNS)[]) {
    // What comes first it is opened at; to the others the window changes.
    for (const looks of [
      [
        [1280, "light"],
        [768, "light"],
      ],
      [
        [320, "dark"],
        [390, "dark"],
        [390, "light"],
      ],
    ] as const) {
      const said = looks.map(([width, scheme]) => `${width} px ${scheme}`).join(", ");
      test(`of ${name}, ${said}: is whole, asks for nothing, and does not scroll sideways`, async () => {
        const [first] = looks;
        const { page, asked, wrong } = await open(name, first[0], first[1]);
        for (const [width, scheme] of looks) {
          await look(page, width, scheme);
          await expectWhole(page, width, scheme);
          const shots = process.env["BACKTALK_SHOTS"];
          if (shots !== undefined)
            await page.screenshot({ path: join(shots, `lab-${name}-${scheme}-${width}.png`), fullPage: true });
        }
        expect(asked).toEqual([`file://${join(root, name, "report.html")}`]);
        expect(wrong).toEqual([]);
      }, 60_000);
    }
  }

  test("its policy lets nothing else run, load or send", async () => {
    const { page } = await open("plain");
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
    const { page, wrong } = await open("plain");
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
    const { page } = await open("plain");
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
    await page.locator('[data-do="in"]').evaluate((button: HTMLElement) => {
      for (let n = 0; n < 30; n++) button.click();
    });
    expect(await height()).toBeLessThan(8_500_000);
    expect(await page.evaluate(() => document.querySelectorAll(".ladder .tick").length)).toBeLessThan(60);
  }, 60_000);

  test("thousands of packets are drawn only where they are looked at", async () => {
    const { page } = await open("large");
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
    const { page, wrong } = await open("long", 390);
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
    const { page } = await open("long");
    const seen = await page.evaluate(() => ({
      labels: [...document.querySelectorAll(".plot svg")].flatMap((svg) =>
        svg
          .getAttribute("aria-labelledby")!
          .split(" ")
          .map((id) => document.getElementById(id)!.textContent!.length),
      ),
      rows: [...document.querySelectorAll(".plot .numbers table")].map(
        (table) => table.querySelectorAll("tbody tr").length,
      ),
    }));
    // A wide and a narrow one of each, by title and description.
    expect(seen.labels).toHaveLength(4 * 2 * 2);
    for (const length of seen.labels) expect(length).toBeGreaterThan(5);
    expect(seen.rows).toHaveLength(4);
    for (const rows of seen.rows) expect(rows).toBeGreaterThan(7);
    expect(
      await page.evaluate(
        () =>
          new Set([...document.querySelectorAll("[id]")].map(({ id }) => id)).size ===
          document.querySelectorAll("[id]").length,
      ),
    ).toBe(true);
  });

  test("prints without what only a screen can do", async () => {
    const { page } = await open("plain", 1280, "dark");
    await page.emulateMedia({ media: "print" });
    expect(await page.locator(".ladder-box").isVisible()).toBe(false);
    expect(await page.locator(".findings").isVisible()).toBe(true);
    expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe("rgb(255, 255, 255)");
  });

  test("JUnit is well-formed XML", async () => {
    const { page } = await open("nothing");
    const xml = Object.values(RUNS).map((run) => junitOf(documentOf(run)));
    const roots = await page.evaluate(
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
      const { page, wrong, asked } = await open("real");
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
