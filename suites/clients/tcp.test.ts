/** Clients of TCP that are not Bun's, against the real `backtalk serve`: Python from PROTOCOL.md §5 alone, and Node. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { Place, ROOT, type Server, serveIn, takeLines } from "../../cli/testing.ts";
import { tool } from "./setup.ts";

const python = tool("python3");
const CLIENT = join(ROOT, "examples/clients/tcp.py");

const node = tool("node");
const place = new Place();
const children: { kill(signal?: NodeJS.Signals): void; readonly exited: Promise<number> }[] = [];
let server: Server & { readonly tcp: string; readonly tls: string };

beforeAll(async () => {
  server = await serve("0", "--unix", "s.sock");
}, 60_000);
afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  await Promise.all(children.map(({ exited }) => exited));
  place.remove();
});

async function serve(tcpPort: string, ...more: string[]): Promise<typeof server> {
  const started = await serveIn(place, undefined, ["--tcp-port", tcpPort, "--tcp-tls-port", "0", "--no-udp", ...more]);
  children.push(started.child);
  const of = (scheme: string) => started.addresses.find(({ url }) => url.startsWith(scheme))?.url ?? "";
  return { ...started, tcp: of("tcp:"), tls: of("tls:") };
}

describe.skipIf(node === undefined)("Node", () => {
  test("the SDK over TCP, TLS and a Unix socket: calls, streams, uploads, topics, faults", async () => {
    const built = await Bun.build({
      entrypoints: [join(ROOT, "src/transports/tcp/client.ts"), join(ROOT, "src/client/index.ts")],
      outdir: place.directory,
      naming: "[dir]/[name].mjs",
      target: "node",
      format: "esm",
    });
    const file = (name: string) => JSON.stringify(built.outputs.find(({ path }) => path.endsWith(name))!.path);
    const urls = [server.tcp, server.tls.replace("127.0.0.1", "localhost"), `unix:${join(place.directory, "s.sock")}`];
    const script = `
      import { readFileSync } from "node:fs";
      const { tcpPeer } = await import(${file("client.mjs")});
      const { createClient, Fault } = await import(${file("index.mjs")});
      const tls = { ca: readFileSync(".backtalk/certificate.pem", "utf8") };
      async function* chunks() { yield { chunk: btoa("a") }; yield { chunk: btoa("b") }; }
      for (const url of ${JSON.stringify(urls)}) {
        const client = createClient(url, { transport: tcpPeer, tls });
        const result = await client.studio.isPrime({ n: 17 });
        const items = [];
        for await (const { n } of client.studio.countdown({ from: 300, intervalMs: 0 })) items.push(n);
        const { bytes } = await client.studio.digest(chunks());
        const { duplicate } = await client.topics.logins.publish({ user: "node", at: 3 });
        const fault = await client.studio.isPrime({}).catch((thrown) => thrown instanceof Fault && thrown.code);
        client.close();
        console.log(JSON.stringify({ result, items: items.length, bytes, duplicate, fault }));
      }
    `;
    const child = Bun.spawn([node!, "--input-type=module", "-e", script], {
      cwd: place.directory,
      stdout: "pipe",
      stderr: "inherit",
    });
    const lines = (await new Response(child.stdout).text()).trim().split("\n");
    // It ends by itself: a client that was closed holds nothing open.
    expect(await child.exited).toBe(0);
    const expected = { result: { prime: true }, items: 301, bytes: 2, duplicate: false, fault: "invalid_argument" };
    expect(lines.map((line) => JSON.parse(line))).toEqual([expected, expected, expected]);
  }, 60_000);
});

describe.skipIf(python === undefined)("tcp.py", () => {
  function start(args: readonly string[], env: Record<string, string> = {}) {
    const command = [python!, CLIENT, ...args];
    const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe", env: { ...process.env, ...env } });
    children.push(child);
    return child;
  }

  async function run(args: readonly string[], env?: Record<string, string>) {
    const child = start(args, env);
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { out, err, code, lines: out.split("\n").filter((line) => line.startsWith('{"kind"')) };
  }

  interface Line {
    readonly kind: string;
    readonly data: { readonly n?: number };
    readonly cursor: string;
    readonly call: string;
  }
  const parsed = (lines: readonly string[]) => lines.map((line) => JSON.parse(line) as Line);
  const numbers = (lines: readonly Line[]) => lines.filter(({ kind }) => kind === "item").map(({ data }) => data.n);
  const down = (from: number) => Array.from({ length: from + 1 }, (_, i) => from - i);

  test("calls, and shows a fault", async () => {
    expect((await run([server.tcp, "call", "studio/isPrime", '{"n":97}'])).out.trim()).toBe('{"prime": true}');
    const wrong = await run([server.tcp, "call", "studio/isPrime", '{"n":"x"}']);
    expect([wrong.code, wrong.out]).toEqual([1, ""]);
    expect(JSON.parse(wrong.err)).toMatchObject({ code: "invalid_argument" });
    const nobody = await run(["tcp://127.0.0.1:1", "call", "studio/isPrime", "{}"]);
    expect([nobody.code, nobody.err]).toEqual([1, expect.stringMatching(/^\S.* refused\n$/)]);
  }, 60_000);

  test("gives up after some tries, and says how to come back", async () => {
    const program = `import tcp; list(tcp.follow("tcp://127.0.0.1:1", call="c1", cursor="k-a2", tries=2))`;
    const env = { ...process.env, PYTHONPATH: dirname(CLIENT), PYTHONDONTWRITEBYTECODE: "1" };
    const child = Bun.spawn([python!, "-c", program], { stdout: "pipe", stderr: "pipe", env });
    const [err, code] = [await new Response(child.stderr).text(), await child.exited];
    expect([code, err.match(/going on with/g)?.length]).toEqual([1, 1]);
    expect(err).toContain("gave up after 2 tries; come back with attach c1 k-a2");
  }, 30_000);

  test("says how it is used", async () => {
    for (const args of [[], [server.tcp, "call", "studio/isPrime"], [server.tcp, "ask", "studio/isPrime", "{}"]]) {
      const { code, out, err } = await run(args);
      expect([code, out, err]).toEqual([2, "", expect.stringContaining("python3 tcp.py tcp://localhost:4460 call")]);
    }
    expect((await run([server.tcp, "call", "studio/isPrime", "{n"])).err).not.toContain("Traceback");
  }, 30_000);

  test("follows a stream of many windows to its end, and reads on from a cursor", async () => {
    const all = parsed((await run([server.tcp, "follow", "studio/countdown", '{"from":500,"intervalMs":0}'])).lines);
    expect(numbers(all)).toEqual(down(500));
    expect(all.at(-1)!.kind).toBe("end");
    const { cursor, call } = all.find(({ data }) => data?.n === 20)!;
    const rest = parsed((await run([server.tcp, "attach", call, cursor])).lines);
    expect(numbers(rest)).toEqual(down(19));
  }, 60_000);

  test("follows a stream through a server that is killed, without a hole or a double", async () => {
    const child = start([server.tcp, "follow", "studio/countdown", '{"from":200,"intervalMs":10}']);
    const reader = child.stdout.getReader();
    const before = await takeLines(reader, 60);
    const port = new URL(server.tcp.replace("tcp:", "http:")).port;
    server.child.kill("SIGKILL");
    await server.child.exited;
    server = await serve(port);
    const after = await takeLines(reader, Number.POSITIVE_INFINITY);
    expect(await child.exited).toBe(0);
    expect(await new Response(child.stderr).text()).toContain("going on with");
    // What came with the 60th line is lost with the reader here: the rest begins where it begins.
    const [first, rest] = [
      numbers(parsed(before)),
      numbers(parsed(after.filter((line) => line.startsWith('{"kind"')))),
    ];
    expect(first).toEqual(down(200).slice(0, first.length));
    expect(rest).toEqual(down(rest[0]!));
    expect(rest[0]!).toBeLessThan(first.at(-1)!);
  }, 60_000);

  test("proves who calls", async () => {
    const keys = await place.file("keys.json", '{"secret":"ann"}');
    const { tcp } = await serve("0", "--api-keys", keys, "--store", "memory:");
    const args = [tcp, "call", "studio/isPrime", '{"n":7}'];
    expect((await run(args, { BACKTALK_TOKEN: "secret" })).out.trim()).toBe('{"prime": true}');
    const none = await run(args);
    expect(JSON.parse(none.err)).toMatchObject({ code: "unauthenticated" });
  }, 60_000);
});
