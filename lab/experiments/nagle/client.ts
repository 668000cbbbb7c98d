/** Sends a message in two writes or in one, and waits for its answer, again and again. */
import { serveProgram } from "../../wire/program.ts";
import { socketOptions, TCP, tcpInfo } from "../../wire/sockopt.ts";

const options = socketOptions();

export interface Asked {
  /** Milliseconds for each message. */
  readonly times: readonly number[];
  /** By the kernel: segments with data that it sent, and messages of which it held something back after the last write. */
  readonly segments: number;
  readonly held: number;
}

serveProgram({
  async ask(
    address: string,
    port: number,
    way: { noDelay: boolean; isOneWrite: boolean; count: number },
  ): Promise<Asked> {
    let answered = Promise.withResolvers<void>();
    const socket = await Bun.connect({
      hostname: address,
      port,
      socket: {
        data: () => answered.resolve(),
        close: () => answered.reject(new Error("the connection broke")),
        error: (_, error) => answered.reject(error),
      },
    });
    const { fd } = socket as unknown as { fd: number };
    // The platform turns it on for every socket, and leaves no other way to turn it off.
    options.set(fd, TCP.level, TCP.NODELAY, way.noDelay ? 1 : 0);
    const before = tcpInfo(options, fd);
    const [head, body] = [Buffer.alloc(200, "h"), Buffer.alloc(800, "b")];
    const whole = Buffer.concat([head, body]);
    const times: number[] = [];
    let held = 0;
    for (let n = 0; n < way.count; n++) {
      answered = Promise.withResolvers<void>();
      const began = performance.now();
      if (way.isOneWrite) socket.write(whole);
      else {
        socket.write(head);
        socket.write(body);
      }
      if (tcpInfo(options, fd).unsent > 0) held++;
      await answered.promise;
      times.push(performance.now() - began);
    }
    const after = tcpInfo(options, fd);
    socket.terminate();
    // A segment that a busy machine has not acknowledged in time goes out once more.
    const again = after.retransmits - before.retransmits;
    return { times, segments: after.dataSegmentsOut - before.dataSegmentsOut - again, held };
  },
});
