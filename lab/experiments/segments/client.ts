/** Reads a response with a buffer of its own size, as a program in C would: what each read gives. */
import { dlopen, FFIType, ptr } from "bun:ffi";
import { addressBytes } from "../../../src/wire/packet/ip.ts";
import { serveProgram } from "../../wire/program.ts";

const { i32, u64, pointer, i64_fast } = {
  i32: FFIType.i32,
  u64: FFIType.u64,
  pointer: FFIType.ptr,
  i64_fast: FFIType.i64_fast,
} as const;
const { symbols: libc } = dlopen("libc.so.6", {
  socket: { args: [i32, i32, i32], returns: i32 },
  connect: { args: [i32, pointer, i32], returns: i32 },
  read: { args: [i32, pointer, u64], returns: i64_fast },
  write: { args: [i32, pointer, u64], returns: i64_fast },
  close: { args: [i32], returns: i32 },
  poll: { args: [pointer, u64, i32], returns: i32 },
});
const AF_INET = 2;
const SOCK_STREAM = 1;
/** The other side has said all. */
const POLLRDHUP = 0x2000;
const END_MS = 20_000;

serveProgram({
  /** Bytes of each read until the end; the first one when all has come, if it is late. It blocks, as simple programs do. */
  read(address: string, port: number, bufferBytes: number, isLate: boolean): number[] {
    const fd = libc.socket(AF_INET, SOCK_STREAM, 0);
    const name = new Uint8Array(16);
    name.set([AF_INET, 0, port >> 8, port & 255, ...addressBytes(address)]);
    if (libc.connect(fd, ptr(name), 16) < 0) throw new Error("no connection");
    const request = Buffer.from("GET / HTTP/1.1\r\nhost: server\r\n\r\n");
    libc.write(fd, ptr(request), request.length as never);
    if (isLate) {
      // struct pollfd: the descriptor, what is waited for, what there is.
      const poll = new Int32Array([fd, POLLRDHUP]);
      if (libc.poll(ptr(poll), 1 as never, END_MS) !== 1) throw new Error(`the response had no end in ${END_MS} ms`);
    }
    const buffer = new Uint8Array(bufferBytes);
    const reads: number[] = [];
    for (;;) {
      const got = Number(libc.read(fd, ptr(buffer), bufferBytes as never));
      if (got <= 0) break;
      reads.push(got);
    }
    libc.close(fd);
    return reads;
  },
});
