/**
 * Load over HTTP: wrk and h2load where they are installed (they need a fraction of what the server needs),
 * else generators of our own. On a machine with few cores the generator can be what limits, so the CPU time
 * of the server for each request is measured besides.
 */
import { join } from "node:path";
import { Missing } from "./bench.ts";
import { cpuUs, output } from "./proc.ts";

export type Protocol = "h1" | "h2" | "h3";

export interface Load {
  readonly url: string;
  readonly body: string;
  readonly connections: number;
  readonly seconds: number;
  /** Where a generator's own files go. */
  readonly dir: string;
  /** Each request gets an `Idempotency-Key` of its own, which begins so. */
  readonly keys?: string;
}

export interface Sample {
  readonly perSecond: number;
  /** Of the server, for each request, in µs. */
  readonly cpu: number | undefined;
  /** Of the requests, in ms. */
  readonly p50: number | undefined;
  readonly p99: number | undefined;
}

interface Counted {
  readonly requests: number;
  readonly perSecond: number;
  readonly failed: number;
  readonly p50?: number | undefined;
  readonly p99?: number | undefined;
}

/** Streams at once on each connection of h2 and h3. */
const STREAMS = 32;
const H3_PROCESSES = 2;
const here = (file: string) => join(import.meta.dir, "..", "load", file);

/** @throws Missing when there is no generator; Error when a request fails: a benchmark of failures says nothing. */
export async function measure(protocol: Protocol, load: Load, pid: number): Promise<Sample> {
  const before = cpuUs(pid);
  const counted = await GENERATORS[protocol](load);
  const after = cpuUs(pid);
  if (counted.failed > 0 || counted.requests === 0) {
    throw new Error(`${counted.failed} requests failed, ${counted.requests} were answered: ${load.url}`);
  }
  return {
    perSecond: counted.perSecond,
    cpu: before === undefined || after === undefined ? undefined : (after - before) / counted.requests,
    p50: counted.p50,
    p99: counted.p99,
  };
}

/** What makes the load, for the output. */
export function generator(protocol: Protocol): string {
  if (protocol === "h1") return Bun.which("wrk") ? "wrk" : "own generator on raw sockets (wrk is not installed)";
  if (protocol === "h2") return `h2load, ${STREAMS} streams a connection`;
  return `fetch of Bun, ${H3_PROCESSES} processes of ${STREAMS} requests at once`;
}

const GENERATORS: Record<Protocol, (load: Load) => Promise<Counted>> = {
  h1: (load) => (Bun.which("wrk") ? wrk(load) : own("h1.ts", load, 1)),
  h2: h2load,
  h3: (load) => own("h3.ts", { ...load, connections: STREAMS }, H3_PROCESSES),
};

async function wrk({ url, body, connections, seconds, dir, keys }: Load): Promise<Counted> {
  const script = join(dir, `wrk-${crypto.randomUUID()}.lua`);
  await Bun.write(script, lua(body, keys));
  const text = await output(
    ["wrk", "-t1", `-c${connections}`, `-d${seconds}s`, "--latency", "--timeout", "10s", "-s", script, url],
    (seconds + 30) * 1000,
  );
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text);
  const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0);
  return {
    requests: Number(/(\d+) requests in/.exec(text)?.[1] ?? 0),
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1] ?? 0),
    failed: refused + (errors ? errors.slice(1).reduce((sum, count) => sum + Number(count), 0) : 0),
    p50: duration(/50%\s+(\S+)/.exec(text)?.[1]),
    p99: duration(/99%\s+(\S+)/.exec(text)?.[1]),
  };
}

function lua(body: string, keys: string | undefined): string {
  const head = `wrk.method = "POST"\nwrk.body = '${body}'\nwrk.headers["Content-Type"] = "application/json"\n`;
  if (keys === undefined) return head;
  return `${head}local n = 0
request = function()
  n = n + 1
  wrk.headers["Idempotency-Key"] = "${keys}-" .. n
  return wrk.format()
end
`;
}

async function h2load({ url, body, connections, seconds, dir }: Load): Promise<Counted> {
  if (!Bun.which("h2load")) {
    throw new Missing("h2load is not installed: apt-get install nghttp2-client (Debian), brew install nghttp2 (macOS)");
  }
  const file = join(dir, `h2load-${crypto.randomUUID()}.json`);
  await Bun.write(file, body);
  const command = ["h2load", "-D", String(seconds), "-c", String(connections), "-m", String(STREAMS)];
  const text = await output(
    [...command, "-d", file, "-H", "content-type: application/json", url],
    (seconds + 30) * 1000,
  );
  const codes = /status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx/.exec(text);
  return {
    requests: Number(codes?.[1] ?? 0),
    perSecond: Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(text)?.[1] ?? 0),
    failed: Number(codes?.[3] ?? 0) + Number(codes?.[4] ?? 0),
  };
}

async function own(file: string, load: Load, processes: number): Promise<Counted> {
  const command = [process.execPath, here(file), JSON.stringify(load)];
  const run = async (): Promise<Counted> => JSON.parse(await output(command, (load.seconds + 30) * 1000));
  const all = await Promise.all(Array.from({ length: processes }, run));
  const sum = (of: (counted: Counted) => number) => all.reduce((total, counted) => total + of(counted), 0);
  const [first] = all;
  return {
    requests: sum(({ requests }) => requests),
    perSecond: sum(({ perSecond }) => perSecond),
    failed: sum(({ failed }) => failed),
    p50: first?.p50,
    p99: first?.p99,
  };
}

function duration(text: string | undefined): number | undefined {
  const match = /^([\d.]+)(us|ms|s)$/.exec(text ?? "");
  return match ? Number(match[1]) * { us: 0.001, ms: 1, s: 1000 }[match[2] as "us" | "ms" | "s"] : undefined;
}
