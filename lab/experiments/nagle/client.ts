/** Sends a message in two writes or in one, and waits for its answer, again and again. */
import { serveProgram } from "../../wire/program.ts";
import { socketOptions, TCP } from "../../wire/sockopt.ts";

const options = socketOptions();

serveProgram({
  /** Milliseconds for each message. */
  async ask(address: string, port: number, way: { noDelay: boolean; isOneWrite: boolean; count: number }) {
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
    // The platform turns it on for every socket, and leaves no other way to turn it off.
    options.set((socket as unknown as { fd: number }).fd, TCP.level, TCP.NODELAY, way.noDelay ? 1 : 0);
    const [head, body] = [Buffer.alloc(200, "h"), Buffer.alloc(800, "b")];
    const whole = Buffer.concat([head, body]);
    const times: number[] = [];
    for (let n = 0; n < way.count; n++) {
      answered = Promise.withResolvers<void>();
      const began = performance.now();
      if (way.isOneWrite) socket.write(whole);
      else {
        socket.write(head);
        socket.write(body);
      }
      await answered.promise;
      times.push(performance.now() - began);
    }
    socket.terminate();
    return times;
  },
});
