/** The calls of Linux that the platform has no words for (packet(7), poll(2), netdevice(7)). Linux on 64 bits. */
import { dlopen, FFIType, ptr } from "bun:ffi";

const { i32, u64, pointer } = { i32: FFIType.i32, u64: FFIType.u64, pointer: FFIType.ptr } as const;

function load() {
  const symbols = {
    socket: { args: [i32, i32, i32], returns: i32 },
    bind: { args: [i32, pointer, i32], returns: i32 },
    setsockopt: { args: [i32, i32, i32, pointer, i32], returns: i32 },
    recv: { args: [i32, pointer, u64, i32], returns: FFIType.i64_fast },
    send: { args: [i32, pointer, u64, i32], returns: FFIType.i64_fast },
    close: { args: [i32], returns: i32 },
    ppoll: { args: [pointer, u64, pointer, pointer], returns: i32 },
    ioctl: { args: [i32, u64, pointer], returns: i32 },
    if_nametoindex: { args: [FFIType.cstring], returns: FFIType.u32 },
    clock_gettime: { args: [i32, pointer], returns: i32 },
    prctl: { args: [i32, u64, u64, u64, u64], returns: i32 },
  } as const;
  // Distributions with musl have it by another name.
  for (const name of ["libc.so.6", "libc.so"]) {
    try {
      return dlopen(name, symbols).symbols;
    } catch {}
  }
  throw new Error("the C library of Linux was not found: neither libc.so.6 nor libc.so");
}

export type Libc = ReturnType<typeof load>;
export const openLibc = load;

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0x800;
const ETH_P_ALL = 0x0003;
const SOL_SOCKET = 1;
const SOL_PACKET = 263;
const PACKET_IGNORE_OUTGOING = 23;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const MSG_DONTWAIT = 0x40;
const BUFFER_BYTES = 32 * 1024 * 1024;

/** A socket that gets every packet of an interface as it is, and sends such. */
export function packetSocket(libc: Libc, name: string): number {
  const fd = libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
  const index = libc.if_nametoindex(Buffer.from(`${name}\0`) as never);
  if (fd < 0 || index === 0) throw new Error(`no packet socket on ${name}`);
  const one = new Int32Array([1]);
  const size = new Int32Array([BUFFER_BYTES]);
  libc.setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, ptr(one), 4);
  // Larger than the limit of the host where the namespace may; else the host's limit holds.
  for (const [forced, plain] of [
    [SO_RCVBUFFORCE, 8],
    [SO_SNDBUFFORCE, 7],
  ] as const) {
    if (libc.setsockopt(fd, SOL_SOCKET, forced, ptr(size), 4) < 0) libc.setsockopt(fd, SOL_SOCKET, plain, ptr(size), 4);
  }
  // sockaddr_ll: family, protocol in network order, index; the rest is for sending by address.
  const address = new DataView(new ArrayBuffer(20));
  address.setUint16(0, AF_PACKET, true);
  address.setUint16(2, ETH_P_ALL, false);
  address.setInt32(4, index, true);
  if (libc.bind(fd, ptr(new Uint8Array(address.buffer)), 20) < 0) throw new Error(`no packet socket on ${name}`);
  return fd;
}

/** The bytes of the next packet, or -1 when there is none now. */
export function receive(libc: Libc, fd: number, into: Uint8Array): number {
  return Number(libc.recv(fd, ptr(into), into.length, MSG_DONTWAIT));
}

/** Whether it went out; not when the queue of the interface is full. */
export function transmit(libc: Libc, fd: number, bytes: Uint8Array): boolean {
  return Number(libc.send(fd, ptr(bytes), bytes.length, MSG_DONTWAIT)) === bytes.length;
}

const SIOCETHTOOL = 0x8946;
const AF_INET = 2;
const SOCK_DGRAM = 2;
/**
 * ETHTOOL_SRXCSUM, STXCSUM, SSG, STSO, SGSO, SGRO: without offloads a packet on the link is a packet on the
 * wire, and its checksum is there.
 */
const OFFLOADS = [0x15, 0x17, 0x19, 0x1f, 0x24, 0x2c];

export function offloadsOff(libc: Libc, name: string): void {
  const fd = libc.socket(AF_INET, SOCK_DGRAM, 0);
  for (const command of OFFLOADS) {
    const value = new Uint32Array([command, 0]);
    // struct ifreq: 16 bytes of name, then a pointer.
    const request = new Uint8Array(40);
    request.set(Buffer.from(name));
    new DataView(request.buffer).setBigUint64(16, BigInt(ptr(value)), true);
    // A kernel that lacks one has nothing to turn off.
    libc.ioctl(fd, SIOCETHTOOL, ptr(request));
  }
  libc.close(fd);
}

const CLOCK_MONOTONIC = 1;
const CLOCK_REALTIME = 0;

/** Nanoseconds since the machine was started; the same clock in every process of it. */
export function monotonic(libc: Libc): () => number {
  return clock(libc, CLOCK_MONOTONIC);
}

/** Nanoseconds since 1970, to about 0.2 µs: a number has no room for more. */
export function realtime(libc: Libc): () => number {
  return clock(libc, CLOCK_REALTIME);
}

function clock(libc: Libc, which: number): () => number {
  const time = new BigInt64Array(2);
  const at = ptr(time);
  return () => {
    libc.clock_gettime(which, at);
    return Number(time[0]) * 1e9 + Number(time[1]);
  };
}

const PR_SET_TIMERSLACK = 29;

/** Waits end when they are to, not 50 µs later. */
export function sharpTimers(libc: Libc): void {
  libc.prctl(PR_SET_TIMERSLACK, 1n as never, 0n as never, 0n as never, 0n as never);
}

const POLLIN = 1;

/** Waits for bytes on one of the descriptors. */
export class Poller {
  readonly #libc: Libc;
  readonly #set: DataView;
  readonly #fds: Uint8Array;
  readonly #count: number;
  readonly #time = new BigInt64Array(2);

  constructor(libc: Libc, fds: readonly number[]) {
    this.#libc = libc;
    this.#count = fds.length;
    this.#fds = new Uint8Array(8 * fds.length);
    this.#set = new DataView(this.#fds.buffer);
    for (const [index, fd] of fds.entries()) {
      this.#set.setInt32(index * 8, fd, true);
      this.#set.setInt16(index * 8 + 4, POLLIN, true);
    }
  }

  /** At most so many nanoseconds. */
  wait(ns: number): void {
    const whole = Math.max(0, Math.floor(ns));
    this.#time[0] = BigInt(Math.floor(whole / 1e9));
    this.#time[1] = BigInt(whole % 1e9);
    this.#libc.ppoll(ptr(this.#fds), BigInt(this.#count) as never, ptr(this.#time), null);
  }

  /** Whether the descriptor at this index has something: bytes, or its end. */
  has(index: number): boolean {
    return this.#set.getInt16(index * 8 + 6, true) !== 0;
  }
}
