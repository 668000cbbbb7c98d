/** What the README and the examples tell to run is run, against servers on free ports. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { delimiter, dirname, join } from "node:path";
import { Place, type Server, serveIn } from "../../cli/testing.ts";
import { Place as Site } from "../../lab/probe/testing.ts";
import { has, nginx } from "../../lab/probe/testing-servers.ts";
import { noBroker, startBroker } from "../broker/broker.ts";
import { blocks, commands, modules } from "./documents.ts";
import { root } from "./sources.ts";

/** Of the README: calls that show it go to a server that asks for it. */
const KEY = "k-7f3b2c9d4e";
const EXAMPLES = ["studio", "first", "shop", "todo"];
const RUN = ["README.md", "examples/todo/README.md", "examples/clients/README.md"];

const FREE = ["grpc", "grpc-tls", "tcp", "tcp-tls", "udp"].flatMap((name) => [`--${name}-port`, "0"]);

// Tools that only the tests have.
const PATH = [join(root, "node_modules/.cache/bin"), process.env["PATH"]].join(delimiter);
const place = new Place();
let server: Server;
let closed: Server;

beforeAll(async () => {
  const imports = EXAMPLES.map((name) => `import ${name} from "${join(root, "examples", name, "service.ts")}";`);
  const file = await place.file("all.ts", `${imports.join("\n")}\nexport default [${EXAMPLES.join()}];`);
  const keys = await place.file("keys.json", JSON.stringify({ [KEY]: "ann" }));
  server = await serveIn(place, file, [...FREE, "--store", "memory:"]);
  closed = await serveIn(place, file, [...FREE, "--store", "memory:", "--api-keys", keys]);
}, 60_000);

afterAll(() => {
  server?.child.kill("SIGKILL");
  closed?.child.kill("SIGKILL");
  place.remove();
});

/** The addresses of the tests' servers in the place of the reader's. */
function onOurs(text: string): string {
  const own = text.includes(KEY) ? closed : server;
  const host = (scheme: string) => new URL(own.addresses.find(({ url }) => url.startsWith(`${scheme}:`))!.url).host;
  return text
    .replaceAll("https://localhost:4443", own.https)
    .replaceAll("localhost:4450", () => host("grpc"))
    .replaceAll("localhost:4460", () => host("tcp"))
    .replaceAll("localhost:4470", () => host("udp"))
    .replaceAll(/(localhost|127\.0\.0\.1):4400/g, own.http.replace("http://", ""));
}

async function run(command: readonly string[], cwd = root) {
  const child = Bun.spawn([...command], {
    cwd,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, PATH },
  });
  const timer = setTimeout(() => child.kill(), 20_000);
  const [out, error] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  clearTimeout(timer);
  const code = await child.exited;
  return { out, error, code, isCut: child.signalCode !== null };
}

describe("commands", () => {
  const PROGRAM =
    /^(?:BACKTALK_\w+=\S+ )?(curl|grpcurl|python3|\.\/backtalk(?= (?:call|contract|publish|subscribe|transports)))/;
  // Not what waits for others, what writes files, and what has a place to be filled in.
  const LEFT_OUT = /<|\b(ID|CURSOR)\b|Subscribe|--out/;
  const shown = commands.flatMap(({ path, line }) => {
    const program = RUN.includes(path) && !LEFT_OUT.test(line) ? PROGRAM.exec(line)?.[1] : undefined;
    return program === undefined ? [] : [{ line, program }];
  });
  const isMissing = (program: string) =>
    !process.env["CI"] && !program.startsWith("./") && Bun.which(program, { PATH }) === null;

  for (const { line, program } of shown) {
    test.skipIf(isMissing(program))(
      isMissing(program) ? `${line} (no ${program} here)` : line,
      async () => {
        const command = onOurs(line).replace(/\bcurl /, "curl -k --max-time 10 ");
        const { out, error, code, isCut } = await run(["sh", "-c", program === "curl" ? command : onOurs(line)]);
        // A stream without an end is cut off by us: then it must have said something.
        const isEnough = (code === 28 || isCut) && out !== "";
        expect({ line, code: isEnough ? 0 : code, error: code === 0 ? "" : error }).toEqual({
          line,
          code: 0,
          error: "",
        });
        expect(out).not.toContain("unauthenticated");
      },
      60_000,
    );
  }
});

describe("TypeScript", () => {
  const shown = blocks
    .filter(({ path, language }) => RUN.includes(path) && language === "ts")
    .map(({ path, text }, at) => {
      const from = join(root, dirname(path));
      const absolute = text.replaceAll(/"(\.\/[^"]+\.ts)"/g, (_, to: string) => JSON.stringify(join(from, to)));
      return { path, text: `${absolute}\nexport {};\n`, name: `block${at}.ts` };
    });
  const programs = shown.filter(({ path, text }) => path === "README.md" && text.includes("createClient"));
  const paths = Object.fromEntries(Object.entries(modules).map(([name, to]) => [name, [join(root, to)]]));

  test("is typed right", async () => {
    const folder = new Place();
    try {
      for (const { name, text } of shown) await folder.file(name, text);
      const typeRoots = [join(root, "node_modules/@types")];
      const compilerOptions = {
        paths: { ...paths, zod: [join(root, "node_modules/zod")] },
        typeRoots,
        noUnusedLocals: false,
      };
      const config = { extends: join(root, "tsconfig.json"), compilerOptions, include: ["*.ts"], exclude: [] };
      await folder.file("tsconfig.json", JSON.stringify(config));
      const { out } = await run([join(root, "node_modules/.bin/tsc"), "--noEmit", "-p", folder.directory]);
      // What is wrong in the sources themselves is found elsewhere.
      expect(out.split("\n").filter((line) => /block\d+\.ts/.test(line))).toEqual([]);
    } finally {
      folder.remove();
    }
  }, 60_000);

  test("runs", async () => {
    const folder = new Place();
    try {
      await folder.file("tsconfig.json", JSON.stringify({ compilerOptions: { paths } }));
      expect(programs.length).toBe(2);
      for (const { name, text } of programs) {
        const { out, error, code } = await run([process.execPath, await folder.file(name, onOurs(text))]);
        expect({ text, code, error, isSilent: out === "" }).toEqual({ text, code: 0, error: "", isSilent: false });
      }
    } finally {
      folder.remove();
    }
  }, 60_000);
});

const site = blocks.find(({ language }) => language === "nginx")?.text ?? "";
test.skipIf(!has("nginx"))(
  "nginx, told so, passes everything on at once",
  async () => {
    const proxy = new Site();
    try {
      const [port] = await nginx(proxy, [`listen PORT; ${onOurs(site)}`]);
      for (const via of ["http1", "sse", "long-poll", "websocket", "grpc-web", "connect"]) {
        const args = ["call", `localhost:${port}`, "studio.countdown", '{"from":1,"intervalMs":1500}', "--via", via];
        const child = place.start([...args, "--json"]);
        const at: number[] = [];
        let out = "";
        for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
          out += piece;
          at.push(performance.now());
        }
        expect([via, out, await child.exited]).toEqual([via, '{"n":1}\n{"n":0}\n', 0]);
        // A proxy that collects answers brings all of it together.
        expect(at.at(-1)! - at[0]!).toBeGreaterThan(700);
      }
    } finally {
      await proxy.close();
    }
  },
  60_000,
);

const without = noBroker();
test.skipIf(without !== undefined)(
  `a queued method waits for its worker${without ? ` (${without})` : ""}`,
  async () => {
    const broker = await startBroker();
    const own = new Place();
    const shop = join(root, "examples/shop/service.ts");
    const children: { kill(signal: "SIGKILL"): void }[] = [];
    try {
      const { child, http } = await serveIn(own, shop, [...FREE, "--amqp", broker.url]);
      children.push(child);
      const line = commands.find((each) => each.line.includes("shop.invoice"))!.line.replace(/ #.*/, "");
      const [, method, input] = /(shop\.invoice) '(.*)'/.exec(line)!;
      const waiting = own.start(["call", http, method!, input!]);
      children.push(waiting);
      // It is open, and nobody runs it.
      const opened = async () => (await own.run(["calls", http, "--json"])).out;
      let calls = await opened();
      while (!calls.includes("shop/invoice")) calls = await opened();
      expect(calls).toContain('"running"');
      children.push(own.start(["worker", shop, "--amqp", broker.url]));
      expect([await new Response(waiting.stdout).text(), await waiting.exited]).toEqual([
        '{"pdf":"invoices/A7.pdf"}\n',
        0,
      ]);
    } finally {
      for (const child of children) child.kill("SIGKILL");
      await broker.stop();
      own.remove();
    }
  },
  120_000,
);
