/** A relay of datagrams that loses, repeats and delays them, by seed: the network, as it is. */
import { createSocket, type Socket } from "node:dgram";
import { seeded } from "../../src/wire/seed.ts";

export interface RelayOptions {
  readonly seed: number;
  /** How many of all datagrams are lost, and come twice, each way: 0 to 1. */
  readonly loss?: number;
  readonly duplicate?: number;
  /** Each is held up by a random time of at most so many milliseconds: so later ones come before earlier ones. */
  readonly delayMs?: number;
}

export interface Relay {
  readonly port: number;
  readonly passed: number;
  readonly lost: number;
  readonly doubled: number;
  close(): void;
}

export function datagramRelay(target: number, options: RelayOptions): Promise<Relay> {
  const { seed, loss = 0, duplicate = 0, delayMs = 0 } = options;
  const random = seeded(seed);
  const counts = { passed: 0, lost: 0, doubled: 0 };
  let isClosed = false;
  /** Each client has a socket of its own towards the server, as behind a NAT. */
  const far = new Map<number, Socket>();
  const near = createSocket("udp4");
  const relay = (send: () => void): void => {
    if (random() < loss) {
      counts.lost++;
      return;
    }
    const times = random() < duplicate ? 2 : 1;
    counts.doubled += times - 1;
    for (let n = 0; n < times; n++) {
      setTimeout(() => {
        counts.passed++;
        if (!isClosed) send();
      }, random() * delayMs);
    }
  };
  near.on("error", () => {});
  near.on("message", (bytes, { port }) => {
    let socket = far.get(port);
    if (!socket) {
      const made = createSocket("udp4");
      made.on("error", () => {});
      made.on("message", (answer) => relay(() => near.send(answer, port, "127.0.0.1")));
      far.set(port, made);
      socket = made;
    }
    const to = socket;
    relay(() => to.send(bytes, target, "127.0.0.1"));
  });
  return new Promise((resolve) => {
    near.bind(0, "127.0.0.1", () => {
      const { port } = near.address();
      const close = (): void => {
        isClosed = true;
        for (const socket of [near, ...far.values()]) socket.close();
      };
      resolve({
        port,
        close,
        get passed() {
          return counts.passed;
        },
        get lost() {
          return counts.lost;
        },
        get doubled() {
          return counts.doubled;
        },
      });
    });
  });
}
