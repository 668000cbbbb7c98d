/** Listens with a backlog of its own choice and accepts when it is told: what a slow server does. */
import { dlopen, FFIType, ptr } from "bun:ffi";
import { addressBytes } from "../../../src/wire/packet/ip.ts";
import { kernelCounters, sysctl } from "../../wire/counters.ts";
import { monotonic, openLibc } from "../../wire/libc.ts";
import { serveProgram } from "../../wire/program.ts";
import { socketOptions, tcpInfo } from "../../wire/sockopt.ts";

const { i32, pointer } = { i32: FFIType.i32, pointer: FFIType.ptr } as const;
const { symbols: libc } = dlopen("libc.so.6", {
  socket: { args: [i32, i32, i32], returns: i32 },
  bind: { args: [i32, pointer, i32], returns: i32 },
  getsockname: { args: [i32, pointer, pointer], returns: i32 },
  listen: { args: [i32, i32], returns: i32 },
  accept4: { args: [i32, pointer, pointer, i32], returns: i32 },
  close: { args: [i32], returns: i32 },
});
const AF_INET = 2;
const SOCK_STREAM_NONBLOCK = 1 | 0x800;
const SOCK_NONBLOCK = 0x800;
const options = socketOptions();
const now = monotonic(openLibc());

export interface Sample {
  /** Nanoseconds. */
  readonly at: number;
  /** Length of the accept queue, and its limit, as the listening socket tells (TCP_INFO). */
  readonly queued: number;
  readonly limit: number;
  readonly overflows: number;
  readonly drops: number;
}

let listener = -1;
let timer: ReturnType<typeof setInterval> | undefined;
let accepting: ReturnType<typeof setInterval> | undefined;
let samples: Sample[] = [];
let start: Readonly<Record<string, number>> = {};
const accepted: number[] = [];

serveProgram({
  /** Retries of a SYN that come at the same distance, before it doubles. */
  linear: () => Number(sysctl("ipv4/tcp_syn_linear_timeouts") ?? 0),
  /** Returns the port. */
  listen(address: string, backlog: number): number {
    listener = libc.socket(AF_INET, SOCK_STREAM_NONBLOCK, 0);
    const name = new Uint8Array(16);
    name.set([AF_INET, 0, 0, 0, ...addressBytes(address)]);
    if (libc.bind(listener, ptr(name), 16) < 0) throw new Error("no port can be had");
    if (libc.listen(listener, backlog) < 0) throw new Error("listen was refused");
    libc.getsockname(listener, ptr(name), ptr(Int32Array.of(16)));
    samples = [];
    start = kernelCounters();
    timer = setInterval(sample, 20);
    return (name[2]! << 8) | name[3]!;
  },
  /** Takes one connection each so many milliseconds. */
  acceptEvery(ms: number) {
    accepting = setInterval(() => {
      const fd = libc.accept4(listener, null, null, SOCK_NONBLOCK);
      if (fd >= 0) accepted.push(fd);
    }, ms);
  },
  close(): Sample[] {
    clearInterval(timer);
    clearInterval(accepting);
    sample();
    for (const fd of accepted.splice(0)) libc.close(fd);
    libc.close(listener);
    return samples;
  },
});

function sample(): void {
  const { unacked: queued, sacked: limit } = tcpInfo(options, listener);
  const counters = kernelCounters();
  samples.push({
    at: now(),
    queued,
    limit,
    overflows: counters["ListenOverflows"]! - start["ListenOverflows"]!,
    drops: counters["ListenDrops"]! - start["ListenDrops"]!,
  });
}
