/** What a network is made of. */
import type { DropRule } from "./drops.ts";
import type { Impairments } from "./link.ts";
import type { NatType } from "./nat.ts";

export interface HostSpec {
  /** Default: 10.0.0.1 and on, in the order of the hosts. */
  readonly address?: string;
  /** What the host sends, and what it gets: its access link (default: nothing happens to either). */
  readonly up?: Impairments;
  readonly down?: Impairments;
  /** The host stands behind a NAT box: `address` is inside, `outside` is what the others see. */
  readonly nat?: { readonly type: NatType; readonly outside: string; readonly idleMs?: number };
  /** Of its interface (default 1500). */
  readonly mtu?: number;
  /** TCP's control of congestion for everything that it sends (default: that of the machine): `cubic`, `bbr`, `reno`. */
  readonly congestion?: string;
  /** Written to /proc/sys/net/ of the host, such as `{ "ipv4/tcp_fastopen": "3" }`. */
  readonly sysctls?: Readonly<Record<string, string>>;
}

export interface WireOptions {
  readonly hosts: Readonly<Record<string, HostSpec>>;
  /** Of everything random (default 1). The same seed and packets: the same losses. */
  readonly seed?: number;
  readonly drops?: readonly DropRule[];
  /** Most bytes of each packet that are kept for the capture (default 65,535), and in all (default 256 MiB). */
  readonly snapBytes?: number;
  readonly captureBytes?: number;
}

/** A host as the router knows it. */
export interface Attached {
  readonly name: string;
  readonly address: string;
  readonly spec: HostSpec;
}

/** @throws RangeError for two hosts with one address */
export function attach(hosts: WireOptions["hosts"]): Attached[] {
  const attached = Object.entries(hosts).map(([name, spec], index) => {
    return { name, address: spec.address ?? `10.0.0.${index + 1}`, spec };
  });
  const seen = new Set<string>();
  for (const { address, spec } of attached) {
    for (const each of [address, spec.nat?.outside]) {
      if (each === undefined) continue;
      if (seen.has(each)) throw new RangeError(`two hosts have the address ${each}`);
      seen.add(each);
    }
  }
  return attached;
}
