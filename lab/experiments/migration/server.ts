/** Echoes lines over TCP and over a stream of QUIC, and tells a story over Backtalk. */
import { createPrivateKey } from "node:crypto";
import { createServer } from "node:net";
import * as quic from "node:quic";
import { createCore, httpHandler, memoryStore, serve } from "../../../src/server.ts";
import type { Congestion } from "../../conditions.ts";
import { serveProgram } from "../../wire/program.ts";
import { story } from "./story.ts";

export const PORTS = { tcp: 7_001, quic: 7_002, backtalk: 7_003 } as const;

serveProgram({
  async serve(address: string, certificate: { cert: string; key: string }, congestion: Congestion): Promise<void> {
    createServer((socket) => {
      socket.on("error", () => {});
      socket.pipe(socket);
    }).listen(PORTS.tcp, address);
    await echoQuic(address, certificate, congestion);
    const core = createCore([story], { store: memoryStore() });
    await serve({ hostname: address, port: PORTS.backtalk, fetch: httpHandler(core), limits: core.limits });
    await core.start();
  },
});

async function echoQuic(address: string, { cert, key }: { cert: string; key: string }, cc: Congestion): Promise<void> {
  const onSession = (session: quic.QuicSession) => {
    session.closed.catch(() => {});
    session.onstream = (stream) => {
      stream.closed.catch(() => {});
      void (async () => {
        for await (const chunks of stream) for (const chunk of chunks) stream.writer.writeSync(chunk);
        stream.writer.endSync();
      })().catch(() => {});
    };
  };
  await quic.listen(onSession, {
    alpn: "lab",
    cc,
    sni: { "*": { keys: [createPrivateKey(key)], certs: [Buffer.from(cert)] } },
    endpoint: { address: `${address}:${PORTS.quic}` },
  });
}
