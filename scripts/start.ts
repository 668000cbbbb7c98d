/** `npm start`: serves the studio example, makes a real call over each transport, and stays up. */
import { join, resolve } from "node:path";
import { readArgs, type Spec } from "../cli/args.ts";
import { banner, friendly, speaks } from "../cli/banner.ts";
import { aborted } from "../cli/commands/serve.ts";
import { HTTP_VIAS, peerOf, VIAS, type Via } from "../cli/connect.ts";
import { explain } from "../cli/exit.ts";
import { catchInterrupt } from "../cli/interrupt.ts";
import { logger } from "../cli/log.ts";
import { hasPage } from "../cli/parts/describe.ts";
import { PART_OPTIONS, partsOf } from "../cli/parts/index.ts";
import { HTTP_PORT, portOf } from "../cli/parts/ports.ts";
import { Screen } from "../cli/screen.ts";
import { openStore } from "../cli/store.ts";
import { commandLines, table, wrap } from "../cli/table.ts";
import { trustOf } from "../cli/trust.ts";
import { durationText } from "../cli/values.ts";
import studio from "../examples/studio/service.ts";
import packageJson from "../package.json";
import { ANONYMOUS, type Peer } from "../src/contract/index.ts";
import { Fault } from "../src/log/index.ts";
import { developmentCertificate } from "../src/net/certificate.ts";
import { type Running, startServer } from "../src/start.ts";

const root = resolve(import.meta.dir, "..");
const directory = join(root, ".backtalk");
const spec: Spec = {
  name: "start",
  summary: "",
  positionals: [],
  options: {
    port: { value: "PORT", what: "", number: { max: 65_535, whole: true } },
    "tls-port": { value: "PORT", what: "", number: { max: 65_535, whole: true } },
    store: { value: "STORE", what: "" },
    ...PART_OPTIONS,
  },
  examples: [],
};

const hostname = "127.0.0.1";
const screen = new Screen({ out: process.stdout, err: process.stderr, env: process.env });
const interrupt = catchInterrupt((code) => process.exit(code));
try {
  await start();
} catch (thrown) {
  const { code, lines } = explain(thrown);
  screen.explain(lines.map((line) => line.replace("(--store sqlite:PATH)", "(npm start -- --store sqlite:PATH)")));
  const port = thrown instanceof Fault && thrown.detail?.["port"];
  if (port) screen.note("From here: npm start -- --port 4500 (the other ports move with it)");
  process.exit(code);
}
process.exit(0);

async function start(): Promise<void> {
  const args = readArgs(spec, process.argv.slice(2));
  const store = await openStore(args.text("store") ?? `sqlite:${join(directory, "studio.sqlite")}`, "full");
  const certificate = await developmentCertificate({ directory });
  const running = await startServer({
    services: [studio],
    store,
    hostname,
    plain: portOf(args, "port", HTTP_PORT),
    tls: { ...portOf(args, "tls-port", 4443), ...certificate },
    logger: logger("defects", !screen.canDraw, (line) => screen.note(line)),
    version: packageJson.version,
    parts: partsOf({ args, hostname, file: join(root, "examples/studio/service.ts"), certificate, screen, store }),
  });
  const about = { running, services: [studio], store, certificate: certificate.path, hasAuth: false };
  // The table of addresses comes with what was measured.
  const lines = banner(about, screen.style);
  await screen.printAll(lines.slice(0, lines.indexOf("") + 1));
  const { width } = screen.style;
  const what = "Over each transport: a thumbnail twice (UDP: a number), 6 events 20 ms apart ...";
  await screen.printAll(wrap(what, width));
  await screen.print("");
  const rows: string[][] = [];
  for (const via of VIAS) rows.push(...(await measured(via, running)));
  const header = ["TRANSPORT", "ADDRESS", "FIRST", "AGAIN", "EVENTS"];
  await screen.printAll(table(header, rows, screen.style));
  const url = friendly(running.listeners[0]!.url).replace("http://", "");
  const grpc = urlOf("grpc", running)?.replace("grpc://", "");
  const commands = [
    `./backtalk call ${url} studio.isPrime '{"n":97}'`,
    `./backtalk call ${url} studio.tell '{"prompt":"a fox"}' --via websocket`,
    ...(grpc === undefined ? [] : [`grpcurl -plaintext ${grpc} list`]),
    `curl -N -H 'accept: text/event-stream' -d '{"from":5}' http://${url}/studio/countdown`,
  ];
  await screen.printAll([
    "",
    "Up. In another terminal:",
    ...commands.flatMap((each) => commandLines(each, width)),
    ...wrap("    (its first event, `verdict`, says whether the reader has missed anything)", width),
    "",
    ...(hasPage(args) ? wrap(`In a browser, to try every method: http://${url}/docs`, width) : []),
    "Ctrl-C stops it.",
  ]);
  await aborted(interrupt.signal);
  screen.explain(["Stopping: running calls may finish, readers are told to come back. Once more ends it at once."]);
  await running.stop();
}

/** The row of a transport: what was seen, or why nothing was. Nothing for one that was not asked for. */
async function measured(via: Via, running: Running): Promise<string[][]> {
  const url = urlOf(via, running);
  if (url === undefined) return HTTP_VIAS.includes(via) ? [[via, "not spoken here", "", "", ""]] : [];
  const { peer, close } = peerOf(url, { via, trust: trustOf(url, { directories: [directory] }) });
  const address = via === "websocket" ? `${url.replace(/^http/, "ws")}/ws` : url;
  // One datagram holds no picture, and there are no streams of them.
  const isSmall = via === "udp";
  try {
    const call = isSmall ? () => isPrime(peer) : () => thumbnail(peer);
    const [first, again] = [await timed(call), await timed(call)];
    const events = isSmall ? "-" : durationText(await timed(() => countdown(peer)));
    return [[via, address, durationText(first), durationText(again), events]];
  } catch (thrown) {
    return [[via, address, explain(thrown).lines[0] ?? "failed", "", ""]];
  } finally {
    close();
  }
}

function urlOf(via: Via, { listeners, addresses }: Running): string | undefined {
  const other = addresses.find((each) => each.via === via)?.url;
  if (other !== undefined) return friendly(other);
  if (!HTTP_VIAS.includes(via)) return undefined;
  const isSecure = via === "http2" || via === "http3";
  const listener = listeners.find(
    ({ url, protocols }) => url.startsWith(isSecure ? "https" : "http:") && speaks(via, protocols),
  );
  return listener && friendly(listener.url);
}

async function isPrime(peer: Peer): Promise<void> {
  const exchange = await peer({ to: "studio/isPrime", input: { n: 97 }, principal: ANONYMOUS, via: "start" });
  const { prime } = (await exchange.result()) as { prime: boolean };
  if (!prime) throw new Fault("internal", "97 is a prime, and the answer says no");
}

async function thumbnail(peer: Peer): Promise<void> {
  const image = Buffer.from(await Bun.file(join(root, "examples/studio/photo.jpg")).bytes()).toString("base64");
  const exchange = await peer({
    to: "studio/thumbnail",
    input: { image, width: 64 },
    principal: ANONYMOUS,
    via: "start",
  });
  const { width } = (await exchange.result()) as { width: number };
  if (width !== 64) throw new Fault("internal", `the thumbnail is ${width} pixels wide, not 64`);
}

async function countdown(peer: Peer): Promise<void> {
  const input = { from: 5, intervalMs: 20 };
  const exchange = await peer({
    to: "studio/countdown",
    input,
    key: crypto.randomUUID(),
    principal: ANONYMOUS,
    via: "start",
  });
  const seen: unknown[] = [];
  for await (const { events } of exchange.read({ from: "start", follow: true })) {
    for (const { kind, json } of events) if (kind === "item") seen.push((JSON.parse(json) as { n: number }).n);
  }
  if (seen.join() !== "5,4,3,2,1,0") throw new Fault("internal", `the countdown was ${seen.join()}`);
}

async function timed(run: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await run();
  return performance.now() - began;
}
