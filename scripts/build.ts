/** `npm run build`: what the package has besides the sources: JavaScript for Node, Deno and browsers, and declarations. */
import { rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { buildClient, buildTypes } from "./build-client.ts";

const root = resolve(import.meta.dir, "..");
const dist = join(root, "dist");

await rm(dist, { recursive: true, force: true });
const { bytes, gzip, brotli } = await buildClient(dist);
const contract = await Bun.build({
  entrypoints: [join(root, "src/index.ts")],
  outdir: dist,
  naming: "index.js",
  target: "browser",
  format: "esm",
});
const types = await buildTypes(dist);
const kB = (n: number) => `${(n / 1000).toFixed(1)} kB`;
console.log(`dist/client.js  minified ${kB(bytes)}, ${kB(gzip)} gzip, ${kB(brotli)} brotli`);
console.log(`dist/index.js   ${kB(contract.outputs[0]!.size)}`);
console.log(`dist/types      ${types} declarations`);
