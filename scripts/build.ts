/** `npm run build`: what the package has besides the sources: JavaScript for Node, Deno and browsers, and declarations. */
import { cp, mkdir, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { PAGE_FILES } from "../src/describe/page.ts";
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
const upload = await Bun.build({
  entrypoints: [join(root, "src/uploads/client.ts")],
  outdir: dist,
  naming: "upload.js",
  target: "browser",
  format: "esm",
});
// Its sockets are those of Node.
const tcp = await Bun.build({
  entrypoints: [join(root, "src/transports/tcp/client.ts")],
  outdir: dist,
  naming: "tcp.js",
  target: "node",
  format: "esm",
});
const connect = await Bun.build({
  entrypoints: [join(root, "src/transports/rpc/client.ts")],
  outdir: dist,
  naming: "connect.js",
  target: "browser",
  format: "esm",
});
// HTTP/2 is Node's.
const grpc = await Bun.build({
  entrypoints: [join(root, "src/transports/rpc/client-grpc.ts")],
  outdir: dist,
  naming: "grpc.js",
  target: "node",
  format: "esm",
});
const types = await buildTypes(dist);
// The page of `/docs` comes with the package: it has to work without a network, and pulls in no dependency.
const page = dirname(Bun.resolveSync("swagger-ui-dist/package.json", root));
await mkdir(join(dist, "docs"), { recursive: true });
for (const name of [...PAGE_FILES, "LICENSE", "NOTICE"]) await cp(join(page, name), join(dist, "docs", name));
const kB = (n: number) => `${(n / 1000).toFixed(1)} kB`;
console.log(`dist/client.js  minified ${kB(bytes)}, ${kB(gzip)} gzip, ${kB(brotli)} brotli`);
console.log(`dist/index.js   ${kB(contract.outputs[0]!.size)}`);
console.log(`dist/upload.js  ${kB(upload.outputs[0]!.size)}`);
console.log(`dist/tcp.js     ${kB(tcp.outputs[0]!.size)}`);
console.log(`dist/connect.js ${kB(connect.outputs[0]!.size)}`);
console.log(`dist/grpc.js    ${kB(grpc.outputs[0]!.size)}`);
console.log(`dist/types      ${types} declarations`);
console.log("dist/docs       the page of /docs");
