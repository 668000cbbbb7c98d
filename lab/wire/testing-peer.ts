/** A program for tests: echoes TCP, and asks for it. */
import { connect, createServer } from "node:net";
import { serveProgram } from "./program.ts";

const seen: string[] = [];

serveProgram({
  serve(address: string): Promise<number> {
    const server = createServer((socket) => {
      seen.push(socket.remoteAddress ?? "");
      socket.on("error", () => {});
      socket.pipe(socket);
    });
    return new Promise((resolve) => {
      server.listen(0, address, () => resolve((server.address() as { port: number }).port));
    });
  },
  seen: () => seen,
  echo(address: string, port: number, text: string): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    let got = "";
    const socket = connect(port, address, () => socket.write(text));
    socket.on("error", reject);
    socket.on("data", (bytes) => {
      got += bytes.toString();
      if (got.length < text.length) return;
      socket.end();
      resolve(got);
    });
    return promise;
  },
});
