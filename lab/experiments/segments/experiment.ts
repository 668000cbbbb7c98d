import { join } from "node:path";
import { developmentCertificate } from "../../../src/net/certificate.ts";
import { connectionsOf, type Segment } from "../../capture/segments.ts";
import { clientLink } from "../../conditions.ts";
import type { Capture, Experiment, Finding, Network } from "../../experiment.ts";
import { TOO_BUSY } from "../../network.ts";
import { scratch } from "../../wire/scratch.ts";
import type { Way } from "./server.ts";

const BODY = 20_000;

interface Case {
  readonly name: string;
  readonly way: Way;
  /** Of the client's interface (default 1500). */
  readonly mtu?: number;
  /** Bytes that the client's program asks for at once, and whether it begins when all has come. */
  readonly bufferBytes: number;
  readonly isLate: boolean;
  readonly who: string;
  /** Whether what was seen is what theory says; and of it what the reads alone show. */
  readonly isRight: (told: Told) => boolean;
  /** Whether the programs had their turn too late for what they are to show. */
  readonly isBusy?: (told: Told) => boolean;
  readonly isRead?: (reads: readonly number[]) => boolean;
  readonly readsExpected?: string;
  readonly expected: string;
  readonly explain: string;
}

interface Told {
  readonly writes: number;
  readonly segments: readonly Segment[];
  readonly mss: number;
  readonly reads: readonly number[];
}

const WHOLE: Way = { writeBytes: Number.MAX_SAFE_INTEGER, pauseMs: 0, isTls: false };
const most = (values: readonly number[]) => Math.max(0, ...values);
const sum = (values: readonly number[]) => values.reduce((total, each) => total + each, 0);
const isOfBuffer = (reads: readonly number[]) =>
  reads.slice(0, -1).every((bytes) => bytes === 4_096) && reads.length === 5;
const isOfRecords = (reads: readonly number[]) => most(reads) <= 16_384 && sum(reads) >= BODY;

const CASES: readonly Case[] = [
  {
    name: "one write, late reader",
    way: WHOLE,
    bufferBytes: 65_536,
    isLate: true,
    who: "nobody: all had come before the program looked",
    expected: "many segments, one read",
    isRight: ({ segments, reads }) => segments.length > 10 && reads.length === 1,
    isRead: (reads) => reads.length === 1,
    readsExpected: "one read",
    explain:
      "TCP is a stream of bytes. What the server wrote at once left as segments of the size that both sides announced (MSS), and the kernel of the client put them together again. A program that reads late gets all of it in one read: neither writes nor segments can be seen in what read() returns.",
  },
  {
    name: "one write, reads of 4,096 bytes",
    way: WHOLE,
    bufferBytes: 4_096,
    isLate: true,
    who: "the reader, by its buffer",
    expected: "reads of 4,096",
    isRight: ({ reads }) => isOfBuffer(reads),
    isRead: isOfBuffer,
    explain:
      "A read returns at most what fits its buffer. Pieces of one size are a sign of the program, not of the network.",
  },
  {
    name: "one write, eager reader",
    way: WHOLE,
    bufferBytes: 65_536,
    isLate: false,
    who: "the network and the scheduler: what has come by then",
    expected: "reads end where segments do",
    isRight: ({ reads, segments }) => {
      const ends = new Set(segments.map(({ sequence, tcp }) => sequence - 1 + tcp.payload.length));
      let at = 0;
      return reads.every((bytes) => {
        at += bytes;
        return ends.has(at);
      });
    },
    explain:
      "A program that waits in read() is woken when something has come, and gets what is there: one segment or ten, as the burst and the scheduler will. The pieces end where segments end, and are others in each run.",
  },
  {
    name: "MTU 576",
    way: WHOLE,
    mtu: 576,
    bufferBytes: 65_536,
    isLate: true,
    who: "the smaller of two announced MSS",
    expected: "segments of at most 536",
    isRight: ({ segments, mss }) => mss === 536 && most(segments.map(({ tcp }) => tcp.payload.length)) <= 536,
    explain:
      "Each side announces in its SYN the largest segment that it takes: the MTU of its interface less 20 bytes of IP and 20 of TCP (RFC 9293 §3.7.1). The smaller one rules both ways; 12 bytes of timestamps take their part of it (RFC 6691).",
  },
  {
    name: "20 writes, 20 ms apart",
    way: { writeBytes: 1_050, pauseMs: 20, isTls: false },
    bufferBytes: 65_536,
    isLate: false,
    who: "the server, by its pauses",
    expected: "a read for each write",
    isRight: ({ reads, writes }) => Math.abs(reads.length - writes) <= 2,
    isBusy: ({ segments, writes, reads }) => segments.length >= writes - 2 && reads.length < writes - 2,
    // On a busy machine some meet in the queue of the reader.
    isRead: (reads) => reads.filter((bytes) => bytes === 1_050).length >= 10,
    explain:
      "Writes that are far apart leave apart, and a waiting reader sees each. It looks like messages, until two of them meet in a queue: whoever needs messages must frame them.",
  },
  {
    name: "TLS, one write",
    way: { ...WHOLE, isTls: true },
    bufferBytes: 0,
    isLate: false,
    who: "TLS, by its records of at most 16,384 bytes",
    expected: "pieces of at most 16,384",
    isRight: ({ reads }) => isOfRecords(reads),
    isRead: isOfRecords,
    explain:
      "A TLS record can be opened only when all of it has come and its tag was checked (RFC 8446 §5.2): the program gets whole records of at most 16,384 bytes, however the segments came. Small records show the first byte sooner, large ones cost fewer bytes.",
  },
];

export const segments: Experiment = {
  name: "segments",
  title: `a response of ${BODY.toLocaleString("en")} bytes, in pieces`,
  question: "Why does a client see a response in pieces, and who decides how large they are?",
  defaults: { rttMs: 20, runs: 1 },
  needs: ["curl"],
  overLoopback: { columns: ["writes", "reads", "curl"], platform: "linux" },
  async run({ conditions, network, over, progress }) {
    if (Bun.which("curl") === null) throw new Error("curl is not installed: install it and try again");
    using folder = scratch("segments");
    const directory = folder.path;
    const pem = await developmentCertificate({ names: ["server"], directory });
    const findings: Finding[] = [];
    const captures: Capture[] = [];
    let check: Network["check"];
    // Over loopback the smaller of two MSS is that of loopback.
    const cases = over === "network" ? CASES : CASES.filter(({ mtu }) => mtu === undefined);
    for (const each of cases) {
      progress(each.name);
      const { congestion } = conditions;
      const client = { ...clientLink(conditions), congestion, ...(each.mtu !== undefined && { mtu: each.mtu }) };
      const net = await network!({ hosts: { client, server: { congestion } }, echoes: check ? 0 : 50 });
      try {
        check ??= net.check;
        const files = { cert: join(directory, "cert.pem"), key: join(directory, "key.pem") };
        await Promise.all([Bun.write(files.cert, pem.cert), Bun.write(files.key, pem.key)]);
        const { told, trace, seen } = await tryCase(net, each, files, join(directory, "keys"));
        const keyLog = each.way.isTls ? await Bun.file(join(directory, "keys")).text() : undefined;
        const isBusy = each.isBusy?.(told) ?? false;
        const sizes = told.segments.map(({ tcp }) => tcp.payload.length);
        findings.push({
          name: each.name,
          values: {
            writes: told.writes,
            segments: sizes.length,
            largest: most(sizes),
            reads: told.reads.length,
            curl: trace.length === 0 ? "-" : summary(trace),
          },
          expected: each.expected,
          verdict: isBusy ? "refused" : each.isRight(told) ? "ok" : "failed",
          why: isBusy
            ? `what left apart was read together: ${TOO_BUSY} for a verdict`
            : `decided by ${each.who}; MSS ${told.mss}, reads of ${summary(told.reads)}`,
          source: each.way.isTls ? "RFC 8446 §5.1" : "RFC 9293 §3.7.1",
          explain: each.explain,
          capture: each.name,
          ...(each.isRead && {
            counted: {
              expected: each.readsExpected ?? each.expected,
              verdict: each.isRead(told.reads) ? "ok" : "failed",
              why: `decided by ${each.who}; reads of ${summary(told.reads)}`,
            },
          }),
        });
        captures.push({
          name: each.name,
          hosts: [net.hosts["client"]!, net.hosts["server"]!],
          seen,
          ...(keyLog && { keyLog }),
        });
      } finally {
        await net.stop();
      }
    }
    return {
      columns: [
        { key: "writes", title: "writes", unit: "count", what: "of the server's program" },
        { key: "segments", title: "segments", unit: "count", what: "with data, from the server" },
        { key: "largest", title: "largest", unit: "bytes", what: "segment" },
        { key: "reads", title: "reads", unit: "count", what: "of the client's program, each with what it got" },
        { key: "curl", title: "curl --trace", unit: "text", what: "sizes of the pieces that curl shows" },
      ],
      findings,
      check,
      captures,
    };
  },
};

async function tryCase(net: Network, each: Case, pem: { cert: string; key: string }, keys: string) {
  const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
  const [reader, sender] = await Promise.all([
    client.start(new URL("./client.ts", import.meta.url)),
    server.start(new URL("./server.ts", import.meta.url)),
  ]);
  // What JSON has no number for.
  const way = { ...each.way, writeBytes: Math.min(each.way.writeBytes, 1_000_000) };
  const port = await sender.call<number>("serve", server.address, BODY, way, pem);
  const url = `${way.isTls ? "https" : "http"}://${server.address}:${port}/`;
  await net.capture();
  const trace = await curl(
    client.command(["curl", "--silent", "--insecure", "--trace", "-", "--output", "/dev/null", url]),
    keys,
  );
  const traced = await net.capture();
  let reads = trace;
  let seen = traced;
  if (!way.isTls) {
    reads = await reader.call<number[]>("read", server.address, port, each.bufferBytes, each.isLate);
    seen = await net.capture();
  }
  const connection = connectionsOf(seen)[0];
  const mine = connection?.segments ?? [];
  const mss = Math.min(...mine.filter(({ tcp }) => tcp.flags.syn).map(mssOf));
  const size = sum(mine.filter(({ isOpener }) => !isOpener).map(({ tcp }) => tcp.payload.length)) || sum(reads);
  return {
    told: {
      writes: Math.ceil(size / way.writeBytes),
      segments: mine.filter(({ isOpener, tcp }) => !isOpener && tcp.payload.length > 0),
      mss,
      reads,
    },
    trace,
    seen,
  };
}

function mssOf({ tcp }: Segment): number {
  const data = tcp.options.find(({ kind }) => kind === 2)?.data;
  return data ? (data[0]! << 8) | data[1]! : 536;
}

/** Sizes of the pieces of the body that curl tells of. */
async function curl(command: readonly string[], keyLog: string): Promise<number[]> {
  const env = { ...process.env, SSLKEYLOGFILE: keyLog };
  const child = Bun.spawn([...command], { env, stdout: "pipe", stderr: "ignore", stdin: "ignore" });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error("curl got no answer");
  return [...text.matchAll(/^<= Recv data, (\d+) bytes/gm)].map(([, bytes]) => Number(bytes));
}

/** `14 x 1,448, 803`: runs of the same size together, at most a few. */
function summary(sizes: readonly number[]): string {
  const runs: { size: number; count: number }[] = [];
  for (const size of sizes) {
    const last = runs.at(-1);
    if (last?.size === size) last.count++;
    else runs.push({ size, count: 1 });
  }
  const texts = runs.slice(0, 4).map(({ size, count }) => (count > 1 ? `${count} x ${size}` : String(size)));
  return runs.length > 4 ? `${texts.join(", ")}, …` : texts.join(", ");
}
