/** Sends as much as it may, and tells what the kernel holds for it. */
import { serveProgram } from "../../wire/program.ts";
import { socketOptions, tcpInfo } from "../../wire/sockopt.ts";

const options = socketOptions();

export interface Sample {
  /** How long the connection was held up by the receiver's window, in microseconds (TCP_INFO). */
  readonly limitedUs: number;
  /** The window that the client has announced last, in bytes; null where the kernel does not tell. */
  readonly window: number | null;
}

let samples: Sample[] = [];

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
        samples.push(sampleOf((socket as unknown as { fd: number }).fd));
      }
    }
    return listener.port;
  },
  /** What was sampled of the last connection. */
  samples: () => samples,
});

function sampleOf(fd: number): Sample {
  const { windowLimitedUs: limitedUs, window } = tcpInfo(options, fd);
  return { limitedUs, window: window ?? null };
}
