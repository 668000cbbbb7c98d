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
