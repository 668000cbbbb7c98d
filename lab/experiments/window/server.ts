/** Sends as much as it may, and tells what the kernel holds for it. */
import { monotonic, openLibc } from "../../wire/libc.ts";
import { serveProgram } from "../../wire/program.ts";
import { socketOptions, TCP } from "../../wire/sockopt.ts";

const options = socketOptions();
const now = monotonic(openLibc());

export interface Sample {
  /** Nanoseconds. */
  readonly at: number;
  /** Bytes sent and not acknowledged, and bytes that wait for the window. */
  readonly unsent: number;
  /** Part of the time that the connection was held up by the receiver's window, in microseconds (TCP_INFO). */
  readonly limitedUs: number;
}

let samples: Sample[] = [];
let sentAt: number | undefined;

serveProgram({
  async serve(address: string, bytes: number): Promise<number> {
    const chunk = Buffer.alloc(65_536, "w");
    const listener = Bun.listen<{ left: number; timer?: ReturnType<typeof setInterval> }>({
      hostname: address,
      port: 0,
      socket: {
        open(socket) {
          socket.data = { left: bytes };
          samples = [];
          sentAt = undefined;
          const { fd } = socket as unknown as { fd: number };
          socket.data.timer = setInterval(() => samples.push(sampleOf(fd)), 10);
          pump(socket);
        },
        drain: pump,
        data() {},
        error() {},
        close: (socket) => clearInterval(socket.data.timer),
      },
    });
    function pump(socket: Bun.Socket<{ left: number }>): void {
      while (socket.data.left > 0) {
        const wrote = socket.write(chunk, 0, Math.min(chunk.length, socket.data.left));
        if (wrote <= 0) return;
        socket.data.left -= wrote;
      }
      sentAt ??= now();
      socket.end();
    }
    return listener.port;
  },
  /** What was sampled of the last connection, and when the program had handed over its last byte. */
  samples: () => ({ samples, sentAt }),
});

function sampleOf(fd: number): Sample {
  const info = options.get(fd, TCP.level, TCP.INFO);
  const view = new DataView(info.buffer, info.byteOffset, info.byteLength);
  // struct tcp_info of linux/tcp.h: notsent_bytes at 144, rwnd_limited (64 bits) at 176.
  const has = (end: number) => info.byteLength >= end;
  return {
    at: now(),
    unsent: has(148) ? view.getUint32(144, true) : 0,
    limitedUs: has(184) ? Number(view.getBigUint64(176, true)) : 0,
  };
}
