import { describe, expect, test } from "bun:test";
import { CODES, Fault } from "../src/log/index.ts";
import { DEFECT, exitCode, exitTable, explain, UsageError } from "./exit.ts";
import { logger } from "./log.ts";
import { progressLine } from "./progress.ts";
import { harmless, oneLine, Screen, type Sink, shellWord } from "./screen.ts";
import { clip, commandLines, labelled, type Style, table, widthOf, wrap } from "./table.ts";
import { tracer } from "./trace.ts";
import { bytesText, durationText, jsonLine, pathText, pretty } from "./values.ts";

const plain = (width: number): Style => ({ width, bold: (text) => text, dim: (text) => text });

describe("progress", () => {
  test("a bar as wide as there is room, and never wider", () => {
    for (let width = 1; width < 120; width++) {
      const line = progressLine({ step: "resize to 320", done: 1, of: 3 }, width);
      expect(widthOf(line)).toBeLessThanOrEqual(width);
    }
    expect(progressLine({ step: "resize", done: 1, of: 2 }, 30)).toBe("██████████░░░░░░░░░ 1/2 resize");
    expect(progressLine({ step: "resize", done: 1, of: 2 }, 12)).toBe("1/2 resize");
  });
  test("other names, other shapes", () => {
    expect(progressLine({ message: "up", loaded: 5, total: 5 }, 13)).toBe("██████ 5/5 up");
    expect(progressLine(0.5, 20)).toEndWith(" 50/100");
    expect(progressLine({ percent: 25.4 }, 20)).toEndWith(" 25/100");
    expect(progressLine({ rows: 7 }, 20)).toBe('{"rows":7}');
    expect(progressLine({ done: 9, of: 0 }, 20)).toEndWith(" 9/0");
    expect(progressLine({ done: 9, of: 3 }, 20)).toEndWith(" 9/3");
    expect(progressLine("warming up", 20)).toBe("warming up");
    expect(progressLine({ step: "\u001b[2J", done: 1, of: 2 }, 60)).not.toContain("\u001b");
  });
});

describe("tables", () => {
  const header = ["NAME", "WHAT"];
  const rows = [
    ["one", "a few words that are to be wrapped when the window is narrow"],
    ["two", "short"],
  ];
  test.each([200, 80, 50, 40, 30, 20])("fit in %i columns", (width) => {
    for (const line of table(header, rows, plain(width))) expect(widthOf(line)).toBeLessThanOrEqual(width);
  });
  test("cards where columns do not fit", () => {
    expect(table(["A", "B"], [["x".repeat(30), "y".repeat(30)]], plain(40))[0]).toStartWith("A ");
  });
  test("wide characters count as two", () => {
    expect(wrap("日本語日本語", 8)).toEqual(["日本語日", "本語"]);
    expect(clip("日本語", 4)).toBe("日…");
    expect(clip("abc", 3)).toBe("abc");
  });
  test("what is before the first word stays before each line", () => {
    expect(wrap("  n: a number that is too large", 30)).toEqual(["  n: a number that is too", "  large"]);
  });
  test("a long command is broken where it can be copied from, options with their values", () => {
    const command = `backtalk call localhost:4400 studio.countdown '{"from": 5, "intervalMs": 500}' --via websocket`;
    expect(commandLines("backtalk lab", 80)).toEqual(["  backtalk lab"]);
    for (const width of [60, 80]) {
      const lines = commandLines(command, width);
      for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(width);
      const shell = Bun.spawnSync(["sh", "-c", `printf '%s|' ${lines.join("\n")}`]).stdout.toString();
      const words = ["backtalk", "call", "localhost:4400", "studio.countdown", '{"from": 5, "intervalMs": 500}'];
      expect(shell).toBe(`${[...words, "--via", "websocket"].join("|")}|`);
      expect(lines.at(-1)).toContain("--via websocket");
    }
  });
  test("a word of megabytes takes as long as it is", () => {
    expect(wrap("/".repeat(2_000_000), 80)).toHaveLength(25_000);
  });
  test("a label above its text in a narrow window", () => {
    expect(labelled("data format", "JSON", plain(20))).toEqual(["data format", "  JSON"]);
  });
});

describe("values", () => {
  test("a line of JSON is complete, and harmless on a terminal", () => {
    const value = { text: "\u009b2J\u001b[2J\u007f", long: "x".repeat(10_000) };
    expect(JSON.parse(jsonLine(value))).toEqual(value);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none
    expect(jsonLine(value)).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
  });
  test("long texts are cut for people only", () => {
    expect(pretty({ image: "A".repeat(5_000) }, 80)).toContain("… (5,000 characters)");
    expect(pretty({ n: 1, ok: true }, 80)).toBe('{ "n": 1, "ok": true }');
    expect(pretty({ n: 1, ok: true }, 10).split("\n")).toHaveLength(4);
    expect(pretty(undefined, 80)).toBe("null");
  });
  test("a path below is said from here", () => {
    expect(pathText(`${process.cwd()}/.backtalk/certificate.pem`)).toBe(".backtalk/certificate.pem");
    expect(["/etc/hosts", process.cwd()].map(pathText)).toEqual(["/etc/hosts", process.cwd()]);
  });
  test("a line of the log has a tenth of a millisecond", () => {
    const lines: string[] = [];
    const { call } = logger("all", true, (line) => lines.push(line));
    call({ at: 0, method: "a/b", via: "http", code: "ok", ms: 774.3325599999953 });
    expect(JSON.parse(lines[0]!)).toMatchObject({ at: "1970-01-01T00:00:00.000Z", ms: 774.3 });
  });
  test("sizes and times", () => {
    expect([0, 999, 1_000, 12_345, 1_500_000].map(bytesText)).toEqual(["0 B", "999 B", "1.0 kB", "12 kB", "1.5 MB"]);
    expect([0.5, 12.34, 999, 1_500, 61_000, 7_200_000].map(durationText)).toEqual([
      "0.50 ms",
      "12.3 ms",
      "999 ms",
      "1.5 s",
      "1 min 1 s",
      "2 h 0 min",
    ]);
  });
});

describe("exit codes", () => {
  test("each code of a fault has its own", () => {
    const codes = CODES.map((code) => exitCode(new Fault(code, "")));
    expect(new Set(codes).size).toBe(CODES.length);
    expect(exitCode(new Fault("not_found", ""))).toBe(15);
    expect(exitTable().at(-1)![1]).toEndWith(", 26=unauthenticated");
  });
  test("what is said of a fault", () => {
    const fault = new Fault("invalid_argument", "not valid", {
      fields: [
        { path: "a.b", message: "too small" },
        { path: "", message: "odd" },
      ],
      hint: "look again",
    });
    const said = {
      code: 13,
      lines: ["invalid_argument: not valid", "  a.b: too small", "  (all of it): odd", "look again"],
    };
    expect(explain(fault)).toEqual(said);
    const cause = new Error("[not_found] there is no method a/b");
    const [first] = explain(new Fault("not_found", "there is no method a/b", { cause })).lines;
    expect(first).toBe("not_found: there is no method a/b");
    expect(explain(new UsageError("no", "yes"))).toEqual({ code: 2, lines: ["no", "yes"] });
    expect(explain(new Error("defect")).code).toBe(DEFECT);
  });
});

describe("screen", () => {
  test("a status line is drawn below what is printed, and wiped", () => {
    const err = sink(true, 40);
    const screen = new Screen({ out: sink(true, 40), err, env: { NO_COLOR: "1" } });
    screen.status((width) => `${width}`);
    screen.note("hello");
    screen.status(undefined);
    expect(err.text).toBe("\r39\r\u001b[2Khello\n\r39\r\u001b[2K");
  });
  test("nothing is drawn in a pipe", () => {
    const err = sink(false);
    new Screen({ out: sink(false), err, env: {} }).status(() => "50 %");
    expect(err.text).toBe("");
  });
  test("colours: on a terminal, unless NO_COLOR or a dumb one", () => {
    const bold = (isTTY: boolean, env: Record<string, string>) =>
      new Screen({ out: sink(isTTY), err: sink(isTTY), env }).style.bold("x") !== "x";
    expect([bold(true, {}), bold(false, {}), bold(true, { NO_COLOR: "1" }), bold(true, { TERM: "dumb" })]).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect([bold(true, { NO_COLOR: "" }), bold(false, { FORCE_COLOR: "1" })]).toEqual([true, true]);
  });
  test("text of others cannot command the terminal", () => {
    expect(harmless("a\u001b]0;title\u0007b\nc\td")).toBe("a\\u001b]0;title\\u0007b\nc\td");
    expect(harmless("a\u202eb\u2066c\u2028d")).toBe("a\\u202eb\\u2066c\\u2028d");
    expect(oneLine("a\r\n b\u001b")).toBe("a\\u000d b\\u001b");
    const [out, err] = [sink(true), sink(true)];
    const screen = new Screen({ out, err, env: {} });
    void screen.print("a\u001b[2J");
    screen.note("b\u009b2J");
    expect([out.text, err.text]).toEqual(["a\\u001b[2J\n", "b\\u009b2J\n"]);
  });
  test("a word that is to be given to a shell is one word there, whoever has chosen it", () => {
    expect(shellWord("http://[::1]:4400/calls/c1")).toBe("'http://[::1]:4400/calls/c1'");
    expect(shellWord("abcd1234-a1")).toBe("abcd1234-a1");
    for (const text of ["a b", "x;echo no", "$(echo no)", "it's `echo no`", "", "a\nb", "!!", "~", "*"]) {
      const { stdout } = Bun.spawnSync(["sh", "-c", `printf %s ${shellWord(text)}`]);
      expect(stdout.toString()).toBe(text.replace("\n", " "));
    }
  });
});

test("a log line of a defect cannot be written by who caused it", () => {
  const lines: string[] = [];
  const line = { at: 0, method: "s/m", via: "http", code: "internal", ms: 1 } as const;
  const error = new Error("no user x\n1970-01-01T00:00:00.000Z s/m ok 1.0 ms http by admin");
  logger("all", false, (text) => lines.push(...text.split("\n"))).call({ ...line, error });
  expect(lines.filter((text) => text.startsWith("1970"))).toEqual([lines[0]!]);
  expect(lines.join("\n")).toContain("\n    1970-01-01");
});

test("the trace says when, which way, how much and what", () => {
  const lines: string[] = [];
  let now = 0;
  const trace = tracer({ print: (line) => lines.push(line), now: () => now, startedAt: 1_000 });
  trace(">", "POST http://localhost/a/b");
  now = 12.5;
  trace("<", `{"text":"é"}\nnext\n`);
  trace("*", "closed");
  expect(lines[0]).toContain("since start");
  expect(lines.slice(1).map((line) => line.replace(/ +/g, " "))).toEqual([
    "00:00:01.000 +0.00 ms 25 B > POST http://localhost/a/b",
    '00:00:01.012 +12.50 ms 19 B < {"text":"é"}',
    "00:00:01.012 +12.50 ms < next",
    "00:00:01.012 +12.50 ms * closed",
  ]);
});

test("a pipe is as wide as COLUMNS says, a terminal as it is", () => {
  const width = (isTTY: boolean, COLUMNS?: string) =>
    new Screen({ out: sink(isTTY, 90), err: sink(isTTY), env: { COLUMNS } }).width;
  expect([width(false), width(false, "200"), width(false, "1"), width(true, "200")]).toEqual([80, 200, 20, 90]);
  expect(["", "0x20", "-5", "99999", "1e3"].map((each) => width(false, each))).toEqual(Array(5).fill(80));
});

function sink(isTTY: boolean, columns = 80): Sink & { text: string } {
  return {
    isTTY,
    columns,
    text: "",
    write(text, done) {
      this.text += text;
      done?.();
      return true;
    },
  };
}
