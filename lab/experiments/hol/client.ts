/** Reads many streams over one version of HTTP, and notes when something came for each. */
import { monotonic, openLibc } from "../../wire/libc.ts";
import { serveProgram } from "../../wire/program.ts";
import { type Target, visit } from "./visit.ts";

const now = monotonic(openLibc());
const keyLog: string[] = [];

serveProgram({
  /** For each stream the times at which bytes came, in nanoseconds, and how many. */
  async stream(target: Target, streams: number, query: { bytes: number; every: number; count: number }) {
    const { get, close } = await visit(target, (line) => keyLog.push(line));
    // The connection stands before the streams begin: they share it.
    await read(get("/object"));
    const came = await Promise.all(
      Array.from({ length: streams }, async (_, n) => {
        const first = 100 + (n * query.every) / streams;
        const search = `bytes=${query.bytes}&every=${query.every}&count=${query.count}&first=${first}`;
        const came: [at: number, bytes: number][] = [];
        for await (const { length } of get(`/stream?${search}`)) came.push([now(), length]);
        return came;
      }),
    );
    await close();
    return came;
  },
  /** Milliseconds until all objects of a page have come; a browser's number of connections for HTTP/1.1. */
  async page(target: Target, objects: number, atOnce: number): Promise<number> {
    const { get, close } = await visit(target);
    await read(get("/object"));
    const began = performance.now();
    let next = 0;
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        while (next++ < objects) {
          const length = await read(get("/object"));
          if (length !== 20_000) throw new Error(`an object has ${length} bytes`);
        }
      }),
    );
    const took = performance.now() - began;
    await close();
    return took;
  },
  keyLog: () => keyLog,
});

async function read(pieces: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const { length } of pieces) bytes += length;
  return bytes;
}
