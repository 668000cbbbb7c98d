/**
 * The four types of NAT, each as two small functions: which key a mapping has (RFC 4787 §4), and what a
 * packet from outside must show to be let in (§5). The names are those of RFC 3489 §5, which people use.
 */

export type NatType = "full-cone" | "address-restricted" | "port-restricted" | "symmetric";

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

interface Behaviour {
  /** Packets with the same key share an outside port. */
  readonly mapping: (inside: Endpoint, remote: Endpoint) => string;
  /** What is noted of each packet out, and looked for at each packet in. */
  readonly filter: (remote: Endpoint) => string;
}

const text = ({ address, port }: Endpoint) => `${address}:${port}`;

export const NAT_TYPES: Readonly<Record<NatType, Behaviour>> = {
  "full-cone": { mapping: (inside) => text(inside), filter: () => "*" },
  "address-restricted": { mapping: (inside) => text(inside), filter: (remote) => remote.address },
  "port-restricted": { mapping: (inside) => text(inside), filter: (remote) => text(remote) },
  symmetric: { mapping: (inside, remote) => `${text(inside)} ${text(remote)}`, filter: (remote) => text(remote) },
};

interface Mapping {
  readonly inside: Endpoint;
  readonly port: number;
  readonly allowed: Set<string>;
  usedAt: number;
}

export interface NatOptions {
  readonly type: NatType;
  /** The address outside. */
  readonly address: string;
  /** A mapping is forgotten after so long without a packet out, in milliseconds (default 120,000: RFC 4787 §4.3). */
  readonly idleMs?: number;
}

/** A NAT box. Time is in nanoseconds. */
export class Nat {
  readonly #options: NatOptions;
  readonly #byKey = new Map<string, Mapping>();
  readonly #byPort = new Map<string, Mapping>();
  #next = 40_000;

  constructor(options: NatOptions) {
    this.#options = options;
  }

  get address(): string {
    return this.#options.address;
  }

  /** The outside port for a packet that goes out. */
  out(now: number, protocol: number, inside: Endpoint, remote: Endpoint): number {
    const { mapping, filter } = NAT_TYPES[this.#options.type];
    const key = `${protocol} ${mapping(inside, remote)}`;
    let found = this.#byKey.get(key);
    if (!found || this.#isOver(found, now)) {
      if (found) this.#byPort.delete(`${protocol} ${found.port}`);
      found = { inside, port: this.#next++, allowed: new Set(), usedAt: now };
      this.#byKey.set(key, found);
      this.#byPort.set(`${protocol} ${found.port}`, found);
    }
    found.usedAt = now;
    found.allowed.add(filter(remote));
    return found.port;
  }

  /** Who inside gets a packet that came to this port from there; nobody when it is filtered. */
  in(now: number, protocol: number, port: number, remote: Endpoint): Endpoint | undefined {
    const found = this.#byPort.get(`${protocol} ${port}`);
    if (!found || this.#isOver(found, now)) return undefined;
    return found.allowed.has(NAT_TYPES[this.#options.type].filter(remote)) ? found.inside : undefined;
  }

  /** Forgets everything, as a box that was switched off: inside addresses get new ports (NAT rebinding). */
  rebind(): void {
    this.#byKey.clear();
    this.#byPort.clear();
  }

  #isOver(mapping: Mapping, now: number): boolean {
    return now - mapping.usedAt > (this.#options.idleMs ?? 120_000) * 1e6;
  }
}
