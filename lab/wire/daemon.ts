/**
 * The process that is the wire: it lives in namespaces of its own, holds one end of the link of each host,
 * and moves every packet. Its standard input is its life: when that ends, all of it is gone.
 *
 * Speaks lines of JSON: the first line in is the network; each further one a command with an `id`, which is
 * answered by a line with it. It never returns to the event loop: packets do not wait for it.
 */

import { readSync, writeFileSync, writeSync } from "node:fs";
import { Heap } from "./heap.ts";
import { monotonic, openLibc, Poller, packetSocket, receive, sharpTimers, transmit } from "./libc.ts";
import { macOf, makeHost, outerPid, WIRE_MAC } from "./namespace.ts";
import { encodeSeen, type Seen } from "./record.ts";
import { LINK_BYTES, Router } from "./router.ts";
import { type Attached, attach, type HostSpec, type WireOptions } from "./spec.ts";

/** What the lab may ask of the wire while it runs. */
export type Command =
  | { readonly do: "links"; readonly host: number; readonly links: Pick<HostSpec, "up" | "down"> }
  | { readonly do: "drops"; readonly drops: WireOptions["drops"] }
  | { readonly do: "cut"; readonly host: number; readonly isCut: boolean }
  | { readonly do: "rebind"; readonly host: number }
  /** Links and counts of drops begin anew. */
  | { readonly do: "reset" }
  /** Writes what was seen since the last time to a file. */
  | { readonly do: "capture"; readonly file: string; readonly keep?: boolean }
  /** Sends a packet that was captured, once more, as if the host had sent it. */
  | { readonly do: "inject"; readonly host: number; readonly base64: string }
  | { readonly do: "stats" };

/** Answer to `stats`. */
export interface WireStats {
  readonly packets: number;
  readonly bytes: number;
  readonly dropped: number;
  /** Packets that left later than they should have, in nanoseconds: the median and the 99th percentile of the last 10,000. */
  readonly lateP50: number;
  readonly lateP99: number;
  /** Packets that the interface did not take. */
  readonly refused: number;
  /** Whether the capture was full, and later packets are not in it. */
  readonly isFull: boolean;
  readonly cpuMs: number;
}

const macBytes = (mac: string) => Uint8Array.from(mac.split(":"), (part) => Number.parseInt(part, 16));

function main(): void {
  const input = new Input();
  const options = JSON.parse(input.line()) as WireOptions;
  const hosts = attach(options.hosts);
  const libc = openLibc();
  const holders = hosts.map((host, index) => makeHost(libc, host, index));
  const sockets = hosts.map((_, index) => packetSocket(libc, `wire${index}`));
  say({ ready: true, pid: outerPid(), holders });
  new Daemon(libc, options, hosts, sockets, input).run();
}

class Daemon {
  readonly #libc: ReturnType<typeof openLibc>;
  readonly #router: Router;
  readonly #sockets: readonly number[];
  readonly #input: Input;
  readonly #now: () => number;
  readonly #queue = new Heap<{
    readonly to: number;
    readonly bytes: Uint8Array;
    readonly dueAt: number;
    readonly seen: Seen;
  }>();
  readonly #macs: readonly Uint8Array[];
  readonly #gateway = macBytes(WIRE_MAC);
  readonly #snapBytes: number;
  readonly #captureBytes: number;
  readonly #late = new Float64Array(10_000);
  #lateCount = 0;
  #seen: Seen[] = [];
  #seenBytes = 0;
  #stats = { packets: 0, bytes: 0, dropped: 0, refused: 0, isFull: false };

  constructor(
    libc: ReturnType<typeof openLibc>,
    options: WireOptions,
    hosts: readonly Attached[],
    sockets: readonly number[],
    input: Input,
  ) {
    this.#libc = libc;
    this.#router = new Router(hosts, options);
    this.#sockets = sockets;
    this.#input = input;
    this.#now = monotonic(libc);
    this.#macs = hosts.map((_, index) => macBytes(macOf(index)));
    this.#snapBytes = options.snapBytes ?? 65_535;
    this.#captureBytes = options.captureBytes ?? 256 * 1024 * 1024;
  }

  run(): void {
    sharpTimers(this.#libc);
    const poller = new Poller(this.#libc, [...this.#sockets, 0]);
    const buffer = new Uint8Array(65_536);
    for (;;) {
      const now = this.#release();
      const next = this.#queue.next;
      poller.wait(next === undefined ? 1e9 : next - now);
      for (const [from, fd] of this.#sockets.entries()) {
        if (!poller.has(from)) continue;
        // A bounded burst: what is due must not wait for a flood.
        for (let n = 0; n < 64; n++) {
          const length = receive(this.#libc, fd, buffer);
          if (length <= 0) break;
          this.#take(this.#now(), from, buffer.slice(0, length));
        }
      }
      if (poller.has(this.#sockets.length)) {
        if (!this.#input.fill()) process.exit(0);
        for (let line = this.#input.take(); line !== undefined; line = this.#input.take()) this.#command(line);
      }
    }
  }

  #take(now: number, from: number, bytes: Uint8Array): void {
    // IPv4 alone: hosts have nothing else to say to each other (their neighbours are written down).
    if (bytes.length < LINK_BYTES || bytes[12] !== 0x08 || bytes[13] !== 0x00) return;
    this.#stats.packets++;
    this.#stats.bytes += bytes.length;
    const sent = bytes.slice(0, this.#snapBytes);
    const { to, deliveries, drop } = this.#router.route(now, from, bytes);
    const base = { at: now, from, to, size: bytes.length, bytes: sent };
    if (drop !== undefined) {
      this.#stats.dropped++;
      this.#record({ ...base, drop });
    }
    for (const { to: receiver, at, bytes: out } of deliveries) {
      const isNotice = drop !== undefined;
      const translated = !isNotice && differs(sent, out) ? out.slice(0, this.#snapBytes) : undefined;
      const seen = isNotice
        ? { ...base, from: receiver, to: receiver, bytes: out, size: out.length }
        : { ...base, ...(translated && { translated }) };
      this.#queue.push(at, { to: receiver, bytes: out, dueAt: at, seen });
    }
  }

  /** Sends what is due. Returns the time. */
  #release(): number {
    let now = this.#now();
    for (let due = this.#queue.next; due !== undefined && due <= now; due = this.#queue.next) {
      const { to, bytes, dueAt, seen } = this.#queue.pop()!;
      bytes.set(this.#macs[to]!, 0);
      bytes.set(this.#gateway, 6);
      if (!transmit(this.#libc, this.#sockets[to]!, bytes)) this.#stats.refused++;
      now = this.#now();
      this.#late[this.#lateCount++ % this.#late.length] = now - dueAt;
      this.#record({ ...seen, leftAt: now });
    }
    return now;
  }

  #record(seen: Seen): void {
    this.#seenBytes += seen.bytes.length + 64;
    if (this.#seenBytes > this.#captureBytes) this.#stats.isFull = true;
    else this.#seen.push(seen);
  }

  #command(line: string): void {
    const { id, ...command } = JSON.parse(line) as Command & { readonly id: number };
    try {
      say({ id, result: this.#obey(command as Command) ?? null });
    } catch (thrown) {
      say({ id, error: (thrown as Error).message });
    }
  }

  #obey(command: Command): unknown {
    switch (command.do) {
      case "links":
        return this.#router.setLinks(command.host, command.links);
      case "drops":
        return this.#router.setDrops(command.drops);
      case "cut":
        return this.#router.cut(command.host, command.isCut);
      case "rebind":
        return this.#router.rebind(command.host);
      case "reset":
        return this.#router.reset();
      case "inject":
        return this.#take(this.#now(), command.host, Uint8Array.from(Buffer.from(command.base64, "base64")));
      case "capture": {
        writeFileSync(command.file, Buffer.concat(this.#seen.map(encodeSeen)), { mode: 0o600 });
        const count = this.#seen.length;
        if (!command.keep) {
          this.#seen = [];
          this.#seenBytes = 0;
        }
        return { count };
      }
      case "stats": {
        const late = [...this.#late.subarray(0, Math.min(this.#lateCount, this.#late.length))].sort((a, b) => a - b);
        const { user, system } = process.cpuUsage();
        const at = (part: number) => late[Math.min(late.length - 1, Math.floor(late.length * part))] ?? 0;
        return {
          ...this.#stats,
          lateP50: at(0.5),
          lateP99: at(0.99),
          cpuMs: (user + system) / 1000,
        } satisfies WireStats;
      }
    }
  }
}

function differs(a: Uint8Array, b: Uint8Array): boolean {
  // Addresses and ports: all that a NAT box changes, besides checksums.
  for (let at = LINK_BYTES + 12; at < LINK_BYTES + 24; at++) if (a[at] !== b[at]) return true;
  return false;
}

function say(value: unknown): void {
  writeSync(1, `${JSON.stringify(value)}\n`);
}

/** Lines of standard input, read when there is something. */
class Input {
  #text = "";
  readonly #buffer = Buffer.alloc(65_536);
  readonly #decoder = new TextDecoder();

  /** Blocks for a whole line. */
  line(): string {
    for (;;) {
      const line = this.take();
      if (line !== undefined) return line;
      if (!this.fill()) process.exit(0);
    }
  }

  take(): string | undefined {
    const end = this.#text.indexOf("\n");
    if (end < 0) return undefined;
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    return line;
  }

  /** False at the end. */
  fill(): boolean {
    let length = 0;
    try {
      length = readSync(0, this.#buffer);
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === "EAGAIN") return true;
    }
    this.#text += this.#decoder.decode(this.#buffer.subarray(0, length), { stream: true });
    return length > 0;
  }
}

try {
  main();
} catch (thrown) {
  say({ error: (thrown as Error).message });
  process.exit(1);
}
