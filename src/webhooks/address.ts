/**
 * Which addresses may be sent to: those of the internet, and what the operator allows. A name that resolves to
 * an address of this network would make the server ask there in somebody else's name (SSRF).
 */
import { BlockList, isIP } from "node:net";
import { Fault } from "../log/index.ts";

/** IANA's special-purpose addresses (RFC 6890), multicast and what is reserved. */
const CLOSED_4 = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/3",
];
/** Only 2000::/3 is of the internet; of it these are for documents, or lead to IPv4 (Teredo, 6to4). */
const OPEN_6 = "2000::/3";
const CLOSED_6 = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];

export class Addresses {
  readonly #closed4 = listOf(CLOSED_4);
  readonly #open6 = listOf([OPEN_6]);
  readonly #closed6 = listOf(CLOSED_6);
  readonly #allowed: BlockList;

  /** @param allowed `loopback`, or addresses and ranges such as `10.1.0.0/16`. @throws Fault `invalid_argument` */
  constructor(allowed: readonly string[] = []) {
    this.#allowed = listOf(allowed.flatMap((each) => (each === "loopback" ? ["127.0.0.0/8", "::1/128"] : [each])));
  }

  /** Whether the operator allows it by name: then also without TLS. */
  isAllowed(address: string): boolean {
    return inList(this.#allowed, plain(address));
  }

  isOpen(address: string): boolean {
    const it = plain(address);
    if (inList(this.#allowed, it)) return true;
    if (isIP(it) === 4) return !inList(this.#closed4, it);
    return isIP(it) === 6 && inList(this.#open6, it) && !inList(this.#closed6, it);
  }
}

/** An IPv4 address in IPv6's clothes (RFC 4291 §2.5.5.2) is what it is; a zone is not part of the address. */
function plain(address: string): string {
  const it = address.split("%", 1)[0]!.toLowerCase();
  const dotted = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(it);
  if (dotted) return dotted[1]!;
  const hex = /^(?:::|(?:0{1,4}:){5})ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(it);
  if (!hex) return it;
  const [high, low] = [Number.parseInt(hex[1]!, 16), Number.parseInt(hex[2]!, 16)];
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

function inList(list: BlockList, address: string): boolean {
  const version = isIP(address);
  return version !== 0 && list.check(address, version === 4 ? "ipv4" : "ipv6");
}

function listOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", bits] = range.split("/", 2);
    const version = isIP(address);
    const most = version === 4 ? 32 : 128;
    const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : -1;
    if (version === 0 || prefix < 0 || prefix > most) {
      throw new Fault("invalid_argument", `${JSON.stringify(range)} is no address or range`, {
        hint: "give loopback, an address, or a range such as 10.1.0.0/16",
      });
    }
    list.addSubnet(address, prefix, version === 4 ? "ipv4" : "ipv6");
  }
  return list;
}

/** Ports of other protocols, which could be made to do something by the text of a request (Fetch §2.9, shortened). */
const CLOSED_PORTS = new Set([
  2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10_080,
]);

export function isOpenPort(port: number): boolean {
  return port === 80 || port === 443 || (port >= 1024 && !CLOSED_PORTS.has(port));
}
