import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../../src/log/index.ts";
import { readArgs, type Spec } from "../args.ts";
import { serverUrl, viaOf } from "../target.ts";
import { Place, type Server, STUDIO, serveIn } from "../testing.ts";
import { openAt, portOf } from "./ports.ts";

const place = new Place();
let server: Server;
const more = ["--tcp-port", "0", "--tcp-tls-port", "0", "--no-udp", "--store", "memory:", "--unix", "s.sock"];
beforeAll(async () => {
  server = await serveIn(place, STUDIO, more);
}, 60_000);
afterAll(async () => {
  server.child.kill();
  await server.child.exited;
  place.remove();
});

const address = (scheme: string) => server.addresses.find(({ url }) => url.startsWith(`${scheme}:`))!.url;
const run = (...args: string[]) => place.run(args);

describe("serve", () => {
  test("says where it listens; the Unix socket is for its user alone", () => {
    const own = server.addresses.filter(({ via }) => via === "tcp" || via === "unix");
    expect(own.map(({ via, url }) => `${via} ${url.replace(/\d+$/, "N")}`)).toEqual([
      "tcp tcp://127.0.0.1:N",
      "tcp tls://127.0.0.1:N",
      expect.stringMatching(/^unix unix:\/.*\/s\.sock$/),
    ]);
    expect(statSync(join(place.directory, "s.sock")).mode & 0o777).toBe(0o600);
  });

  test("tells HTTP where HTTP is", async () => {
    const response = await fetch(address("tcp").replace("tcp:", "http:"));
    expect([response.status, await response.text()]).toEqual([400, expect.stringContaining(server.http)]);
  });

  const base = ["serve", STUDIO, "--store", "memory:", "--no-udp", "--json"];

  test("a port that is asked for and taken is an error, of the socket too", async () => {
    const port = new URL(address("tcp").replace("tcp:", "http:")).port;
    const taken = await run(...base, "--port", "0", "--no-tls", "--tcp-port", port);
    expect([taken.code > 1, taken.out]).toEqual([true, ""]);
    expect(taken.err).toContain(`port ${port} of 127.0.0.1 is in use`);
    expect(taken.err).toContain("--tcp-port");
    const socket = await run(...base, "--port", "0", "--no-tls", "--no-tcp", "--unix", "s.sock");
    expect([socket.code > 1, socket.err]).toEqual([true, expect.stringContaining("a server listens at")]);
    expect(existsSync(join(place.directory, "s.sock"))).toBe(true);
  });

  test.each([
    [["--no-tcp", "--tcp-port", "1"], /--no-tcp and --tcp-port cannot be used together/],
    [["--no-tls", "--tcp-tls-port", "1"], /--no-tls and --tcp-tls-port/],
    [["--tcp-port", "70000"], /from 0 to 65535/],
    [["--no-tcp", "--unix", `/tmp/${"x".repeat(120)}`], /at most 10\d bytes/],
  ])("%j is refused", async (options, says) => {
    const { code, err } = await run(...base, "--port", "0", ...options);
    expect(code).toBeGreaterThan(1);
    expect(err).toMatch(says);
  });

  test("takes the socket away when it ends", async () => {
    const other = new Place();
    try {
      const { child, addresses } = await serveIn(other, STUDIO, ["--no-tcp", "--no-udp", "--unix", "x.sock"]);
      expect(addresses.filter(({ via }) => via === "tcp" || via === "unix")).toHaveLength(1);
      const path = join(other.directory, "x.sock");
      expect(existsSync(path)).toBe(true);
      child.kill("SIGTERM");
      expect(await child.exited).toBe(0);
      expect(existsSync(path)).toBe(false);
    } finally {
      other.remove();
    }
  }, 60_000);
});

describe("call", () => {
  test("over each, by its address; the development certificate is trusted", async () => {
    for (const url of [address("tcp"), address("tls").replace("127.0.0.1", "localhost"), "unix:./s.sock"]) {
      const { json, err } = await run("call", url, "studio.countdown", '{"from":2,"intervalMs":0}');
      expect([url, json, err]).toEqual([url, [{ n: 2 }, { n: 1 }, { n: 0 }], ""]);
    }
  }, 60_000);

  test("a handle is taken from there by attach, calls and cancel", async () => {
    const started = await run("call", address("tcp"), "studio.countdown", '{"from":1000,"intervalMs":100}', "--async");
    const handle = started.out.trim();
    expect(handle).toMatch(/^tcp:\/\/127\.0\.0\.1:\d+\/calls\/\w+$/);
    const running = await run("calls", "unix:./s.sock", "--state", "running");
    expect(running.json).toContainEqual(expect.objectContaining({ id: handle.split("/").at(-1), state: "running" }));
    expect((await run("cancel", handle)).json).toEqual([expect.objectContaining({ state: "cancelled" })]);
  }, 60_000);

  test("--via names them, and says what address they need", async () => {
    const args = ["call", server.http, "studio.isPrime", '{"n":7}', "--via"];
    expect(await run(...args, "tcp")).toMatchObject({ code: 2, err: expect.stringContaining("tcp://localhost:4460") });
    const attach = await run("attach", `${server.http}/calls/c1`, "--via", "tcp", "--after", "now");
    expect([attach.code, attach.err]).toEqual([
      2,
      expect.stringContaining("tcp://localhost:4460/calls/c1 --after now"),
    ]);
    expect(await run(...args, "unix")).toMatchObject({ code: 2, err: expect.stringContaining("unix:PATH") });
    const bad = await run("call", "tcp://nowhere:x", "studio.isPrime", '{"n":7}');
    expect(bad).toMatchObject({ code: 2, err: expect.stringContaining("tcp://host:port") });
  }, 60_000);
});

describe("addresses and ports", () => {
  test("a scheme is its transport", () => {
    for (const [url, via] of [
      ["tcp://h:1", "tcp"],
      ["tls://h:1", "tcp"],
      ["unix:/x", "unix"],
    ] as const) {
      expect([serverUrl(url), viaOf(url)]).toEqual([url, via]);
    }
    expect(viaOf("http://h:1")).toBeUndefined();
  });

  test("one that gives way says which was taken, what is instead, and what makes that last", async () => {
    const taken = 4560;
    const notes: string[] = [];
    const open = (port: number) => {
      if (port === taken) throw new Fault("unavailable", "taken", { detail: { port } });
      return { url: "tcp://127.0.0.1:33779" };
    };
    const screen = { note: (line: string) => void notes.push(line) };
    await openAt("tcp-port", { port: taken, isAsked: false }, screen, open);
    expect(notes).toEqual([
      `port ${taken} is in use: 33779 is taken instead, until the next start (--tcp-port chooses one)`,
    ]);
    await expect(openAt("tcp-port", { port: taken, isAsked: true }, screen, open)).rejects.toThrow("taken");
  });

  test("a default port gives way only when another was asked for", () => {
    const number = { max: 65_535 };
    const names = ["port", "tls-port", "a-port", "b-port", "z"];
    const options = Object.fromEntries(names.map((name) => [name, { value: "N", what: "", number }]));
    const spec = { name: "x", summary: "", positionals: [], options, examples: [] } satisfies Spec;
    const of = (...argv: string[]) => portOf(readArgs(spec, argv), "a-port", 4460, ["a-port", "b-port"]);
    expect(of()).toEqual({ port: 4460, isAsked: true });
    expect(of("--a-port", "1")).toEqual({ port: 1, isAsked: true });
    for (const other of ["port", "tls-port", "b-port"]) {
      expect(of(`--${other}`, "0")).toEqual({ port: 4460, isAsked: false });
    }
    // As far from its default as --port is from 4400, unless that is a port of others or none.
    for (const [port, a] of [
      ["4500", 4560],
      ["1024", 1084],
      ["65475", 65_535],
      ["65476", 4460],
      ["443", 4460],
    ] as const) {
      expect(of("--port", port)).toEqual({ port: a, isAsked: false });
    }
    expect(of("--port", "4500", "--a-port", "7")).toEqual({ port: 7, isAsked: true });
    expect(of("--tls-port", "4500")).toEqual({ port: 4460, isAsked: false });
    expect(of("--z", "1")).toEqual({ port: 4460, isAsked: true });
  });
});
