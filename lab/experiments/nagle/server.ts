/** Answers each whole message (1,000 bytes) with one byte, and reads as an ordinary program does. */
import { createServer } from "node:net";
import { serveProgram } from "../../wire/program.ts";

const MESSAGE = 1_000;

serveProgram({
  serve(address: string): Promise<number> {
    const server = createServer((socket) => {
      let got = 0;
      socket.on("error", () => {});
      socket.on("data", (bytes) => {
        got += bytes.length;
        for (; got >= MESSAGE; got -= MESSAGE) socket.write("!");
      });
    });
    return new Promise((resolve) => {
      server.listen(0, address, () => resolve((server.address() as { port: number }).port));
    });
  },
});
