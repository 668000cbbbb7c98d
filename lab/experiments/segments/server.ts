/** Answers HTTP by hand, so that every write is known: one response, cut as it is told. */
import { readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { serveProgram } from "../../wire/program.ts";

export interface Way {
  /** Bytes of each write, and milliseconds between them. */
  readonly writeBytes: number;
  readonly pauseMs: number;
  readonly isTls: boolean;
}

serveProgram({
  serve(address: string, bodyBytes: number, way: Way, pem: { cert: string; key: string }): Promise<number> {
    const answer = (socket: Socket) => {
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.once("data", async () => {
        const head = `HTTP/1.1 200 OK\r\ncontent-length: ${bodyBytes}\r\nconnection: close\r\n\r\n`;
        const whole = Buffer.concat([Buffer.from(head), Buffer.alloc(bodyBytes, "b")]);
        for (let at = 0; at < whole.length; at += way.writeBytes) {
          socket.write(whole.subarray(at, at + way.writeBytes));
          if (way.pauseMs > 0) await Bun.sleep(way.pauseMs);
        }
        socket.end();
      });
    };
    const server = way.isTls
      ? createTlsServer({ cert: readFileSync(pem.cert), key: readFileSync(pem.key) }, answer)
      : createServer(answer);
    return new Promise((resolve) => {
      server.listen(0, address, () => resolve((server.address() as { port: number }).port));
    });
  },
});
