/**
 * Clients of gRPC and Connect that are not ours, against the real `backtalk serve` of examples/todo: grpcurl, Node with
 * @grpc/grpc-js, Python with grpcio, curl, and a page in Chromium. None of them knows more than a .proto file, if that.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { chromium } from "playwright-core";
import { Place, ROOT, type Server, serveIn } from "../../cli/testing.ts";
import { cutter } from "../transport/cutter.ts";
import { until } from "../transport/world.ts";
import { tool } from "./setup.ts";

const TODO = join(ROOT, "examples/todo/service.ts");
const CACHE = join(ROOT, "node_modules/.cache");
const grpcurl = tool("grpcurl", join(CACHE, "bin/grpcurl"));
const python = pythonWithGrpc(join(CACHE, "grpc-python/bin/python"));
const curl = tool("curl");
const node = tool("node");
const browser = tool("chromium", "/usr/bin/chromium", "chromium-browser", "google-chrome");

const place = new Place();
const api = join(place.directory, "api");
let server: Server;
/** `host:port` of gRPC without TLS, and with. */
let plain = "";
let secure = "";

beforeAll(async () => {
  const [started, written] = await Promise.all([
    serveIn(place, TODO, ["--no-tcp", "--no-udp", "--origin", "*"]),
    place.run(["contract", TODO, "--out", api, "--format", "proto"]),
  ]);
  if (written.code !== 0) throw new Error(written.err);
  server = started;
  const of = (scheme: string) => server.addresses.find(({ url }) => url.startsWith(`${scheme}://`))!.url;
  plain = of("grpc").slice("grpc://".length);
  secure = of("grpcs").slice("grpcs://".length);
}, 60_000);

afterAll(async () => {
  server?.child.kill("SIGKILL");
  await server?.child.exited;
  place.remove();
});

function pythonWithGrpc(path: string): string | undefined {
  if (existsSync(path)) return path;
  return tool("grpcio in node_modules/.cache/grpc-python");
}

async function run(command: readonly string[], env: Record<string, string> = {}) {
  const child = Bun.spawn([...command], { cwd: ROOT, stdout: "pipe", stderr: "pipe", env: { ...process.env, ...env } });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { out, err, code };
}

const lines = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe.skipIf(grpcurl === undefined)("grpcurl", () => {
  const ask = async (...args: string[]) => {
    const { out, err, code } = await run([grpcurl!, "-plaintext", ...args]);
    return { out, err, code };
  };

  test("lists, describes and calls without files", async () => {
    const { out } = await ask(plain, "list");
    expect(out.trim().split("\n")).toEqual([
      "backtalk.v1.Backtalk",
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "todo.Todo",
    ]);
    expect((await ask(plain, "describe", "todo.CreateTodoRequest")).out).toContain("string title = 1;");
    const made = await ask("-d", '{"title":"by grpcurl"}', plain, "todo.Todo/CreateTodo");
    expect(JSON.parse(made.out)).toMatchObject({ title: "by grpcurl" });
    const stream = await ask("-v", "-H", "backtalk-cursors: true", plain, "todo.Todo/ReadTodosStream");
    expect(stream.out).toMatch(/backtalk-call: c\w{26}/);
    expect(stream.out).toContain('"backtalkCursor":');
    expect(stream.out).toMatch(/Response trailers received:\nbacktalk-cursor: /);
  });

  test("with TLS, and the older reflection", async () => {
    const cert = join(place.directory, ".backtalk/certificate.pem");
    const { out } = await run([grpcurl!, "-cacert", cert, "-authority", "localhost", secure, "list", "todo.Todo"]);
    expect(out).toContain("todo.Todo.CreateTodo");
  });

  test("shows the details of a fault", async () => {
    const { code, err } = await ask("-d", '{"title":""}', plain, "todo.Todo/CreateTodo");
    expect(code).not.toBe(0);
    expect(err).toContain("Code: InvalidArgument");
    expect(err).toContain('"domain": "backtalk"');
    expect(err).toContain('"field": "title"');
    const unknown = await ask(plain, "todo.Todo/Nothing");
    expect(unknown.err).toContain("does not include a method");
  });

  test("health, and calls of every kind by backtalk.v1", async () => {
    const health = await ask("-d", '{"service":"todo.Todo"}', plain, "grpc.health.v1.Health/Check");
    expect(JSON.parse(health.out)).toEqual({ status: "SERVING" });
    expect((await ask("-d", '{"service":"x"}', plain, "grpc.health.v1.Health/Check")).err).toContain("NotFound");
    const input = '{"method":"todo/createTodo","input":{"value":{"title":"generic"}}}';
    const call = await ask("-d", input, plain, "backtalk.v1.Backtalk/Call");
    expect(JSON.parse(call.out)).toMatchObject({ output: { value: { title: "generic", done: false } } });
    const opened = await ask("-d", '{"method":"todo/readTodosStream"}', plain, "backtalk.v1.Backtalk/Open");
    const { call: id } = JSON.parse(opened.out) as { call: string };
    const read = await ask("-d", `{"log":"calls/${id}","follow":true}`, plain, "backtalk.v1.Backtalk/Read");
    expect(read.out).toContain('"verdict": "recovered"');
    expect(read.out).toContain('"kind": "end"');
    const state = await ask("-d", `{"log":"calls/${id}"}`, plain, "backtalk.v1.Backtalk/State");
    expect(JSON.parse(state.out)).toMatchObject({ call: { id, method: "todo/readTodosStream", state: "done" } });
  });
});

/** The client of grpc-js, loosely: it is made while it runs. */
// biome-ignore lint/suspicious/noExplicitAny: its methods come from the .proto file
type Stub = any;

async function stubAt(
  address: string,
  options: object = {},
  credentials = grpc.credentials.createInsecure(),
): Promise<Stub> {
  const definition = await protoLoader.load(join(api, "todo.proto"), { includeDirs: [api], defaults: true });
  const { todo } = grpc.loadPackageDefinition(definition) as {
    todo: { Todo: new (...args: unknown[]) => Stub };
  } & object as never;
  return new (todo as { Todo: new (...args: unknown[]) => Stub }).Todo(address, credentials, options);
}

const call = (stub: Stub, method: string, request: object, ...more: unknown[]) =>
  new Promise<Record<string, never>>((resolve, reject) => {
    stub[method](request, ...more, (error: unknown, answer: never) => (error ? reject(error) : resolve(answer)));
  });

function meta(fields: Record<string, string>): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(fields)) metadata.set(name, value);
  return metadata;
}

describe("@grpc/grpc-js", () => {
  test("calls, streams, topics, faults, deadlines and gzip", async () => {
    const stub = await stubAt(plain, { "grpc.default_compression_algorithm": 2 });
    try {
      const title = "grpc-js ".repeat(50);
      const made = await call(stub, "CreateTodo", { title });
      expect(made).toMatchObject({ title, done: false });
      const topic = stub.SubscribeChanges({ after: "start" });
      const changes: { what: string; todo: { title: string } }[] = [];
      topic.on("data", (each: never) => changes.push(each));
      topic.on("error", () => {});
      await until(() => changes.some(({ todo }) => todo.title === title), "the change");
      topic.cancel();
      const error = (await call(stub, "CreateTodo", { title: "" }).catch((thrown) => thrown)) as grpc.ServiceError;
      expect(error.code).toBe(grpc.status.INVALID_ARGUMENT);
      expect(error.metadata.get("grpc-status-details-bin")).toHaveLength(1);
      const late = new Promise<grpc.ServiceError>((resolve) => {
        const stream = stub.ReadTodosStream({ pauseMs: 5_000 }, { deadline: Date.now() + 150 });
        stream.on("data", () => {});
        stream.on("error", resolve);
      });
      expect((await late).code).toBe(grpc.status.DEADLINE_EXCEEDED);
    } finally {
      stub.close();
    }
  });

  test.skipIf(curl === undefined)(
    "a stream is cut in the middle, gone on with by metadata alone, and finished by curl over SSE",
    async () => {
      const direct = await stubAt(plain);
      for (let n = 0; n < 12; n++) await call(direct, "CreateTodo", { title: `resume ${n}` });
      const all = ((await call(direct, "ReadTodos", {})) as unknown as { items: { id: string }[] }).items.map(
        ({ id }) => id,
      );
      const proxy = await cutter(Number(plain.split(":")[1]));
      const through = await stubAt(`127.0.0.1:${proxy.port}`);
      const seen: string[] = [];
      let id = "";
      let cursor = "";
      const verdicts: unknown[] = [];
      /** Reads until so many are there in all, or the stream breaks. */
      const read = (stub: Stub, fields: Record<string, string>, most: number, onEnough: (stream: Stub) => void) =>
        new Promise<number>((resolve) => {
          const stream = stub.ReadTodosStream({ pauseMs: 30 }, meta({ "backtalk-cursors": "true", ...fields }));
          stream.on("metadata", (header: grpc.Metadata) => {
            id = String(header.get("backtalk-call")[0]);
            verdicts.push(header.get("backtalk-verdict")[0]);
          });
          stream.on("data", (each: { id: string; backtalkCursor: string }) => {
            seen.push(each.id);
            cursor = each.backtalkCursor;
            if (seen.length === most) onEnough(stream);
          });
          stream.on("error", () => {});
          stream.on("status", ({ code }: grpc.StatusObject) => resolve(code));
        });
      expect(await read(through, {}, 3, () => proxy.cut())).toBe(grpc.status.UNAVAILABLE);
      const after = () => ({ "backtalk-call": id, "backtalk-after": cursor });
      expect(await read(direct, after(), 6, (stream) => stream.cancel())).toBe(grpc.status.CANCELLED);
      const events = await run([
        curl!,
        ...["-sS", "-N", "--max-time", "20", "-H", "Accept: text/event-stream", "-H", `Last-Event-ID: ${cursor}`],
        `${server.http}/calls/${id}/events`,
      ]);
      const blocks = events.out
        .split("\n\n")
        .map((block) => Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s))));
      for (const { event, data } of blocks) if (event === "item") seen.push((JSON.parse(data!) as { id: string }).id);
      verdicts.push(
        blocks.some(({ event, data }) => event === "verdict" && data!.includes('"recovered"')) && "recovered",
      );
      expect(blocks.some(({ event }) => event === "end")).toBe(true);
      expect(verdicts).toEqual(["recovered", "recovered", "recovered"]);
      expect(seen).toEqual(all);
      through.close();
      direct.close();
      await proxy.close();
    },
    60_000,
  );

  test.skipIf(node === undefined)("the example goes on after a break", async () => {
    const { out, err, code } = await run([node!, "examples/todo/client.mjs", relative(ROOT, api), plain, "2"]);
    // No warning either: the loader looks for files below the directories that it is given.
    expect([code, err]).toEqual([0, ""]);
    const all = lines(out);
    expect(all.filter(({ verdict }) => verdict)).toEqual([{ verdict: "recovered" }, { verdict: "recovered" }]);
    const titles = all.flatMap(({ title }) => title ?? []);
    expect(titles).toEqual((all[0] as { titles: string[] }).titles);
  });
});

describe.skipIf(node === undefined)("Node", () => {
  test("the built peers of the package: gRPC with TLS and without, gRPC-Web, Connect", async () => {
    const paths = ["src/transports/rpc/client.ts", "src/transports/rpc/client-grpc.ts", "src/client/index.ts"];
    const files: string[] = [];
    for (const [n, path] of paths.entries()) {
      const naming = `${n}.mjs`;
      const target: Bun.Target = path.includes("client-grpc") ? "node" : "browser";
      const options = {
        entrypoints: [join(ROOT, path)],
        outdir: join(place.directory, "built"),
        naming,
        target,
        format: "esm",
      } satisfies Bun.BuildConfig;
      files.push((await Bun.build(options)).outputs[0]!.path);
    }
    const script = `
      import { readFileSync } from "node:fs";
      const [{ connectPeer, grpcWebPeer }, { grpcPeer }, { createClient, Fault }] = await Promise.all(${JSON.stringify(files)}.map((file) => import(file)));
      const ca = readFileSync(".backtalk/certificate.pem", "utf8");
      const ways = [
        ["http://${plain}", grpcPeer],
        ["https://localhost:${secure.split(":")[1]}", (options) => grpcPeer({ ...options, tls: { ca }, gzip: true })],
        ["${server.http}", grpcWebPeer],
        ["${server.http}", connectPeer],
      ];
      for (const [url, transport] of ways) {
        const client = createClient(url, { transport });
        const { title } = await client.todo.createTodo({ title: "from Node" });
        const items = [];
        for await (const each of client.todo.readTodosStream({})) items.push(each.title);
        const fault = await client.todo.createTodo({}).catch((thrown) => thrown instanceof Fault && thrown.code);
        client.close();
        console.log(JSON.stringify({ title, last: items.at(-1), fault }));
      }
    `;
    const child = Bun.spawn([node!, "--input-type=module", "-e", script], {
      cwd: place.directory,
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    expect([code, err]).toEqual([0, ""]);
    const each = { title: "from Node", last: "from Node", fault: "invalid_argument" };
    expect(lines(out)).toEqual([each, each, each, each]);
  }, 60_000);
});

describe.skipIf(python === undefined)("Python", () => {
  test("the example, from generated code", async () => {
    const made = await run([
      python!,
      ...["-m", "grpc_tools.protoc", "-I", api, `--python_out=${api}`, `--grpc_python_out=${api}`],
      ...["todo.proto", "backtalk/v1/backtalk.proto"],
    ]);
    expect([made.code, made.err]).toEqual([0, ""]);
    const { out, err, code } = await run([python!, "examples/todo/client.py", plain], { PYTHONPATH: api });
    expect([code, err]).toEqual([0, ""]);
    const said = Object.assign({}, ...lines(out)) as Record<string, unknown>;
    expect(said).toMatchObject({ same: true, replayed: "true", cursor: true, status: "INVALID_ARGUMENT" });
    expect(said["done"]).toEqual(["from Python"]);
    expect(said["streamed"]).toContain("from Python");
  }, 60_000);
});

describe.skipIf(curl === undefined)("curl", () => {
  const ask = async (...args: string[]) => (await run([curl!, "-sS", "-i", "--max-time", "20", ...args])).out;

  test("Connect: unary as JSON, safe ones by GET, faults with their details", async () => {
    const json = ["-H", "content-type: application/json"];
    const made = await ask(...json, "-d", '{"title":"by curl"}', `${server.http}/todo.Todo/CreateTodo`);
    expect(made).toStartWith("HTTP/1.1 200");
    expect(made).toContain('"title":"by curl"');
    const got = await ask(`${server.http}/todo.Todo/ReadTodos?connect=v1&encoding=json&message=%7B%7D`);
    expect(got).toContain('"title":"by curl"');
    const bad = await ask(...json, "-d", '{"title":""}', `${server.http}/todo.Todo/CreateTodo`);
    expect(bad).toStartWith("HTTP/1.1 400");
    expect(bad).toContain('"code":"invalid_argument"');
    expect(bad).toContain('"type":"google.rpc.BadRequest"');
    const kept = await ask(
      ...json,
      "-H",
      "backtalk-keep: true",
      "-d",
      '{"title":"kept"}',
      `${server.http}/todo.Todo/CreateTodo`,
    );
    expect(kept).toMatch(/^backtalk-call: c\w{26}\r$/m);
  });
});

describe.skipIf(browser === undefined)("Chromium", () => {
  test("a page over Connect and gRPC-Web: our client, and a plain fetch", async () => {
    const built = await Bun.build({
      entrypoints: [join(ROOT, "suites/clients/rpc-page.ts")],
      target: "browser",
      format: "iife",
    });
    const script = await built.outputs[0]!.text();
    const context = await chromium.launchPersistentContext(join(place.directory, "chromium"), {
      executablePath: browser!,
      headless: true,
      args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
    });
    try {
      const page = context.pages()[0] ?? (await context.newPage());
      await page.goto(`${server.http}/healthz`);
      await page.addScriptTag({ content: script });
      for (const protocol of ["connect", "grpcWeb"]) {
        const seen = await page.evaluate((each) => {
          const { runTodo } = globalThis as never as { runTodo(protocol: string): Promise<Record<string, unknown>> };
          return runTodo(each);
        }, protocol);
        expect(seen).toMatchObject({
          protocol,
          made: `by ${protocol}`,
          hasStreamed: true,
          fault: "invalid_argument",
          change: "created",
        });
      }
      const plain = await page.evaluate(async () => {
        const headers = { "content-type": "application/json", "connect-protocol-version": "1" };
        const answer = await fetch("/todo.Todo/CreateTodo", { method: "POST", headers, body: '{"title":"by fetch"}' });
        return (await answer.json()) as unknown;
      });
      expect(plain).toMatchObject({ title: "by fetch" });
    } finally {
      await context.close();
    }
  }, 60_000);
});
