/** Whether the link is what it was told to be: UDP echoes between two hosts, before any result is believed. */
import type { Host } from "./index.ts";

export interface LinkCheck {
  /** Median round trip of the echoes, and the 99th percentile above it, in milliseconds. */
  readonly rttMs: number;
  readonly p99Ms: number;
  /** Echoes that came back of those that were sent. */
  readonly answered: number;
  readonly sent: number;
}

const ECHO = new URL("./echo.ts", import.meta.url);

export async function checkLink(client: Host, server: Host, count = 50, everyMs = 4): Promise<LinkCheck> {
  const [echo, asker] = await Promise.all([server.start(ECHO), client.start(ECHO)]);
  try {
    const port = await echo.call<number>("serve", server.address);
    const times = await asker.call<number[]>("ask", server.reachedAt, port, count, everyMs);
    const sorted = times.toSorted((a, b) => a - b);
    const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
    return { rttMs: at(0.5), p99Ms: at(0.99), answered: times.length, sent: count };
  } finally {
    await Promise.all([echo.stop(), asker.stop()]);
  }
}
