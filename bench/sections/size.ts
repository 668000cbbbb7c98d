/** What a browser has to load. */
import { brotliCompressSync, gzipSync } from "node:zlib";
import type { Section } from "../lib/bench.ts";

const AIM = 8 * 1024;
const CLIENT = new URL("../../src/client/index.ts", import.meta.url).pathname;

export const size: Section = {
  name: "size",
  title: "Size of the client for browsers",
  async run() {
    const built = await Bun.build({ entrypoints: [CLIENT], target: "browser", format: "esm", minify: true });
    const bytes = new Uint8Array(await built.outputs[0]!.arrayBuffer());
    const gzipped = gzipSync(bytes, { level: 9 }).length;
    return {
      tables: [
        {
          columns: ["", "minified, bytes", "gzipped, bytes", "brotli, bytes"],
          rows: [["backtalk/client with all transports", bytes.length, gzipped, brotliCompressSync(bytes).length]],
        },
      ],
      aims: [
        {
          what: "client for browsers",
          measured: `${gzipped.toLocaleString("en-US")} bytes gzipped`,
          aim: "under 8 kB",
          met: gzipped < AIM,
        },
      ],
    };
  },
};
