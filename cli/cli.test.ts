/** The command line as a process, against a server that is one too. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { PROPERTIES, type TransportProperties } from "../src/contract/transport.ts";
import { HTTP_VIAS, VIAS } from "./connect.ts";
import { type Ended, Place, ROOT, type Server, STUDIO, serveIn, takeLines } from "./testing.ts";

const place = new Place();
let server: Server;
const run = (...args: string[]): Promise<Ended> => place.run(args);
const LONG = 60_000;

beforeAll(async () => {
  server = await serveIn(place);
});

afterAll(async () => {
  server.child.kill("SIGKILL");
  await server.child.exited;
  place.remove();
});

/** What a service file imports here. */
const SOURCE = JSON.stringify(join(ROOT, "src/index.ts"));

describe("call", () => {
  const urlOf = (via: string) => (via === "http2" || via === "http3" ? server.https : server.http);

  // The others have addresses of their own, and tests beside their parts.
  test.each([...HTTP_VIAS])(
    "over %s: a result, and a stream as NDJSON",
    async (via) => {
      const prime = await run("call", urlOf(via), "studio.isPrime", '{"n":97}', "--via", via);
      expect([prime.code, prime.out, prime.err]).toEqual([0, '{"prime":true}\n', ""]);
      const count = await run("call", urlOf(via), "studio.countdown", '{"from":3,"intervalMs":0}', "--via", via);
      expect(count.json).toEqual([3, 2, 1, 0].map((n) => ({ n })));
    },
    LONG,
  );

  test("one request and one answer with --plain", async () => {
    const { out, err } = await run("call", server.http, "studio.isPrime", '{"n":4}', "--plain", "--trace");
    expect(out).toBe('{"prime":false}\n');
    expect(err.match(/> POST /g)).toHaveLength(1);
  });

  test("progress is a line of JSON in a pipe, the result comes last", async () => {
    const image = Buffer.from(await Bun.file(join(STUDIO, "../photo.jpg")).bytes()).toString("base64");
    const path = await place.file("develop.json", JSON.stringify({ image, widths: [32, 16] }));
    const { json, code } = await run("call", server.http, "studio.develop", `@${path}`);
    expect(code).toBe(0);
    expect(json).toHaveLength(3);
    expect(json[0]).toMatchObject({ progress: { done: 1, of: 2 } });
    expect(json[2]).toMatchObject({ photos: [{ width: 32 }, { width: 16 }] });
    const quiet = await run("call", server.http, "studio.develop", `@${path}`, "--quiet");
    expect(quiet.json).toHaveLength(1);
  });

  test("input and items from stdin", async () => {
    expect((await place.run(["call", server.http, "studio.isPrime", "-"], '{"n":2}')).json).toEqual([{ prime: true }]);
    for (const via of ["http1", "websocket"]) {
      const args = ["call", server.http, "studio.chat", "-", "--items", "--via", via];
      const { json } = await place.run(args, '{"text":"a"}\n{"text":"b"}\n');
      expect(json).toEqual([
        { text: "You said: a", n: 1 },
        { text: "You said: b", n: 2 },
      ]);
    }
  });

  test("--async prints the handle; attach, calls and cancel take it from there", async () => {
    const started = await run("call", server.http, "studio.countdown", '{"from":1000,"intervalMs":100}', "--async");
    const handle = started.out.trim();
    expect(handle).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/calls\/\w+$/);
    const id = handle.split("/").at(-1);
    const running = await run("calls", server.http, "--state", "running", "--method", "studio.countdown");
    expect(running.json).toContainEqual(expect.objectContaining({ id, state: "running" }));
    const brief = await run("calls", server.http, "--brief", "--state", "running");
    const keys = Object.keys(brief.json.find((call) => (call as { id: string }).id === id) as object);
    expect(keys.toSorted()).toEqual(["attempt", "cursor", "id", "method", "openedAt", "state"]);
    const cancelled = await run("cancel", handle);
    expect(cancelled.json).toEqual([{ id, state: "cancelled" }]);
    const attached = await run("attach", handle, "--via", "sse");
    expect(attached.code).toBe(11);
    expect(attached.err).toContain("cancelled");
  });

  test("--wait gives the handle when the result takes longer, and the call goes on", async () => {
    const { out, code } = await run(
      "call",
      server.http,
      "studio.tell",
      '{"prompt":"x","intervalMs":60000}',
      "--wait",
      "0.3",
    );
    expect(code).toBe(0);
    const handle = out.trim().split("\n").at(-1)!;
    expect(handle).toContain("/calls/");
    expect((await run("cancel", handle)).code).toBe(0);
  });

  test("the same key is the same call, also over another transport; another input is refused", async () => {
    const args = ["call", server.http, "studio.countdown", '{"from":1,"intervalMs":0}', "--key", "k1", "--events"];
    const [first, second] = [await run(...args), await run(...args, "--via", "websocket")];
    expect(second.json.slice(1)).toEqual(first.json.slice(1));
    const other = await run("call", server.http, "studio.countdown", '{"from":2,"intervalMs":0}', "--key", "k1");
    expect([other.code, other.out]).toEqual([13, ""]);
  });

  test("Ctrl-C detaches with 130 and the command that goes on, without a gap or a double", async () => {
    const child = place.start([
      "call",
      server.http,
      "studio.countdown",
      '{"from":20,"intervalMs":40}',
      "--via",
      "websocket",
    ]);
    const seen = await takeLines(child.stdout.getReader(), 3);
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
    const err = await new Response(child.stderr).text();
    const command = /^ {2}backtalk (attach \S+ --via websocket --after \S+)$/m.exec(err)?.[1];
    expect(command).toBeDefined();
    const rest = await run(...command!.split(" "));
    const numbers = rest.json.map((item) => (item as { n: number }).n);
    // What was printed and not read here is before the cursor: from there on nothing is missing.
    expect(numbers[0]).toBeLessThanOrEqual(20 - seen.length);
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, index) => numbers[0]! - index));
    expect(numbers.at(-1)).toBe(0);
  });

  test("the reader of the pipe goes: no stack trace", async () => {
    const child = place.start(["call", server.http, "studio.countdown", '{"from":100000,"intervalMs":0}']);
    const reader = child.stdout.getReader();
    await takeLines(reader, 1);
    await reader.cancel();
    expect(await child.exited).toBe(141);
    expect(await new Response(child.stderr).text()).toBe("");
  });
});

describe("topics", () => {
  test("publish once, subscribe from a place", async () => {
    const event = '{"user":"ada","at":1}';
    const first = await run("publish", server.http, "logins", event, "--key", "login-1");
    const again = await run("publish", server.http, "logins", event, "--key", "login-1", "--via", "websocket");
    expect([first.json[0], again.json[0]]).toMatchObject([{ duplicate: false }, { duplicate: true }]);
    await run("publish", server.http, "logins", '{"user":"bob","at":2}');
    for (const via of ["http1", "sse", "long-poll", "poll", "websocket"]) {
      const all = await run("subscribe", server.http, "logins", "--after", "start", "--count", "2", "--via", via);
      expect(all.json).toEqual([
        { user: "ada", at: 1 },
        { user: "bob", at: 2 },
      ]);
    }
    const { cursor } = first.json[0] as { cursor: string };
    const rest = await run("subscribe", server.http, "logins", "--after", cursor, "--count", "1", "--events");
    expect(rest.json).toMatchObject([{ verdict: "recovered" }, { kind: "item", data: { user: "bob" } }]);
  });
});

describe("what is wrong", () => {
  const cases: [args: string, code: number, err: RegExp][] = [
    ["", 0, /^$/],
    ["cal", 2, /there is no command cal\ndid you mean call\?/],
    ["--verison", 2, /there is no option --verison/],
    ["call URL studio.isPrime --vai sse", 2, /did you mean --via\?/],
    ["call URL studio.isPrime {", 2, /not JSON/],
    ["call URL studio.isPrime @missing.json", 2, /there is no file missing.json/],
    ["call URL studio.isPrime --via http3", 2, /http3 goes over TLS/],
    ["call URL studio.isPrime --plain --async", 2, /cannot be used together/],
    ["call URL studio.isPrime", 13, /n: /],
    ["call URL studio.isPrime", 13, /\nits schema is that of POST \/studio\/isPrime in \/openapi\.json\n/],
    ["call URL isPrime", 2, /not the name of a method: "isPrime"\nwrite it with its service: SERVICE\.isPrime/],
    ['call URL studio.countdown {"from":3} --items', 2, /--items needs a JSON array, and "\{.*\}" is one object\n/],
    ["call URL studio.isPrim", 15, /did you mean studio\/isPrime\?/],
    ["attach URL/calls/none", 15, /not_found/],
    ["attach URL/calls/none --after later", 2, /is not a place/],
    ['call URL studio.countdown {"from":9} --timeout 0.05', 14, /deadline_exceeded/],
    ["publish URL logins {}", 13, /user.*\n.*\nits schema is that of POST \/topics\/logins in/s],
    ["subscribe URL login", 15, /did you mean logins\?/],
    ["transports htpp1", 2, /did you mean http1\?/],
    ["serve missing.ts", 2, /there is no file missing.ts/],
    ["serve .", 2, /is a directory/],
    ["serve x.ts --port 99999", 2, /from 0 to 65535/],
    ["serve x.ts --limit bodybytes=1", 2, /did you mean bodyBytes\?/],
    ["serve x.ts --cert c.pem", 2, /given together/],
    ["serve x.ts --store redis:x", 2, /memory: or sqlite:PATH/],
    ["serve x.ts --origin example.com", 2, /is not an origin/],
  ];
  test.each(cases)(
    "%s",
    async (args, code, err) => {
      await place.file("x.ts", `export { default } from ${JSON.stringify(STUDIO)};`);
      const words = args === "" ? [] : args.split(" ").map((word) => word.replace("URL", server.http));
      const ended = await run(...words);
      expect(ended.err).toMatch(err);
      expect(ended.code).toBe(code);
    },
    LONG,
  );

  test(
    "a server that is not there: 24, after a few tries",
    async () => {
      const { code, err } = await run("call", "localhost:1", "studio.isPrime", "--plain");
      expect(err).toContain("unavailable");
      expect(code).toBe(24);
      // What to look at is told with the first try that failed, and with the last.
      const lines = (await run("call", "localhost:1", "studio.isPrime")).err.trim().split("\n");
      expect(lines[0]).toMatch(/; trying again in /);
      expect([lines[1], lines.filter((line) => line === lines[1]).length]).toEqual([
        expect.stringContaining("is the server running?"),
        2,
      ]);
    },
    LONG,
  );

  test(
    "commands in what is said are as they were typed",
    async () => {
      for (const [args, hint] of [
        [["cal"], "did you mean call?"],
        [["xyzzy"], "see ./backtalk help"],
        [["call"], "usage: ./backtalk call URL METHOD [INPUT] [options]"],
        [["call", "ftp://x", "a.b"], "as `./backtalk serve` has printed it"],
      ] as const) {
        expect((await place.run(args, "", { BACKTALK_COMMAND: "./backtalk" })).err).toContain(hint);
      }
    },
    LONG,
  );

  test.each([
    ["no default export", "export const a = 1;", /no default export/],
    ["not a service", "export default { name: 1 };", /is not a service/],
    ["an empty list", "export default [];", /an empty array/],
    ["a syntax error", "export default {", /cannot be loaded/],
    [
      "a package that is missing",
      'import "no-such-package-here"; export default 1;',
      /npm install no-such-package-here/,
    ],
    ["a throwing file", 'throw new Error("boom"); export default 1;', /boom\n {2}.*\.ts:1:\d+\n/],
    ["an error in a line", "const n = 1;\nexport default {{ n };", /\n {2}.*\.ts:2:\d+: export default \{\{ n \};\n/],
    ["an empty service", `import { service } from ${SOURCE};\nexport default service("a", {});`, /a has no members/],
    [
      "a member that is none",
      `import { service } from ${SOURCE};\nexport default service("a", { b: () => 1 });`,
      /a\.b is not a member of a service\n {2}.*\.ts:2:\d+\nmake it with unary\(\)/,
    ],
    [
      "a method without a handler",
      `import { service, unary } from ${SOURCE};\nexport default service("a", { b: unary({}) });`,
      /without a handler/,
    ],
    [
      "a stream without its schema",
      `import { serverStream, service } from ${SOURCE};\nimport { z } from "zod";
       const a = z.object({});\nexport default service("a", { b: serverStream({ input: a, output: a }, () => []) });`,
      /serverStream needs "item" \(there is "output"\)\n {2}.*\.ts:4:\d+\nserverStream takes input, item, /,
    ],
  ])("serve a file with %s", async (_, text, err) => {
    const path = await place.file(`bad-${crypto.randomUUID()}.ts`, text);
    const ended = await run("serve", path, "--store", "memory:");
    expect(ended.err).toMatch(err);
    expect(ended.code).toBe(2);
  });

  test("a port that is in use, and a store that is", async () => {
    const busy = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
    const taken = `${busy.port}`;
    const port = await run("serve", STUDIO, "--store", "memory:", "--port", taken, "--no-tls");
    await busy.stop(true);
    expect(port.err).toContain(`port ${taken} of 127.0.0.1 is in use`);
    expect(port.code).toBe(24);
    const store = await run("serve", STUDIO, "--port", "0", "--no-tls");
    // What is kept in the project's folder stays out of its version control.
    expect(await Bun.file(join(place.directory, ".backtalk/.gitignore")).text()).toBe("*\n");
    expect(store.err).toContain("another process serves this store");
    expect(store.code).toBe(19);
  });
});

describe("serve", () => {
  test(
    "credentials, limits and draining",
    async () => {
      const keys = await place.file("keys.json", '{"secret-1":"ada"}');
      const more = ["--store", "memory:", "--api-keys", keys, "--limit", "bodyBytes=1k", "--no-tls"];
      const child = place.start(["serve", STUDIO, "--port", "0", "--json", "--drain", "5", ...more]);
      const reader = child.stdout.getReader();
      const [line] = await takeLines(reader, 1);
      const url = (JSON.parse(line!) as { listeners: { url: string }[] }).listeners[0]!.url;
      expect((await run("call", url, "studio.isPrime", '{"n":3}')).code).toBe(26);
      const args = ["call", url, "studio.isPrime", '{"n":3}'];
      expect((await run(...args, "--api-key", "secret-1")).json).toEqual([{ prime: true }]);
      expect((await place.run([...args, "--via", "websocket"], "", { BACKTALK_TOKEN: "secret-1" })).json).toEqual([
        { prime: true },
      ]);
      const large = await run(
        "call",
        url,
        "studio.tell",
        JSON.stringify({ prompt: "x".repeat(2_000) }),
        "--api-key",
        "secret-1",
      );
      expect(large.err).toContain("bodyBytes");
      expect(large.code).toBe(18);
      // A call that runs may finish while the server drains.
      const last = place.start([
        ...args.slice(0, 2),
        "studio.countdown",
        '{"from":5,"intervalMs":100}',
        "--api-key",
        "secret-1",
      ]);
      const lastReader = last.stdout.getReader();
      await takeLines(lastReader, 1);
      child.kill("SIGTERM");
      expect(await child.exited).toBe(0);
      expect(await new Response(child.stderr).text()).not.toContain("secret-1");
      last.kill("SIGKILL");
      await last.exited;
    },
    LONG,
  );

  test(
    "a call outlives the server: it goes on after a restart",
    async () => {
      const other = new Place();
      const first = await serveIn(other);
      const { out } = await other.run([
        "call",
        first.http,
        "studio.countdown",
        '{"from":30,"intervalMs":50}',
        "--async",
      ]);
      first.child.kill("SIGKILL");
      await first.child.exited;
      const second = await serveIn(other);
      const id = out.trim().split("/").at(-1);
      const { json } = await other.run(["attach", `${second.http}/calls/${id}`]);
      expect(json).toEqual(Array.from({ length: 31 }, (_, index) => ({ n: 30 - index })));
      second.child.kill("SIGTERM");
      expect(await second.child.exited).toBe(0);
      other.remove();
    },
    LONG,
  );
});

describe("transports", () => {
  test("as JSON: every transport of --via, with the nine properties", async () => {
    const { out } = await run("transports", "--json");
    const transports = JSON.parse(out) as TransportProperties[];
    expect(transports.map(({ name }) => name)).toEqual([...VIAS, "memory"]);
    for (const transport of transports) {
      for (const property of PROPERTIES) expect(transport[property]).toMatch(/\w{3}/);
    }
  });

  test("in 80 columns", async () => {
    const { out } = await run("transports");
    expect(Math.max(...out.split("\n").map((line) => Bun.stringWidth(line)))).toBeLessThanOrEqual(80);
  });
});

test(
  "help for every command fits in 80 columns",
  async () => {
    const general = await run("help");
    const commands = [...general.out.matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name]) => name!);
    expect(commands).toEqual(
      expect.arrayContaining(["serve", "call", "attach", "cancel", "publish", "subscribe", "calls", "transports"]),
    );
    for (const name of commands.filter((each) => each !== "help" && each !== "version")) {
      const help = await run(name, "--help");
      expect(help.code).toBe(0);
      for (const line of help.out.split("\n")) expect([line, Bun.stringWidth(line) <= 80]).toEqual([line, true]);
    }
  },
  LONG,
);
