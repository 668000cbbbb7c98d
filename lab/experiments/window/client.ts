/** Reads at once, or lets it wait. */
import { connect } from "node:net";
import { serveProgram } from "../../wire/program.ts";

serveProgram({
  /** Milliseconds until the last byte. It begins to read after so long. */
  read(address: string, port: number, bytes: number, afterMs: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const began = performance.now();
    let got = 0;
    const socket = connect({ host: address, port });
    socket.on("error", reject);
    if (afterMs > 0) {
      socket.pause();
      setTimeout(() => socket.resume(), afterMs);
    }
    socket.on("data", (piece) => {
      got += piece.length;
      if (got < bytes) return;
      resolve(performance.now() - began);
      socket.destroy();
    });
    if (afterMs > 0) socket.pause();
    return promise;
  },
});
