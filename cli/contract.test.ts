/** `backtalk contract`, and what a server shows of its contract. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Place, ROOT, type Server, STUDIO, serveIn } from "./testing.ts";
import { versionOf } from "./version.ts";

const place = new Place();
const LONG = 60_000;

afterAll(() => place.remove());

/** A service file in TypeScript; the schemas are written as what stands in `z.object`. */
async function serviceFile(input: string, more = ""): Promise<string> {
  const of = (path: string) => JSON.stringify(join(ROOT, path));
  return await place.file(
    "service.ts",
    `import { service, topic, unary } from ${of("src/index.ts")};
import { z } from ${of("node_modules/zod/index.js")};
export default service("shop", {
  order: unary({ input: z.object({ ${input} }), output: z.object({ ok: z.boolean() }) }, () => ({ ok: true })),
  ${more}
});
`,
  );
}

const contract = (...args: readonly string[]) => place.run(["contract", join(place.directory, "service.ts"), ...args]);
const pins = () => readFileSync(join(place.directory, "shop.proto"), "utf8");

afterEach(() => rmSync(join(place.directory, "shop.proto"), { force: true }));

describe("descriptions", () => {
  test(
    "are printed: OpenAPI by default, AsyncAPI and .proto when asked",
    async () => {
      await serviceFile("n: z.int()", "orders: topic({ event: z.object({ id: z.string() }) }),");
      const [open] = [JSON.parse((await contract()).out)];
      expect([open.openapi, Object.keys(open.paths).slice(0, 2)]).toEqual([
        "3.1.0",
        ["/shop/order", "/backtalk/calls"],
      ]);
      // An absent body is `{}`.
      const required = (path: string) => open.paths[path].post.requestBody.required;
      expect([required("/shop/order"), required("/backtalk/calls"), required("/topics/orders")]).toEqual([
        true,
        false,
        true,
      ]);
      const async = JSON.parse((await contract("--format", "asyncapi")).out);
      expect([async.asyncapi, async.channels["topic.orders"]["x-backtalk-topic"]]).toEqual(["3.0.0", "orders"]);
      const { out, code } = await contract("--format", "proto");
      expect(code).toBe(0);
      expect(out).toContain("  rpc Order(OrderRequest) returns (OrderResponse);\n");
      expect(out).toContain("  rpc SubscribeOrders(backtalk.v1.SubscribeRequest) returns (stream OrdersEvent);\n");
      expect(out).toContain("message OrderRequest {\n  int64 n = 1;\n}\n");
    },
    LONG,
  );

  test(
    "have the version of the package that the file belongs to, and 0.0.0 of none",
    async () => {
      await serviceFile("n: z.int()");
      const version = async (format: string) => JSON.parse((await contract("--format", format)).out).info.version;
      expect([await version("openapi"), await version("asyncapi")]).toEqual(["0.0.0", "0.0.0"]);
      const path = await place.file("package.json", '{ "version": "3.4.5-rc.1" }');
      expect([await version("openapi"), await version("asyncapi")]).toEqual(["3.4.5-rc.1", "3.4.5-rc.1"]);
      for (const text of ["{}", '{ "version": 1 }', "not JSON"]) {
        await place.file("package.json", text);
        expect(versionOf(join(place.directory, "src/service.ts"))).toBe("0.0.0");
      }
      rmSync(path);
    },
    LONG,
  );

  test(
    "--out writes them all, with the file that .proto files import",
    async () => {
      await serviceFile("n: z.int()");
      const directory = join(place.directory, "api/v1");
      const { out, code } = await contract("--out", directory);
      const files = ["openapi.json", "asyncapi.json", "shop.proto", "backtalk/v1/backtalk.proto"];
      expect([code, out.trim().split("\n")]).toEqual([0, files.map((name) => join(directory, name))]);
      for (const name of files) expect(existsSync(join(directory, name))).toBe(true);
      const { out: one } = await contract("--out", directory, "--format", "openapi");
      expect(one).toBe(`${join(directory, "openapi.json")}\n`);
    },
    LONG,
  );

  test(
    "bad uses are told of before anything is done",
    async () => {
      await serviceFile("n: z.int()");
      for (const [args, message] of [
        [["--write", "--check"], "--write and --check cannot be used together"],
        [["--check", "--out", "x"], "--check and --out cannot be used together"],
        [["--allow-breaking"], "--allow-breaking goes with --write"],
        [["--format", "yaml"], "--format cannot be"],
      ] as const) {
        const { code, err } = await contract(...args);
        expect([code, err]).toEqual([2, expect.stringContaining(message)]);
      }
      expect(existsSync(join(place.directory, "shop.proto"))).toBe(false);
      const nowhere = await place.run(["contract", "nowhere.ts"]);
      expect([nowhere.code, nowhere.err]).toEqual([2, expect.stringContaining("there is no file nowhere.ts")]);
    },
    LONG,
  );
});

describe("pins", () => {
  test("are written, kept, checked, and broken only on purpose", async () => {
    await serviceFile("a: z.string(), b: z.int().optional()");
    const none = await contract("--check");
    expect([none.code, none.out]).toEqual([1, expect.stringContaining("nothing is pinned")]);
    const written = await contract("--write");
    expect([written.code, written.out]).toEqual([0, `${join(place.directory, "shop.proto")}\n`]);
    const good = await contract("--check");
    expect([good.code, good.out, good.err]).toEqual([0, "", "nothing breaks, and all is pinned\n"]);

    await serviceFile("c: z.string().optional(), b: z.int().optional(), a: z.string()");
    const behind = await contract("--check");
    expect([behind.code, behind.out]).toEqual([1, "shop.OrderRequest.c is new and not pinned\n"]);
    expect((await contract("--write")).code).toBe(0);
    expect(pins()).toContain("  optional string c = 3;\n  optional int64 b = 2;\n  string a = 1;\n");

    await serviceFile("c: z.boolean().optional(), a: z.string(), d: z.string()");
    const broken = await contract("--check");
    expect(broken.code).toBe(1);
    expect(broken.out).toBe(`shop.OrderRequest.c was string and is bool
  keep the type, and add a property of another name for the new one
shop.OrderRequest.d is new, and the input must have "d"
  make the property optional, or give it a default
shop.OrderRequest.b was removed, and its number is not reserved
`);
    const before = pins();
    const refused = await contract("--write");
    expect([refused.code, refused.err, pins()]).toEqual([
      1,
      expect.stringContaining("nothing is written: 2 changes break"),
      before,
    ]);
    expect((await contract("--write", "--allow-breaking")).code).toBe(0);
    expect(pins()).toContain(
      '  reserved 2 to 3;\n  reserved "b";\n  optional bool c = 4;\n  string a = 1;\n  string d = 5;\n',
    );
    expect((await contract("--check")).code).toBe(0);
  }, 60_000);

  test(
    "what breaks nobody and is not in the file yet is behind too",
    async () => {
      for (const [before, after, says] of [
        ["a: z.string(), b: z.int().optional()", "a: z.string()", "b was removed, and its number is not reserved"],
        ["a: z.string()", "a: z.string().optional()", "a is now optional"],
      ] as const) {
        await serviceFile(before);
        await contract("--write");
        await serviceFile(after);
        const { code, out, err } = await contract("--check");
        expect([code, out]).toEqual([1, `shop.OrderRequest.${says}\n`]);
        expect(err).toMatch(/nothing breaks, but the file is behind: backtalk contract .*service\.ts --write/);
        expect((await contract("--write")).code).toBe(0);
        const good = await contract("--check");
        expect([good.code, good.out, good.err]).toEqual([0, "", "nothing breaks, and all is pinned\n"]);
        rmSync(join(place.directory, "shop.proto"));
      }
    },
    LONG,
  );

  test(
    "a name that was removed is not used again",
    async () => {
      await serviceFile("a: z.string().optional(), b: z.string().optional()");
      await contract("--write");
      await serviceFile("a: z.string().optional()");
      await contract("--write");
      await serviceFile("a: z.string().optional(), b: z.string().optional()");
      const { code, out } = await contract("--check");
      expect([code, out]).toEqual([
        1,
        expect.stringContaining("shop.OrderRequest.b is a name that was removed and is reserved"),
      ]);
    },
    LONG,
  );

  test(
    "that cannot be read are told of with their line",
    async () => {
      await serviceFile("a: z.string()");
      await place.file("shop.proto", 'syntax = "proto3";\npackage shop;\nenum A {}\n');
      const { code, err } = await contract("--check");
      expect([code, err]).toEqual([13, expect.stringContaining('shop.proto:3: unexpected "enum"')]);
    },
    LONG,
  );
});

describe("a server whose contract has pins", () => {
  const serve = () =>
    place.run([
      "serve",
      join(place.directory, "service.ts"),
      "--port",
      "0",
      "--no-tls",
      "--no-udp",
      "--store",
      "memory:",
    ]);

  test(
    "does not start when it breaks them, and says what",
    async () => {
      await serviceFile("a: z.string()");
      await contract("--write");
      await serviceFile("a: z.boolean()");
      const { code, err } = await serve();
      expect([code, err]).toEqual([
        19,
        expect.stringContaining("the contract breaks its readers: shop.OrderRequest.a was string and is bool"),
      ]);
      expect(err).toContain(
        "keep the type, and add a property of another name for the new one; all of them: backtalk contract FILE --check",
      );
    },
    LONG,
  );

  test(
    "serves them, and tells what is not pinned",
    async () => {
      await serviceFile("a: z.string(), b: z.string().optional()");
      await contract("--write");
      await serviceFile("b: z.string().optional(), a: z.string(), c: z.string().optional()");
      const server = await serveIn(place, join(place.directory, "service.ts"), ["--no-udp"]);
      try {
        const text = await (await fetch(`${server.http}/contract/shop.proto`)).text();
        expect(text).toContain("  optional string b = 2;\n  string a = 1;\n  optional string c = 3;\n");
      } finally {
        server.child.kill("SIGKILL");
        await server.child.exited;
      }
      expect(await new Response(server.child.stderr).text()).toContain(
        "1 new in the contract and not pinned: backtalk contract ",
      );
    },
    LONG,
  );
});

describe("a running server", () => {
  let server: Server;
  beforeAll(async () => {
    server = await serveIn(place, STUDIO, ["--no-udp"]);
  }, LONG);
  afterAll(async () => {
    server.child.kill("SIGKILL");
    await server.child.exited;
  });
  const get = (path: string, headers: Record<string, string> = {}) =>
    fetch(server.http + path, { headers, redirect: "manual" });

  test("gives AsyncAPI with its own address, and the .proto files", async () => {
    const document = (await (await get("/asyncapi.json")).json()) as { servers: { websocket: { host: string } } };
    expect(document.servers.websocket.host).toBe(new URL(server.http).host);
    const proto = await get("/contract/studio.proto");
    expect([proto.status, proto.headers.get("content-type")]).toEqual([200, "text/plain; charset=utf-8"]);
    expect(await proto.text()).toContain("package studio;");
    expect(await (await get("/contract/backtalk/v1/backtalk.proto")).text()).toContain("package backtalk.v1;");
    const missing = await get("/contract/nothing.proto");
    expect([missing.status, await missing.json()]).toEqual([404, expect.objectContaining({ code: "not_found" })]);
    const post = await fetch(`${server.http}/asyncapi.json`, { method: "POST" });
    expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    expect(await post.json()).toMatchObject({ status: 405, code: "unimplemented" });
  });

  test("/docs loads nothing from elsewhere, and may not", async () => {
    const page = await get("/docs");
    const policy = page.headers.get("content-security-policy")!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain("unsafe");
    expect(policy).not.toContain("http");
    const html = await page.text();
    expect(html).not.toMatch(/(src|href)="(https?:)?\/\//);
    const files = [...html.matchAll(/(?:src|href)="(docs\/[^"]+)"/g)].map(([, path]) => path!);
    expect(files).toHaveLength(4);
    for (const path of files) {
      const [plain, zipped] = await Promise.all([get(`/${path}`, { "accept-encoding": "identity" }), get(`/${path}`)]);
      expect([path, plain.status, plain.headers.get("content-encoding")]).toEqual([path, 200, null]);
      expect(await plain.text()).toBe(await zipped.text());
    }
    expect((await get("/docs/")).headers.get("location")).toBe("../docs");
    expect((await get("/docs/../package.json")).status).toBe(404);
  });
});
