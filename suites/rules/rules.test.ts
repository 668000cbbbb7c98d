/** The rules of the code base that a compiler does not know. */
import { describe, expect, test } from "bun:test";
import { LIMITS } from "../../src/contract/index.ts";
import { CODES } from "../../src/log/index.ts";
import { filesOf, isTest, reachable, read, sources, withoutComments } from "./sources.ts";

const all = new Map(
  sources("{src,cli,lab,suites,examples,scripts,bench}/**/*.{ts,mjs}").map((source) => [source.path, source]),
);
const product = [...all.values()].filter(({ path }) => path.startsWith("src/") && !isTest(path));

describe("imports", () => {
  /** Where each part may import from, besides itself. The first that fits the path holds. */
  const directions: readonly (readonly [part: RegExp, allowed: RegExp])[] = [
    [/^src\/(log|wire)\//, /^$/],
    [/^src\/contract\//, /^src\/log\//],
    [/^src\/core\//, /^src\/(contract|log)\//],
    [/^src\/net\//, /^src\/(contract|log|wire)\//],
    [/^src\/describe\//, /^src\/(contract|log|net)\//],
    // backtalk.v1 over any pipe of messages, for the transports that carry it.
    [/^src\/frames\//, /^src\/(contract|log|wire|net)\//],
    [/^src\/transports\/(\w+)\//, /^src\/(contract|log|wire|net|describe|frames)\//],
    // Facades and outgoing ways: users of the peer, as transports are.
    [/^src\/(uploads|durable|webhooks)\//, /^src\/(contract|log|wire|net)\//],
    // What all stores share lies beside their folders.
    [/^src\/stores\/(\w+)\//, /^src\/((contract|log|wire|net)\/|stores\/\w+\.ts$)/],
    [/^src\/stores\//, /^src\/(contract|log|wire|net)\//],
    [/^src\/client\//, /^src\/((contract|log|wire)\/|(transports\/\w+|frames)\/client[\w-]*\.ts$)/],
    [/^src\/index\.ts$/, /^src\/(contract|log)\//],
    [/^src\/part\.ts$/, /^src\/(core|contract|log|net)\//],
    [
      /^src\/(server|start|create)\.ts$/,
      /^src\/((core|contract|describe|log|stores|net|transports|uploads|durable|webhooks)\/|(start|create|part)\.ts$)/,
    ],
  ];

  test("point one way", () => {
    const wrong: string[] = [];
    for (const { path, imports } of product) {
      const rule = directions.find(([part]) => part.test(path));
      if (!rule) {
        wrong.push(`${path}: belongs to no part`);
        continue;
      }
      const own = rule[0].exec(path)![0];
      for (const { to } of imports) {
        if (!/^(src|cli|suites|examples|scripts|bench|lab)\//.test(to)) continue;
        if (!to.startsWith(own) && !rule[1].test(to)) wrong.push(`${path} imports ${to}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("of files that are there", () => {
    const wrong: string[] = [];
    for (const { path, imports } of all.values()) {
      for (const { to } of imports) {
        if (/^(src|cli|lab|suites|scripts)\/.*\.ts$/.test(to) && !all.has(to)) wrong.push(`${path} imports ${to}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("never join the server and the client of a transport", () => {
    for (const name of filesOf("src/transports/*/server.ts").map((path) => path.split("/")[2]!)) {
      const [server, client] = [`src/transports/${name}/server.ts`, `src/transports/${name}/client.ts`];
      if (!all.has(client)) continue;
      expect([name, reachable([server], all).has(client), reachable([client], all).has(server)]).toEqual([
        name,
        false,
        false,
      ]);
    }
  });

  test("of what runs in browsers need nothing of Bun, Node or a package", () => {
    const wrong: string[] = [];
    for (const path of reachable(["src/client/index.ts", "src/uploads/client.ts"], all, false)) {
      const source = all.get(path);
      if (!source) wrong.push(`${path} is imported`);
      else if (/\b(Bun|process|Buffer|require)\b\s*[.(]|"(node|bun):/.test(withoutComments(source.text)))
        wrong.push(path);
    }
    expect(wrong).toEqual([]);
  });
});

describe("files", () => {
  test("are reachable from an entry point, or are tests", () => {
    const entries = [
      ...filesOf(
        "src/index.ts",
        "src/client/index.ts",
        "src/server.ts",
        "src/uploads/client.ts",
        "cli/{main.ts,bin.mjs}",
      ),
      // Found by their folder: commands, examples, scripts.
      ...filesOf("{examples,scripts,bench}/**/*.{ts,mjs}", "cli/commands/*.ts"),
    ];
    const tests = [...all.keys()].filter((path) => path.endsWith(".test.ts"));
    const used = reachable(entries, all);
    const tested = reachable(tests, all);
    // The transport in memory is reached by a user's program, through the package.
    const own = new Set(filesOf("src/transports/memory/*.ts"));
    const dead = [...all.keys()].filter((path) => {
      if (!/^(src|lab)\//.test(path)) return false;
      return !(isTest(path) ? tested : used).has(path) && !path.endsWith(".test.ts") && !own.has(path);
    });
    expect(dead).toEqual([]);
  });

  test("keep no state of their module", () => {
    // The program of a thread is a program: its module is its own.
    const threads = new Set(["src/stores/sqlite/writer.ts"]);
    const wrong = product.filter(({ path, text }) => /^(export )?let /m.test(text) && !threads.has(path));
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  test("of a transport and a store have the same names, and run the suite", () => {
    for (const name of new Set(filesOf("src/transports/*/*.ts").map((path) => path.split("/")[2]!))) {
      expect([name, read(`src/transports/${name}/transport.test.ts`).includes("runTransportSuite(")]).toEqual([
        name,
        true,
      ]);
      expect([name, all.has(`src/transports/${name}/client.ts`)]).toEqual([name, true]);
    }
    for (const name of new Set(filesOf("src/stores/*/store.ts").map((path) => path.split("/")[2]!))) {
      expect([name, read(`src/stores/${name}/store.test.ts`).includes("runStoreSuite(")]).toEqual([name, true]);
    }
  });

  test("say nothing of the machines that they were written on", () => {
    // In two parts each, so that this file does not name them.
    const names = [
      ["/work", "/main"],
      ["/work", "/shared"],
      ["/root", "/."],
      ["/tmp", "/bash"],
      ["cla", "ude"],
      ["anthro", "pic"],
    ];
    const wrong: string[] = [];
    for (const path of filesOf(
      "{src,cli,lab,suites,examples,scripts,bench}/**/*.{ts,mjs,md,json}",
      "*.{md,json}",
      "backtalk",
    )) {
      if (path === "package-lock.json") continue;
      const text = read(path).toLowerCase();
      for (const parts of names) if (text.includes(parts.join(""))) wrong.push(`${path}: ${parts.join("")}`);
    }
    expect(wrong).toEqual([]);
  });
});

describe("tables", () => {
  test("each limit is kept by the code, and has a test", () => {
    const code = product
      .filter(({ path }) => path !== "src/contract/limits.ts")
      .map(({ text }) => withoutComments(text));
    const tests = [...all.values()].filter(({ path }) => isTest(path) || path.startsWith("suites/"));
    const used = (name: string, texts: readonly string[]) =>
      texts.some((text) => new RegExp(`\\b${name}\\b`).test(text));
    const names = Object.keys(LIMITS);
    const wrong = names.flatMap((name) => [
      ...(used(name, code) ? [] : [`${name} is not used`]),
      ...(used(
        name,
        tests.map(({ text }) => text),
      )
        ? []
        : [`${name} has no test`]),
    ]);
    expect(wrong).toEqual([]);
  });

  test("each code of a fault has its status in HTTP, in the code and in the protocol", () => {
    const table = read("src/transports/http/status.ts");
    const protocol = read("PROTOCOL.md");
    for (const code of CODES) {
      const status = Number(new RegExp(`\\b${code}: (\\d{3})`).exec(table)?.[1]);
      expect([code, status]).toEqual([code, expect.any(Number)]);
      expect([code, status >= 400 && status < 600]).toEqual([code, true]);
      const line = protocol.split("\n").find((each) => each.startsWith("|") && each.includes(`\`${code}\``));
      expect([code, line?.split("|")[2]]).toEqual([code, expect.stringContaining(String(status))]);
    }
  });

  test("the protocol has each limit with its default, and no other", () => {
    const section = /^## 12\. Limits\n.*/ms.exec(read("PROTOCOL.md"))![0];
    const told = [...section.matchAll(/^\| `(\w+)` \| .+ \| ([^|]+) \| .+ \|$/gm)].map(([, name, value]) => {
      const [, number, unit] = /^([\d,]+)(?: (\w+))?$/.exec(value!) ?? [];
      return [name!, value === "none" ? 0 : Number(number?.replaceAll(",", "")) * (UNITS[unit ?? ""] ?? Number.NaN)];
    });
    expect(Object.fromEntries(told)).toEqual({ ...LIMITS });
    expect(told).toHaveLength(Object.keys(LIMITS).length);
  });

  test("each option of a limit is told of with its unit", () => {
    const text = read("src/contract/limits.ts");
    for (const name of Object.keys(LIMITS)) {
      expect([name, new RegExp(`\\*/\\n\\s+readonly ${name}: number;|readonly ${name}: number;`).test(text)]).toEqual([
        name,
        true,
      ]);
    }
  });
});

/** In bytes and milliseconds. */
const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  s: 1000,
  h: 3_600_000,
};
