/**
 * TLS for clients that tell nobody their secrets: they speak to a port of their own host without it, and what they say
 * goes on over node:tls, which does tell. On the wire is what the same client with TLS would send.
 */
import { createServer, type Socket } from "node:net";
import { connect, type TLSSocket } from "node:tls";

export class TlsRelay {
  /** Lines of an NSS key log. */
  readonly keyLog: string[] = [];
  readonly #host: string;

  constructor(host: string) {
    this.#host = host;
  }

  /** The port of 127.0.0.1 that leads to a port of the host. `alpn`: the protocol that the client speaks. */
  open(port: number, alpn: string | undefined): Promise<number> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
      const far = connect({
        host: this.#host,
        port,
        // The certificate is the lab's own.
        rejectUnauthorized: false,
        ...(alpn !== undefined && { ALPNProtocols: [alpn] }),
      });
      far.setNoDelay(true);
      far.on("keylog", (line) => this.keyLog.push(line.toString().trim()));
      join(near, far);
    });
    return new Promise((resolve) => {
      server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
    });
  }
}

function join(near: Socket, far: TLSSocket): void {
  near.pipe(far);
  far.pipe(near);
  near.on("error", () => far.destroy());
  far.on("error", () => near.destroy());
  near.on("close", () => far.destroy());
  far.on("close", () => near.destroy());
}
