/** Servers for the tests of the probe: each is good or bad in one thing. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Certificate, developmentCertificate } from "../../src/net/certificate.ts";
import { TlsEnd } from "../tls/connection.ts";
import { openOpenssl, TlsContext } from "../tls/openssl.ts";
import type { Finding, Report, TriedName } from "./finding.ts";
import { type ProbeOptions, probe } from "./probe.ts";

/** What is open, closed in the end. */
export class Place {
  readonly directory = mkdtempSync(join(tmpdir(), "backtalk-probe-"));
  readonly #closers: (() => unknown)[] = [];

  onClose(close: () => unknown): void {
    this.#closers.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Another one for each name. */
  certificate(name = "good", now?: () => number): Promise<Certificate> {
    return developmentCertificate({ directory: join(this.directory, name), ...(now && { now }) });
  }

  /** @returns its port */
  bun(options: object, hostname = "127.0.0.1"): number {
    const server = Bun.serve({ port: 0, hostname, development: false, ...options } as never);
    this.onClose(() => server.stop(true));
    return server.port!;
  }

  /** Whatever TCP brings. @returns its port */
  async tcp(onSocket: (socket: Socket) => void, hostname = "127.0.0.1", port = 0): Promise<number> {
    const server: Server = createServer((socket) => {
      socket.on("error", () => {});
      onSocket(socket);
    });
    await new Promise<void>((resolve) => server.listen(port, hostname, resolve));
    this.onClose(() => server.close());
    return (server.address() as { port: number }).port;
  }

  /** A port where nobody listens. */
  async closedPort(): Promise<number> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    return port;
  }

  /** `openssl s_server`, which answers GET. @returns its port */
  async openssl(certificate: Certificate, args: readonly string[]): Promise<number> {
    const name = crypto.randomUUID();
    const [cert, key] = [join(this.directory, `${name}.pem`), join(this.directory, `${name}.key`)];
    await Promise.all([Bun.write(cert, certificate.cert), Bun.write(key, certificate.key)]);
    const shared = ["s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-key", key, "-www"];
    const child = Bun.spawn(["openssl", ...shared, ...args], { stdin: "pipe", stdout: "pipe", stderr: "ignore" });
    this.onClose(() => child.kill());
    let text = "";
    for await (const bytes of child.stdout) {
      text += Buffer.from(bytes).toString();
      const port = /ACCEPT \S*:(\d+)/.exec(text)?.[1];
      if (port !== undefined) return Number(port);
    }
    throw new Error(`openssl s_server did not start: ${text}`);
  }

  /** Takes datagrams to the port, and the answers back, each after so many milliseconds. @returns its port */
  async delayed(port: number, delayMs: number): Promise<number> {
    const { createSocket } = await import("node:dgram");
    const [near, far] = [createSocket("udp4"), createSocket("udp4")];
    let client: { port: number; address: string } | undefined;
    const open = { near: true };
    const later = (send: () => void): void => void setTimeout(() => open.near && send(), delayMs);
    near.on("message", (bytes, from) => {
      client = from;
      later(() => far.send(bytes, port, "127.0.0.1"));
    });
    far.on("message", (bytes) => later(() => near.send(bytes, client!.port, client!.address)));
    await new Promise<void>((resolve) => near.bind(0, "127.0.0.1", resolve));
    this.onClose(() => {
      open.near = false;
      near.close();
      far.close();
    });
    return near.address().port;
  }

  /**
   * A server of TLS 1.3 with early data. `refuses`: its tickets claim it, and it takes none. `status` answers a
   * GET that came as early data; `waits`: until the handshake has ended. @returns its port
   */
  async early(certificate: Certificate, { refuses = false, status = "200 OK", waits = false } = {}): Promise<number> {
    const openssl = openOpenssl();
    const shared = {
      isServer: true,
      version: "1.3",
      certificates: [certificate.cert],
      key: certificate.key,
      ticketKeys: crypto.getRandomValues(new Uint8Array(80)),
      allowReplay: true,
    } as const;
    const claims = new TlsContext(openssl, { ...shared, maxEarlyData: 16_384 });
    const takes = refuses ? new TlsContext(openssl, { ...shared, maxEarlyData: 0 }) : claims;
    let resumed = 0;
    return await this.tcp((socket) => {
      let end: TlsEnd | undefined;
      let text = "";
      let wasEarly = false;
      socket.on("data", (bytes: Buffer) => {
        // A ClientHello with early_data is longer than one without a ticket: by its pre_shared_key.
        end ??= new TlsEnd(refuses && resumed++ > 0 && bytes.includes(EARLY_DATA) ? takes : claims);
        try {
          end.feed(bytes);
          for (let part = end.read(); part; part = end.read()) {
            text += Buffer.from(part.bytes).toString();
            wasEarly ||= part.isEarly;
          }
          if (text.includes("\r\n\r\n") && !(waits && !end.isReady)) {
            text = "";
            const line = wasEarly ? status : "200 OK";
            end.write(Buffer.from(`HTTP/1.1 ${line}\r\ncontent-length: 2\r\n\r\nhi`));
          }
          socket.write(end.take());
        } catch {
          socket.destroy();
        }
      });
    });
  }
}

/** RFC 8446 §4.2.10: the extension in a ClientHello, which is empty. */
const EARLY_DATA = Buffer.from([0, 42, 0, 0]);

export interface Probed {
  readonly report: Report;
  readonly requests: readonly { readonly url: string }[];
  of(name: TriedName): Finding;
  /** `yes`, or the code of the reason with its detail. */
  says(name: TriedName): string;
}

export async function probed(target: string, options: Omit<ProbeOptions, "target"> = {}): Promise<Probed> {
  const { report, requests } = await probe({ target, timeoutMs: 2_000, ...options });
  const of = (name: TriedName): Finding => report.findings.find((each) => each.name === name)!;
  return {
    report,
    requests,
    of,
    says(name) {
      const { isPresent, reason } = of(name);
      if (isPresent) return "yes";
      return reason!.detail === undefined ? reason!.code : `${reason!.code}(${reason!.detail})`;
    },
  };
}
