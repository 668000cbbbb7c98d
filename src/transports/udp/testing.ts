/** UDP as the suites use it: both halves over real sockets of this machine, and datagrams made by hand. */
import { createSocket, type Socket } from "node:dgram";
import type { Link } from "../../../suites/transport/world.ts";
import type { Host } from "../../contract/index.ts";
import {
  bodyObject,
  DATAGRAM,
  type DatagramType,
  encodeDatagram,
  jsonBytes,
  parseDatagram,
} from "../../wire/datagram.ts";
import { type UdpPeer, type UdpPeerOptions, udpPeer } from "./client.ts";
import { type UdpListener, type UdpOptions, udpListener } from "./server.ts";

export interface UdpLink extends Link {
  readonly port: number;
  readonly listener: UdpListener;
  peer(user?: string): UdpPeer;
}

export function udpLink(client: Partial<UdpPeerOptions> = {}, server: Partial<UdpOptions> = {}): UdpLink {
  let listener: UdpListener | undefined;
  let port = 0;
  const peers: UdpPeer[] = [];
  return {
    isPolled: true,
    get port() {
      return port;
    },
    get listener() {
      return listener!;
    },
    async serve(host: Host) {
      listener = await udpListener(host, { hostname: "127.0.0.1", port, ...server });
      port = listener.port;
    },
    peer(user) {
      const token = user === undefined ? {} : { token: user };
      const peer = udpPeer({ url: `udp://127.0.0.1:${port}`, ...client, ...token });
      peers.push(peer);
      return peer;
    },
    async stop() {
      await listener?.stop();
      listener = undefined;
    },
  };
}

/** An answer, loosely. */
export interface Heard {
  readonly type: DatagramType;
  readonly id: string;
  readonly token: Uint8Array;
  readonly bytes: Uint8Array;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it, and compare
  readonly json: any;
}

/** A socket that sends what it is told to, and keeps all that it hears. */
export class Sender {
  readonly heard: Heard[] = [];
  bytesIn = 0;
  token: Uint8Array | undefined;
  readonly #socket: Socket;
  readonly #to: number;
  #wake = (): void => {};

  private constructor(socket: Socket, to: number) {
    this.#socket = socket;
    this.#to = to;
    socket.on("error", () => {});
    socket.on("message", (received) => {
      // The platform uses its memory again for the next one.
      const bytes = Uint8Array.from(received);
      this.bytesIn += bytes.length;
      const datagram = parseDatagram(bytes);
      if (datagram) this.heard.push({ ...datagram, bytes, json: bodyObject(datagram.body) });
      this.#wake();
    });
  }

  /** `from`: an address of this machine, all of 127/8 are on Linux. */
  static async open(to: number, from = "127.0.0.1"): Promise<Sender> {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, from, resolve));
    return new Sender(socket, to);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  raw(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#socket.send(bytes, this.#to, "127.0.0.1", () => resolve()));
  }

  /** Resolves to the bytes that were sent. */
  async say(type: DatagramType, id: string, body?: object, token = this.token): Promise<Uint8Array> {
    const bytes = encodeDatagram(type, id, body && jsonBytes(body), token);
    await this.raw(bytes);
    return bytes;
  }

  /** Gets a token, so that this address is proven. */
  async prove(): Promise<this> {
    const id = newId();
    await this.say(DATAGRAM.ask, id, { method: "t/none" }, new Uint8Array(0));
    this.token = (await this.hears(id, DATAGRAM.retry)).token;
    return this;
  }

  /** Asks once; answers that say that it runs are passed over. */
  async ask(body: object, id = newId()): Promise<Heard> {
    await this.say(DATAGRAM.ask, id, body);
    return this.hears(id);
  }

  /** The next answer to this question; it is taken out. */
  async hears(id: string, type?: DatagramType): Promise<Heard> {
    const limit = AbortSignal.timeout(30_000);
    for (;;) {
      const at = this.heard.findIndex((each) => {
        return each.id === id && (type === undefined ? each.type !== DATAGRAM.running : each.type === type);
      });
      if (at !== -1) return this.heard.splice(at, 1)[0]!;
      if (limit.aborted) throw new Error(`no answer came to ${id}: ${JSON.stringify(this.heard)}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        limit.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  /** After this everything that was sent before has been looked at. */
  async settles(): Promise<void> {
    await (this.token ? this : await this.prove()).ask({ state: "none" });
  }

  close(): void {
    this.#socket.close();
  }
}

export function newId(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString("hex");
}
