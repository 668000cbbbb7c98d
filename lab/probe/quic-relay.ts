/**
 * Stands between this platform's QUIC and the server, on this machine: so each datagram is seen, counted and
 * timed, IPv6 is reached too, and "port unreachable" comes through, of which the platform tells nothing.
 */
import { createSocket, type Socket } from "node:dgram";
import { absentOf } from "./line.ts";
import type { Absent } from "./reason.ts";
import type { Address, Setting } from "./setting.ts";

export interface Datagram {
  readonly isOurs: boolean;
  readonly at: number;
  readonly bytes: Buffer;
}

/** The beginning of a connection is of interest. */
const MOST_KEPT = 64;

export class QuicRelay {
  readonly datagrams: Datagram[] = [];
  readonly #meter: Setting["meter"];
  readonly #near: Socket = createSocket("udp4");
  readonly #far: Socket;
  readonly #broken = Promise.withResolvers<never>();
  #client: { readonly port: number; readonly address: string } | undefined;

  private constructor({ meter }: Setting, { host }: Address) {
    this.#meter = meter;
    this.#far = createSocket(host.includes(":") ? "udp6" : "udp4");
    this.#broken.promise.catch(() => {});
  }

  /** @throws Absent */
  static async open(setting: Setting, address: Address): Promise<QuicRelay> {
    const relay = new QuicRelay(setting, address);
    try {
      await relay.#open(address);
      return relay;
    } catch (thrown) {
      relay.close();
      throw absentOf(thrown);
    }
  }

  /** Where the platform's QUIC is to connect to. */
  get address(): string {
    return `127.0.0.1:${this.#near.address().port}`;
  }

  /** Rejects when the host says that nobody is there. */
  get broken(): Promise<never> {
    return this.#broken.promise;
  }

  get hasAnswer(): boolean {
    return this.datagrams.some(({ isOurs }) => !isOurs);
  }

  close(): void {
    this.#near.close();
    this.#far.close();
  }

  async #open({ host, port }: Address): Promise<void> {
    const failed = (error: Error): void => this.#broken.reject(absentOf(error) satisfies Absent);
    this.#far.on("error", failed);
    this.#near.on("error", failed);
    this.#near.on("message", (bytes, from) => {
      this.#client = from;
      this.#see(bytes, true);
      this.#far.send(bytes);
    });
    this.#far.on("message", (bytes) => {
      this.#see(bytes, false);
      if (this.#client) this.#near.send(bytes, this.#client.port, this.#client.address);
    });
    await new Promise<void>((resolve, reject) => {
      this.#near.once("error", reject);
      this.#near.bind(0, "127.0.0.1", resolve);
    });
    // Connected: so the kernel hands over what ICMP says.
    await new Promise<void>((resolve, reject) => {
      this.#far.once("error", reject);
      this.#far.connect(port, host, resolve);
    });
  }

  #see(bytes: Buffer, isOurs: boolean): void {
    this.#meter[isOurs ? "bytesSent" : "bytesReceived"] += bytes.length;
    if (this.datagrams.length < MOST_KEPT) this.datagrams.push({ isOurs, at: performance.now(), bytes });
  }
}
