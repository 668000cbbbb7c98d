/** `--trace`: what went over the wire and when, like `curl --trace-time`. */
import { harmless } from "./screen.ts";
import { bytesText } from "./values.ts";

/** As the clients of the transports tell it: `*` is a remark, `>` was sent, `<` was received. */
export type Direction = "*" | ">" | "<";

export interface TraceOptions {
  readonly print: (line: string) => void;
  /** Milliseconds, as precise as there are. */
  readonly now: () => number;
  /** Milliseconds since 1970 at the start. */
  readonly startedAt: number;
}

/** Lines of `time  +ms since the start  direction  bytes  text`. */
export function tracer({ print, now, startedAt }: TraceOptions): (direction: Direction, text: string) => void {
  const began = now();
  let isFirst = true;
  return (direction, text) => {
    if (isFirst) print(`${"time".padEnd(12)}  ${"since start".padStart(12)}     bytes  * about  > sent  < received`);
    isFirst = false;
    const since = now() - began;
    const time = new Date(startedAt + since).toISOString().slice(11, 23);
    const bytes = direction === "*" ? "" : bytesText(Buffer.byteLength(text));
    for (const [index, line] of text.replace(/\n+$/, "").split(/\r?\n/).entries()) {
      const columns = `${time}  ${`+${since.toFixed(2)} ms`.padStart(12)}  ${(index === 0 ? bytes : "").padStart(8)}`;
      print(`${columns}  ${direction} ${shorten(harmless(line))}`);
    }
  };
}

const LONGEST = 1_000;

function shorten(line: string): string {
  return line.length <= LONGEST ? line : `${line.slice(0, LONGEST)}… (${line.length.toLocaleString("en")} characters)`;
}
