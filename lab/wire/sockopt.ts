/** Options of sockets by their descriptor (tcp(7), socket(7)), for what the platform does not offer. Linux. */
import { dlopen, FFIType, ptr } from "bun:ffi";

const { i32, pointer } = { i32: FFIType.i32, pointer: FFIType.ptr } as const;

/** IPPROTO_TCP and its options. */
export const TCP = {
  level: 6,
  NODELAY: 1,
  MAXSEG: 2,
  INFO: 11,
  QUICKACK: 12,
  CONGESTION: 13,
  FASTOPEN: 23,
  FASTOPEN_CONNECT: 30,
} as const;
/** SOL_SOCKET and its options. */
export const SOCKET = { level: 1, SNDBUF: 7, RCVBUF: 8 } as const;

export interface SocketOptions {
  /** @throws Error when the kernel refuses */
  set(fd: number, level: number, option: number, value: number | string): void;
  /** The bytes of the option's value, at most `most`. @throws Error when the kernel refuses */
  get(fd: number, level: number, option: number, most?: number): Uint8Array;
}

export function socketOptions(): SocketOptions {
  const { symbols } = dlopen("libc.so.6", {
    setsockopt: { args: [i32, i32, i32, pointer, i32], returns: i32 },
    getsockopt: { args: [i32, i32, i32, pointer, pointer], returns: i32 },
  });
  return {
    set(fd, level, option, value) {
      const bytes = typeof value === "string" ? Buffer.from(value) : new Uint8Array(Int32Array.of(value).buffer);
      if (symbols.setsockopt(fd, level, option, ptr(bytes), bytes.length) < 0) {
        throw new Error(`the kernel refuses option ${option} of level ${level} as ${value}`);
      }
    },
    get(fd, level, option, most = 512) {
      const bytes = new Uint8Array(most);
      const length = Int32Array.of(most);
      if (symbols.getsockopt(fd, level, option, ptr(bytes), ptr(length)) < 0) {
        throw new Error(`the kernel does not tell option ${option} of level ${level}`);
      }
      return bytes.subarray(0, length[0]);
    },
  };
}

/** What the kernel counts of a connection of TCP (struct tcp_info of linux/tcp.h). An older kernel lacks the later ones: 0. */
export interface TcpInfo {
  /** Segments that were not acknowledged. Of a listening socket: the length of its accept queue, and its limit. */
  readonly unacked: number;
  readonly sacked: number;
  /** Segments sent again in all, the SYN with them. */
  readonly retransmits: number;
  readonly dataSegmentsOut: number;
  /** Bytes that were written and wait to be sent. */
  readonly unsent: number;
  /** How long the receiver's window held it up, in microseconds. */
  readonly windowLimitedUs: number;
  /** The window that the other side has announced last, in bytes; undefined where the kernel does not tell. */
  readonly window: number | undefined;
}

export function tcpInfo(options: SocketOptions, fd: number): TcpInfo {
  const info = options.get(fd, TCP.level, TCP.INFO);
  const view = new DataView(info.buffer, info.byteOffset, info.byteLength);
  const u32 = (at: number) => (at + 4 <= info.byteLength ? view.getUint32(at, true) : 0);
  return {
    unacked: u32(24),
    sacked: u32(28),
    retransmits: u32(100),
    unsent: u32(144),
    dataSegmentsOut: u32(156),
    windowLimitedUs: u32(176) + u32(180) * 2 ** 32,
    window: info.byteLength >= 232 ? u32(228) : undefined,
  };
}
