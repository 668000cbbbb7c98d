/** Sends and takes a stream of TCP as fast as it goes, on a host of the lab's wire or beside it. */
import { serveProgram } from "../../lab/wire/program.ts";

const PIECE = new Uint8Array(256 * 1024);
let received = 0;

serveProgram({
  take(address: string): number {
    const { port } = Bun.listen({
      hostname: address,
      port: 0,
      socket: {
        data: (_, bytes) => {
          received += bytes.length;
        },
        error() {},
      },
    });
    return port;
  },
  /** Bytes so far, and the clock of the machine in milliseconds. */
  received: () => ({ bytes: received, at: performance.timeOrigin + performance.now() }),
  async send(address: string, port: number, ms: number): Promise<void> {
    const end = Promise.withResolvers<void>();
    const until = performance.now() + ms;
    const write = (socket: Bun.Socket) => {
      while (performance.now() < until) if (socket.write(PIECE) < PIECE.length) return;
      socket.terminate();
      end.resolve();
    };
    await Bun.connect({
      hostname: address,
      port,
      socket: {
        open: write,
        drain: write,
        data() {},
        error: (_, error) => end.reject(error),
        close: () => end.resolve(),
      },
    });
    await end.promise;
  },
});
