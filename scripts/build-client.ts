/**
 * Builds what npm gets of `backtalk/client`: `dist/client.js` (one ES module for browsers, Node, Deno and Bun,
 * readable where an error shows its lines), `dist/client.min.js` (the same for a page without a bundler), and
 * the declarations of every entry in `dist/types`. Prints the size. `bun scripts/build-client.ts [DIR]`
 */
import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";

const root = resolve(import.meta.dir, "..");

export interface ClientBuild {
  readonly file: string;
  /** Sizes of the minified one. */
  readonly bytes: number;
  readonly gzip: number;
  readonly brotli: number;
  /** What it is made of: paths below the root. */
  readonly modules: readonly string[];
}

/** @throws Error when the build fails, or needs something that a browser has not */
export async function buildClient(dist = join(root, "dist")): Promise<ClientBuild> {
  const modules: string[] = [];
  const common = {
    entrypoints: [join(root, "src/client/index.ts")],
    outdir: dist,
    target: "browser" as const,
    format: "esm" as const,
  };
  await Bun.build({ ...common, naming: "client.js" });
  const result = await Bun.build({
    ...common,
    naming: "client.min.js",
    minify: true,
    plugins: [
      {
        name: "modules",
        setup(build) {
          build.onLoad({ filter: /\.ts$/ }, ({ path }) => {
            modules.push(path.slice(root.length + 1));
            return undefined;
          });
        },
      },
    ],
  });
  const text = await result.outputs[0]!.text();
  const imported = /\bimport\s*[({"'*\w]|\brequire\(|\bBun\.|\bprocess\./.exec(text);
  if (imported)
    throw new Error(
      `the client would need more than a browser has: ${text.slice(imported.index, imported.index + 60)}`,
    );
  return {
    file: join(dist, "client.js"),
    bytes: Buffer.byteLength(text),
    gzip: gzipSync(text, { level: 9 }).length,
    brotli: brotliCompressSync(text).length,
    modules: modules.sort(),
  };
}

/**
 * The declarations of `backtalk`, `backtalk/client` and `backtalk/server`. Their imports are rewritten to
 * `.js`, which every compiler since TypeScript 4.7 resolves to the declaration beside it.
 */
export async function buildTypes(dist = join(root, "dist")): Promise<number> {
  const out = join(dist, "types");
  const tsc = join(root, "node_modules/.bin/tsc");
  const { exitCode, stdout } = Bun.spawnSync([tsc, "-p", join(root, "scripts/tsconfig.types.json"), "--outDir", out]);
  if (exitCode !== 0) throw new Error(`the declarations cannot be made:\n${stdout}`);
  const files = (await readdir(out, { recursive: true })).filter((file) => file.endsWith(".d.ts"));
  for (const file of files) {
    const path = join(out, file);
    const text = await Bun.file(path).text();
    await Bun.write(path, text.replace(/((?:from|import\()\s*"\.{1,2}\/[^"]+)\.ts"/g, '$1.js"'));
  }
  return files.length;
}

if (import.meta.main) {
  const dist = resolve(process.argv[2] ?? join(root, "dist"));
  const { file, bytes, gzip, brotli } = await buildClient(dist);
  const types = await buildTypes(dist);
  const kB = (n: number) => `${(n / 1000).toFixed(1)} kB`;
  console.log(`${file}: minified ${kB(bytes)}, ${kB(gzip)} gzip, ${kB(brotli)} brotli`);
  console.log(`${join(dist, "types")}: ${types} declarations`);
}
