/** What npm gets of the client: it needs nothing but the platform, and works where it is said to. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Served, serve } from "../src/client/testing/server.ts";
import { buildClient, buildTypes, type ClientBuild } from "./build-client.ts";

const root = resolve(import.meta.dir, "..");
let dir: string;
let built: ClientBuild;
let server: Served;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "backtalk-client-"));
  built = await buildClient(join(dir, "dist"));
  server = await serve();
  await Bun.write(join(dir, "main.mjs"), program);
});

afterAll(async () => {
  await server.stop();
  await rm(dir, { recursive: true });
});

const program = `
import { createClient } from "./dist/client.js";
const client = createClient(process.argv[2] ?? Deno.args[0]);
const { n } = await client.sample.double({ n: 21 });
let words = 0;
for await (const item of client.sample.count({ to: 100 })) words += item.n;
async function* numbers() { for (let i = 0; i < 100; i++) yield i; }
const { sum } = await client.sample.sum(numbers());
const call = await client.sample.count.start({ to: 2 });
const kinds = [];
for await (const { kind } of call.events) kinds.push(kind);
const { duplicate } = await client.topics.news.publish({ n: 1 });
console.log(JSON.stringify({ n, words, sum, kinds, duplicate, transport: client.transport }));
client.close();
`;

test("it is made of the client, its transports and what they share, and of nothing of the server", () => {
  const allowed =
    /^src\/(client\/[a-z]+|frames\/client(-[a-z]+)?|transports\/(http|websocket)\/client(-[a-z]+)?|log\/(fault|index)|contract\/(peer|timer)|wire\/(bounded|ndjson|redirect|sse))\.ts$/;
  expect(built.modules.filter((path) => !allowed.test(path))).toEqual([]);
  console.log(`dist/client.js: ${built.bytes} bytes, ${built.gzip} gzip, ${built.brotli} brotli`);
  // Not a goal but a guard: whoever makes it larger should know, and says so to those who load it.
  const told = Number(/([\d.]+) kB minified and gzipped/.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1]);
  expect(Math.abs(built.gzip / 1000 - told)).toBeLessThan(0.15);
});

for (const [name, args, transport] of [
  ["node", [], /^(websocket|sse)$/],
  ["bun", [], /^websocket$/],
  ["deno", ["run", "--allow-net"], /^websocket$/],
] as const) {
  const path = Bun.which(name, { PATH: `${join(root, "node_modules/.bin")}:${process.env["PATH"]}` });
  if (!path) console.log(`skipped: no ${name} here to run the client in`);
  test.skipIf(!path)(
    `it works in ${name}, and lets the process end`,
    async () => {
      const run = Bun.spawn([path!, ...args, join(dir, "main.mjs"), server.url], {
        stderr: "pipe",
        env: { ...process.env, NO_COLOR: "1" },
      });
      const [out, err, code] = await Promise.all([
        new Response(run.stdout).text(),
        new Response(run.stderr).text(),
        run.exited,
      ]);
      expect({ err: code === 0 ? "" : err, code }).toEqual({ err: "", code: 0 });
      const said = JSON.parse(out) as { transport: string };
      const { transport: used, ...rest } = said;
      expect(used).toMatch(transport);
      const kinds = ["open", "item", "item", "end"];
      expect(rest).toEqual({ n: 42, words: 5050, sum: 4950, kinds, duplicate: false } as never);
    },
    60_000,
  );
}

test("the declarations are enough for a project that has only the package", async () => {
  await buildTypes(join(dir, "dist"));
  const { exports } = (await Bun.file(join(root, "package.json")).json()) as { exports: unknown };
  const modules = join(dir, "node_modules");
  await mkdir(join(modules, "backtalk"), { recursive: true });
  await Bun.write(
    join(modules, "backtalk/package.json"),
    JSON.stringify({ name: "backtalk", type: "module", exports }),
  );
  await symlink(join(dir, "dist"), join(modules, "backtalk/dist"));
  for (const name of ["@standard-schema", "zod"]) await symlink(join(root, "node_modules", name), join(modules, name));
  await Bun.write(
    join(dir, "service.ts"),
    `import { service, unary, serverStream } from "backtalk"; import { z } from "zod";
     export default service("s", {
       half: unary({ input: z.object({ n: z.number() }), output: z.number() }, ({ n }) => n / 2),
       tell: serverStream({ input: z.object({}), item: z.object({ word: z.string() }) }, async function* () { yield { word: "" }; }),
     });`,
  );
  const main = (extra: string) =>
    Bun.write(
      join(dir, "main.ts"),
      `import { createClient } from "backtalk/client"; import type s from "./service.js";
       const client = createClient<typeof s>("http://localhost");
       const half: number = await client.s.half({ n: 1 });
       for await (const { word } of client.s.tell({})) { const text: string = word; void text; }
       void half; ${extra}`,
    );
  const compile = (module: string, resolution: string) =>
    Bun.spawnSync(
      [
        join(root, "node_modules/.bin/tsc"),
        "--noEmit",
        "--strict",
        "--target",
        "esnext",
        "--module",
        module,
        "--moduleResolution",
        resolution,
        "--types",
        "",
        "--preserveSymlinks",
        join(dir, "main.ts"),
      ],
      { cwd: dir },
    ).stdout.toString();
  await Bun.write(join(dir, "package.json"), '{"type":"module"}');
  await main("");
  expect(compile("nodenext", "nodenext")).toBe("");
  expect(compile("esnext", "bundler")).toBe("");
  await main('await client.s.half({ n: "1" });');
  expect(compile("nodenext", "nodenext")).toContain("is not assignable to type 'number'");
}, 180_000);
