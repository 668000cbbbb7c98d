/** Reads many streams over one version of HTTP, and notes when something came for each. */
import { monotonic, openLibc } from "../../wire/libc.ts";
import { serveProgram } from "../../wire/program.ts";

const now = monotonic(openLibc());

type Protocol = "http1.1" | "http2" | "http3";

serveProgram({
  /** For each stream the times at which bytes came, in nanoseconds, and how many. */
  async stream(
    url: string,
    protocol: Protocol,
    streams: number,
    query: { bytes: number; every: number; count: number },
  ) {
    const options = { protocol, tls: { rejectUnauthorized: false } } as RequestInit;
    // The connection stands before the streams begin: they share it.
    await (await fetch(`${url}/object`, options)).bytes();
    return await Promise.all(
      Array.from({ length: streams }, async (_, n) => {
        const first = 100 + (n * query.every) / streams;
        const search = `bytes=${query.bytes}&every=${query.every}&count=${query.count}&first=${first}`;
        const response = await fetch(`${url}/stream?${search}`, options);
        const came: [at: number, bytes: number][] = [];
        for await (const bytes of response.body!) came.push([now(), bytes.length]);
        return came;
      }),
    );
  },
  /** Milliseconds until all objects of a page have come; a browser's number of connections for HTTP/1.1. */
  async page(url: string, protocol: Protocol, objects: number, atOnce: number): Promise<number> {
    const options = { protocol, tls: { rejectUnauthorized: false } } as RequestInit;
    await (await fetch(`${url}/object`, options)).bytes();
    const began = performance.now();
    let next = 0;
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        while (next++ < objects) {
          const { length } = await (await fetch(`${url}/object`, options)).bytes();
          if (length !== 20_000) throw new Error(`an object has ${length} bytes`);
        }
      }),
    );
    return performance.now() - began;
  },
});
