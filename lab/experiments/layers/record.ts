/** Makes the captures: each a real exchange of real programs, alone on the wire. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Capture, Network, NetworkOptions } from "../../experiment.ts";
import type { Program } from "../../wire/index.ts";
import { BODY, type CaptureName } from "./cases.ts";

/** Bytes of the stream of bare TCP: some segments, within the first window. */
const STREAM_BYTES = 14_000;
/** Longest wait for the last packets of a connection, and how long nothing must come for it to be over. */
const MOST_MS = 3_000;
const QUIET_MS = 150;
const REQUEST = "GET / HTTP/1.1\r\nhost: server\r\nconnection: close\r\n\r\n";

type Drops = NonNullable<NetworkOptions["drops"]>;

/** @throws Error when a program of the system fails, with what it said */
export async function recordAll(
  net: Network,
  pem: { readonly cert: string; readonly key: string },
  directory: string,
  progress: (text: string) => void,
): Promise<ReadonlyMap<CaptureName, Capture>> {
  const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
  const [asker, answerer] = await Promise.all([
    client.start(new URL("./client.ts", import.meta.url)),
    server.start(new URL("./server.ts", import.meta.url)),
  ]);
  const { cert, key } = pem;
  const ports = await answerer.call<{ plain: number; tls: number }>("http", server.address, { cert, key });
  const recorder = new Recorder(net, directory, progress);
  const tcp = await answerer.call<number>("tcp", server.address, true);
  const stream = () => asker.call("tcp", server.address, tcp, STREAM_BYTES);
  const url = `https://server:${ports.tls}/notes`;
  const post = [
    ...["curl", "--silent", "--show-error", "--insecure", "--resolve", `server:${ports.tls}:${server.address}`],
    ...["--data", BODY, "--header", "content-type: application/json", url],
  ];
  await recorder.run("post", [...post, "--http1.1"]);
  await recorder.record("tcp", stream);
  await recorder.record("tcp, lost ACKs", stream, { drops: [{ host: "server", of: "ack", first: 1, last: 3 }] });
  await recorder.record("tcp, lost segment", stream, { drops: [{ host: "client", of: "data", first: 3, last: 3 }] });
  await recordUdp(recorder, asker, answerer, server.address);
  for (const version of ["1.2", "1.3"] as const) {
    const session = join(directory, `session-${version}`);
    const handshake = [
      ...["openssl", "s_client", `-tls${version.replace(".", "_")}`, "-servername", "server", "-alpn", "http/1.1"],
      ...["-connect", `${server.address}:${ports.tls}`, "-ign_eof"],
    ];
    await recorder.run(`tls ${version}`, [...handshake, "-sess_out", session], REQUEST);
    await recorder.run(`tls ${version} again`, [...handshake, "-sess_in", session], REQUEST);
  }
  const socket = `ws://${server.address}:${ports.plain}/`;
  await recorder.record("websocket", () => asker.call("webSocket", socket, BODY));
  await recorder.run("http/2", [...post, "--http2", "--next", ...post.slice(1), "--http2"]);
  await recorder.record("http/3", async () => {
    const { keyLog } = await asker.call<{ keyLog: string[] }>("http3", server.address, ports.tls, [BODY, BODY]);
    return keyLog.join("\n");
  });
  return recorder.captures;
}

async function recordUdp(recorder: Recorder, asker: Program, answerer: Program, address: string): Promise<void> {
  const port = await answerer.call<number>("udp", address);
  await recorder.record("udp", () => asker.call("udp", address, port, BODY));
}

class Recorder {
  readonly captures = new Map<CaptureName, Capture>();
  readonly #net: Network;
  readonly #directory: string;
  readonly #progress: (text: string) => void;

  constructor(net: Network, directory: string, progress: (text: string) => void) {
    this.#net = net;
    this.#directory = directory;
    this.#progress = progress;
  }

  /** A program of the system on the client, with a key log of its own where it can write one. */
  async run(name: CaptureName, command: readonly string[], input = ""): Promise<void> {
    const file = join(this.#directory, `keys-${this.captures.size}`);
    const whole = command[0] === "openssl" ? [...command, "-keylogfile", file] : command;
    await this.record(name, async () => {
      const child = Bun.spawn(this.#net.hosts["client"]!.command(whole), {
        stdin: new Blob([input]),
        stdout: "pipe",
        stderr: "pipe",
        timeout: 10_000,
        env: { ...process.env, SSLKEYLOGFILE: file },
      });
      const [, errors] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
      const code = await child.exited;
      if (code !== 0) throw new Error(`${command[0]} failed (${code}): ${errors.trim().slice(-300)}`);
      return existsSync(file) ? readFileSync(file, "utf8") : "";
    });
  }

  /** What passes while this goes on, and until the connection has ended; a text that it gives is its key log. */
  async record(
    name: CaptureName,
    exchange: () => Promise<unknown>,
    { drops = [] }: { drops?: Drops } = {},
  ): Promise<void> {
    this.#progress(name);
    await this.#net.setDrops(drops);
    await this.#net.capture();
    const given = await exchange();
    await this.#settled();
    const keyLog = typeof given === "string" && /^[A-Z_0-9]+ [0-9a-f]{64} /m.test(given) ? given : "";
    this.captures.set(name, {
      name,
      hosts: ["client", "server"].map((host) => ({ name: host, address: this.#net.hosts[host]!.address })),
      seen: await this.#net.capture(),
      ...(keyLog !== "" && { keyLog: keyLog.endsWith("\n") ? keyLog : `${keyLog}\n` }),
    });
    await this.#net.setDrops([]);
  }

  /** Waits until the wire is quiet: the last packets of a close are part of it. */
  async #settled(): Promise<void> {
    const until = performance.now() + MOST_MS;
    for (let before = -1; performance.now() < until; ) {
      const { packets } = await this.#net.stats();
      if (packets === before) return;
      before = packets;
      await Bun.sleep(QUIET_MS);
    }
  }
}
