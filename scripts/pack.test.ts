/** The package as npm makes it: in an empty project its command and its subpath exports work. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cp, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dir, "..");
let directory: string;
let project: string;

/** No install scripts: newer versions of npm do not run them either. */
const NPM = ["--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "backtalk-pack-"));
  project = join(directory, "project");
  await mkdir(project);
  // Built and packed from a copy: tests beside this one may build in the checkout.
  const copy = join(directory, "copy");
  await mkdir(copy);
  for (const name of [
    "cli",
    "lab",
    "scripts",
    "src",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "PROTOCOL.md",
  ]) {
    await cp(join(root, name), join(copy, name), { recursive: true });
  }
  await run(copy, ["ln", "-s", join(root, "node_modules"), "node_modules"]);
  await run(copy, ["npm", "pack", "--silent", "--pack-destination", directory]);
  const tarball = (await readdir(directory)).find((name) => name.endsWith(".tgz"))!;
  await Bun.write(join(project, "package.json"), '{"private":true,"type":"module"}');
  await run(project, ["npm", "install", ...NPM, join(directory, tarball), "zod@4.6.7"]);
}, 180_000);

afterAll(() => rm(directory, { recursive: true, force: true }));

async function run(cwd: string, command: string[]): Promise<string> {
  // Whoever runs the tests may have set its own; npm would take them for this project's.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("npm_")));
  const child = Bun.spawn(command, { cwd, stdout: "pipe", stderr: "pipe", env });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")} failed:\n${out}${err}`);
  return out;
}

describe("the package", () => {
  test("has no tests, no examples and no tools", async () => {
    const files = await readdir(join(project, "node_modules/backtalk"), { recursive: true });
    expect(files.filter((file) => /\.test\.|testing|^(suites|bench|examples)/.test(file))).toEqual([]);
    const wanted = [
      "dist/client.js",
      "dist/docs/swagger-ui.css",
      "dist/types/client/index.d.ts",
      "cli/main.ts",
      "src/index.ts",
      "scripts/bun.mjs",
      "lab/report/page/style.css",
      "lab/report/run.schema.json",
    ];
    expect(files).toEqual(expect.arrayContaining(wanted));
  });

  test("its command finds its Bun, though no install script has run", async () => {
    expect(await run(project, ["npx", "backtalk", "version"])).toMatch(/^backtalk \d+\.\d+\.\d+ \(Bun 1\.4\.5\)\n$/);
  }, 60_000);

  test("has the lab in it", async () => {
    const listed = JSON.parse(await run(project, ["npx", "backtalk", "lab", "--json"])) as { name: string }[];
    expect(listed.map(({ name }) => name)).toContain("nagle");
  }, 60_000);

  test("serves a file of the project, and its client in Node is typed and talks to it", async () => {
    const service = await Bun.file(join(root, "examples/first/service.ts")).text();
    await Bun.write(join(project, "service.ts"), service);
    const bin = join(project, "node_modules/.bin/backtalk");
    const ports = ["--port", "0", "--no-tls", "--json"];
    const server = Bun.spawn([bin, "serve", "service.ts", ...ports], {
      cwd: project,
      stdout: "pipe",
      stderr: "ignore",
    });
    try {
      const { value } = await server.stdout.getReader().read();
      const { listeners } = JSON.parse(new TextDecoder().decode(value)) as { listeners: { url: string }[] };
      const [{ url }] = listeners as [{ url: string }];
      expect(await run(project, [bin, "call", url, "first.hello", '{"name":"Ada"}'])).toBe('{"text":"Hello, Ada!"}\n');
      await Bun.write(
        join(project, "client.ts"),
        `import { createClient } from "backtalk/client";
         import type first from ${JSON.stringify("./service.ts")};
         const client = createClient<typeof first>(${JSON.stringify(url)});
         const { text }: { text: string } = await client.first.hello({ name: "Bob" });
         // @ts-expect-error: a name is text
         const wrong = () => client.first.hello({ name: 1 });
         console.log(text, typeof wrong);
         client.close();`,
      );
      await Bun.write(join(project, "tsconfig.json"), TSCONFIG);
      await run(project, [join(root, "node_modules/.bin/tsc"), "--noEmit"]);
      await run(project, [process.execPath, "build", "client.ts", "--packages=external", "--outfile=client.mjs"]);
      expect(await run(project, ["node", "client.mjs"])).toBe("Hello, Bob! function\n");
      expect(await run(project, [process.execPath, "client.ts"])).toBe("Hello, Bob! function\n");
    } finally {
      // To the command, which passes it on.
      server.kill("SIGTERM");
    }
    expect(await server.exited).toBe(0);
  }, 60_000);

  test("its other exports load", async () => {
    const program = `
      import { service } from "backtalk";
      import { createClient } from "backtalk/client";
      import { memoryStore, startServer } from "backtalk/server";
      import { unary } from "backtalk";
      import { z } from "zod";
      const schema = z.object({ n: z.number() });
      const own = service("own", {
        double: unary({ input: schema, output: schema }, ({ n }) => ({ n: 2 * n })),
        secret: unary({ input: schema, output: schema }, (input) => input),
      });
      const server = await startServer({
        services: [own],
        store: memoryStore(),
        hostname: "127.0.0.1",
        plain: { port: 0, isAsked: true },
        authorize: (_, action) => action.name !== "own/secret",
        deflate: true,
        version: "1",
      });
      const client = createClient(server.listeners[0].url);
      const refused = await client.own.secret({ n: 1 }).catch((fault) => fault.code);
      console.log((await client.own.double({ n: 21 })).n, refused);
      client.close();
      await server.stop();
      process.exit(0);`;
    expect(await run(project, [process.execPath, "-e", program])).toBe("42 permission_denied\n");
    const inNode = `import("backtalk").then(({ service }) => console.log(typeof service))`;
    expect(await run(project, ["node", "-e", inNode])).toBe("function\n");
  }, 60_000);
});

const TSCONFIG = JSON.stringify({
  compilerOptions: {
    target: "ESNext",
    module: "NodeNext",
    lib: ["ESNext", "DOM", "DOM.Iterable"],
    types: [],
    strict: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    skipLibCheck: false,
  },
  include: ["client.ts"],
});
