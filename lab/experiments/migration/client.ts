/** Three clients that go on while their address changes: a line every 50 ms over TCP and QUIC, and a Backtalk stream. */
import { connect } from "node:net";
import * as quic from "node:quic";
import { createClient } from "../../../src/client/index.ts";
import type { Congestion } from "../../conditions.ts";
import { monotonic, openLibc } from "../../wire/libc.ts";
import { serveProgram } from "../../wire/program.ts";
import { ITEMS, type story } from "./story.ts";

const EVERY_MS = 50;
/** Longer than the story takes; what has not come by then waits for a silence to be noticed. */
const PATIENCE_MS = 8_000;
const now = monotonic(openLibc());

/** What a client can say of it. */
export interface Told {
  /** When each line came back, or each item came: nanoseconds. */
  readonly at: readonly number[];
  /** What the program saw break, and when. */
  readonly broke?: { readonly at: number; readonly how: string };
  /** Everything came once and in order, as far as it was sent. */
  readonly isWhole: boolean;
}

const clients: Record<string, { readonly begun: Promise<void>; end(): Promise<Told> }> = {};
const keyLog: string[] = [];

serveProgram({
  async begin(
    address: string,
    ports: { tcp: number; quic: number; backtalk: number },
    congestion: Congestion,
  ): Promise<void> {
    clients["tcp"] = overTcp(address, ports.tcp);
    clients["quic"] = overQuic(address, ports.quic, congestion);
    clients["backtalk"] = overBacktalk(`http://${address}:${ports.backtalk}`);
    await Promise.all(Object.values(clients).map(({ begun }) => begun));
  },
  async end(): Promise<{ told: Record<string, Told>; keyLog: readonly string[] }> {
    const told = await Promise.all(
      Object.entries(clients).map(async ([name, each]) => [name, await each.end()] as const),
    );
    return { told: Object.fromEntries(told), keyLog };
  },
});

/** Numbers that come back as lines. */
class Lines {
  readonly at: number[] = [];
  readonly begun = Promise.withResolvers<void>();
  #text = "";
  #isWhole = true;

  take(bytes: Uint8Array): void {
    const lines = (this.#text + Buffer.from(bytes).toString()).split("\n");
    this.#text = lines.pop() ?? "";
    for (const line of lines) {
      this.#isWhole &&= line === String(this.at.length);
      this.at.push(now());
    }
    if (this.at.length >= 5) this.begun.resolve();
  }

  get isWhole(): boolean {
    return this.#isWhole;
  }
}

function overTcp(address: string, port: number) {
  const lines = new Lines();
  let broke: Told["broke"];
  let sent = 0;
  const socket = connect(port, address);
  const timer = setInterval(() => socket.write(`${sent++}\n`), EVERY_MS);
  socket.on("data", (bytes: Buffer) => lines.take(bytes));
  socket.on("error", (error) => {
    broke ??= { at: now(), how: (error as NodeJS.ErrnoException).code ?? error.message };
    clearInterval(timer);
  });
  return {
    begun: lines.begun.promise,
    async end(): Promise<Told> {
      clearInterval(timer);
      socket.destroy();
      return { at: lines.at, isWhole: lines.isWhole && lines.at.length === sent, ...(broke && { broke }) };
    },
  };
}

function overQuic(address: string, port: number, cc: Congestion) {
  const lines = new Lines();
  let broke: Told["broke"];
  let sent = 0;
  const finished = Promise.withResolvers<void>();
  let timer: ReturnType<typeof setInterval> | undefined;
  let finish = () => {};
  void (async () => {
    const session = await quic.connect(`${address}:${port}`, {
      alpn: "lab",
      cc,
      servername: "localhost",
      rejectUnauthorized: false,
      verifyPeer: "manual",
      endpoint: { address: "0.0.0.0:0" },
      keylog: true,
      onkeylog: (line) => void keyLog.push(line.trim()),
    });
    session.closed.catch(() => {});
    const stream = await session.createBidirectionalStream();
    stream.closed.catch(() => {});
    timer = setInterval(() => stream.writer.writeSync(Buffer.from(`${sent++}\n`)), EVERY_MS);
    finish = () => stream.writer.endSync();
    for await (const chunks of stream) for (const chunk of chunks) lines.take(chunk);
    await session.close();
  })()
    .catch((error: Error) => {
      broke = { at: now(), how: error.message };
    })
    .finally(finished.resolve);
  return {
    begun: lines.begun.promise,
    async end(): Promise<Told> {
      clearInterval(timer);
      finish();
      await Promise.race([finished.promise, Bun.sleep(3_000)]);
      return { at: lines.at, isWhole: lines.isWhole && lines.at.length === sent, ...(broke && { broke }) };
    },
  };
}

function overBacktalk(url: string) {
  let broke: Told["broke"];
  const at: number[] = [];
  const numbers: number[] = [];
  const begun = Promise.withResolvers<void>();
  const client = createClient<typeof story>(url, {
    transport: "sse",
    onRetry: () => {
      broke ??= { at: now(), how: "the client reconnects" };
    },
  });
  const reading = (async () => {
    for await (const { n } of client.story.tell({})) {
      numbers.push(n);
      at.push(now());
      if (at.length === 5) begun.resolve();
    }
    client.close();
  })();
  // It ends with the client when it was not patient enough.
  reading.catch((error) => begun.reject(error));
  return {
    begun: begun.promise,
    async end(): Promise<Told> {
      await Promise.race([reading.catch(() => {}), Bun.sleep(PATIENCE_MS)]);
      client.close();
      const isWhole = numbers.length === ITEMS && numbers.every((n, index) => n === index);
      return { at, isWhole, ...(broke && { broke }) };
    },
  };
}
