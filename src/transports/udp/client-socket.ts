/**
 * A connected socket of UDP to one of the addresses of a host: it takes datagrams of this address alone, and is
 * told when nobody listens there. Needs Node's `dgram`, which Bun has too; browsers have none.
 */
import { createSocket, type Socket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { Fault } from "../../log/fault.ts";
import { isLoopback } from "./address.ts";

export interface Address {
  readonly address: string;
  readonly family: number;
}

/** The addresses of a host, the preferred one first. */
export type Lookup = (host: string) => Promise<readonly Address[]>;

export const systemLookup: Lookup = (host) => lookup(host, { all: true });

export interface SocketOptions {
  readonly host: string;
  readonly port: number;
  readonly lookup: Lookup;
  readonly trace: ((direction: "*" | ">" | "<", text: string) => void) | undefined;
  received(bytes: Uint8Array): void;
  /** ICMP: nobody listens there. */
  refused(thrown: unknown): void;
}

export class ClientSocket {
  /** Whether all addresses of the host are this machine's own. */
  isHere = false;
  readonly #options: SocketOptions;
  #opening: Promise<void> | undefined;
  #next: Address[] = [];
  #socket: Socket | undefined;
  #isClosed = false;

  constructor(options: SocketOptions) {
    this.#options = options;
  }

  /** @throws Fault `unavailable` */
  open(): Promise<void> {
    this.#opening ??= this.#open().catch((thrown) => {
      this.#opening = undefined;
      throw thrown;
    });
    return this.#opening;
  }

  /** A name such as `localhost` has two addresses, and a server may listen at the other one. */
  get hasNext(): boolean {
    return this.#next.length > 0;
  }

  /** Goes on to the next address. @throws Fault `unavailable` */
  async move(): Promise<void> {
    this.#socket?.close();
    this.#socket = undefined;
    await this.#connect();
  }

  /** What cannot be sent now is lost like other datagrams, and sent again. */
  send(bytes: Uint8Array): void {
    this.#socket?.send(bytes, (thrown) => thrown && this.#failed(thrown));
  }

  /** Whether the program is to stay for what comes. */
  hold(isHeld: boolean): void {
    if (isHeld) this.#socket?.ref();
    else this.#socket?.unref();
  }

  close(): void {
    this.#isClosed = true;
    this.#socket?.close();
    this.#socket = undefined;
  }

  async #open(): Promise<void> {
    const { host } = this.#options;
    const unknown = (cause?: unknown) =>
      new Fault("unavailable", `there is no host ${host}`, { cause, detail: { sent: false } });
    const all = await this.#options.lookup(host).catch((cause) => {
      throw unknown(cause);
    });
    if (all.length === 0) throw unknown();
    this.isHere = all.every(({ address }) => isLoopback(address));
    this.#next = [...all];
    await this.#connect();
  }

  /** To the first of the next addresses that this machine has a way to. */
  async #connect(): Promise<void> {
    const { host, port, trace } = this.#options;
    for (let cause: unknown; ; ) {
      const next = this.#next.shift();
      if (!next) {
        throw new Fault("unavailable", `${host}:${port} cannot be reached`, { cause, detail: { sent: false } });
      }
      try {
        const socket = await connected(next, port);
        if (this.#isClosed) {
          socket.close();
          throw new Fault("cancelled", "the client was closed");
        }
        trace?.("*", `UDP to ${next.address}:${port}`);
        socket.on("message", (bytes) => this.#options.received(bytes));
        socket.on("error", (thrown) => this.#failed(thrown));
        this.#socket = socket;
        return;
      } catch (thrown) {
        if (thrown instanceof Fault) throw thrown;
        cause = thrown;
      }
    }
  }

  #failed(thrown: unknown): void {
    if ((thrown as { code?: string }).code === "ECONNREFUSED") this.#options.refused(thrown);
  }
}

function connected({ address, family }: Address, port: number): Promise<Socket> {
  const socket = createSocket(family === 6 ? "udp6" : "udp4");
  return new Promise((resolve, reject) => {
    const failed = (thrown: unknown): void => {
      socket.close();
      reject(thrown);
    };
    socket.once("error", failed);
    socket.connect(port, address, () => {
      socket.off("error", failed);
      resolve(socket);
    });
  });
}
