/** What a link between two hosts carries: TCP at full speed, and echoes of UDP while nothing else goes on. */
import type { Program } from "../../lab/wire/program.ts";

/** Starts a program on a host of the link. */
export type Start = (module: URL) => Promise<Program>;

export interface Line {
  /** Of what the applications sent, per second. */
  readonly bitsPerSecond: number;
  /** Of echoes of 106 bytes, in milliseconds. */
  readonly rttP50: number;
  readonly rttP99: number;
}

const ECHOES = 300;
/** At first windows grow. */
const WARM_MS = 500;

/** `onStream` is called when the stream begins, after the echoes. */
export async function lineOf(
  from: Start,
  to: Start,
  address: string,
  seconds: number,
  onStream: () => Promise<void> = async () => {},
): Promise<Line> {
  const echo = new URL("../../lab/wire/echo.ts", import.meta.url);
  const stream = new URL("./stream.ts", import.meta.url);
  const programs = await Promise.all([from(echo), to(echo), from(stream), to(stream)]);
  try {
    const [asker, answerer, sender, taker] = programs;
    const echoPort = await answerer.call<number>("serve", address);
    await asker.call("ask", address, echoPort, 20);
    const times = (await asker.call<number[]>("ask", address, echoPort, ECHOES)).toSorted((a, b) => a - b);
    await onStream();
    const port = await taker.call<number>("take", address);
    const sending = sender.call("send", address, port, WARM_MS + seconds * 1e3 + WARM_MS);
    await Bun.sleep(WARM_MS);
    const before = await taker.call<{ bytes: number; at: number }>("received");
    await Bun.sleep(seconds * 1e3);
    const after = await taker.call<{ bytes: number; at: number }>("received");
    await sending;
    const at = (part: number) => times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? Number.NaN;
    return {
      bitsPerSecond: ((after.bytes - before.bytes) * 8e3) / (after.at - before.at),
      rttP50: at(0.5),
      rttP99: at(0.99),
    };
  } finally {
    await Promise.all(programs.map((program) => program.stop()));
  }
}
