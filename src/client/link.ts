/**
 * The transport in use: a peer that gives each call to the one that the fallback machine has chosen, and tells
 * the machine how its connections fare.
 */
import { CALLS, type Call, type Exchange, type Peer, TOPICS } from "../contract/peer.ts";
import { Fault } from "../log/fault.ts";
import type { Page, ReadAt } from "../log/index.ts";
import type { HttpMode } from "../transports/http/client-read.ts";
import { type Clock, Linked, neverSent } from "../transports/http/client-request.ts";
import { begin, chosen, type FallbackEvent, type FallbackState, next, type Transport } from "./fallback.ts";
import type { PeerOptions } from "./types.ts";

/** A peer over one connection at a time, which is made when it is used and there is none. */
export type Socket = Peer & { close?(): void };

export type SocketReport = Pick<PeerOptions, "onOpen" | "onClose">;

export interface LinkOptions {
  readonly clock: Clock;
  /** The transports that can be used, the best first. */
  readonly ladder: readonly Transport[];
  readonly http: (mode: HttpMode) => Peer;
  readonly connect: (report: SocketReport) => Socket;
}

export class Link {
  readonly peer: Peer = (call) => this.#peerFor(call)(call);
  readonly #options: LinkOptions;
  readonly #http = new Map<HttpMode, Peer>();
  /** With which calls failed that were waiting for a socket to open. */
  readonly #unsent = new WeakSet<Fault>();
  #state: FallbackState;
  #socket: Socket | undefined;
  /** When the connection of the socket was opened; undefined while it is not open. */
  #openedAt: number | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#state = begin(options.ladder);
  }

  /** What the next reading uses. */
  get transport(): Transport {
    return chosen(this.#state);
  }

  /** Whether what failed with this fault certainly never reached the server. */
  isUnsent(fault: Fault): boolean {
    return this.#unsent.has(fault) || neverSent(fault);
  }

  close(): void {
    this.#socket?.close?.();
  }

  #peerFor(call: Call): Peer {
    const { ladder } = this.#options;
    // A plain call is one request in any mode: opening a WebSocket for it would only cost round trips.
    if (isPlain(call) && (ladder.length > 1 || !isSocket(ladder[0]!))) {
      return this.#socket && this.#openedAt !== undefined ? this.#socket : this.#httpPeer("sse");
    }
    this.#tell({ type: "connect", at: this.#options.clock.now() });
    const { transport } = this;
    if (isSocket(transport)) return this.#socketPeer(transport);
    const peer = this.#httpPeer(transport);
    return async (call) => this.#watched(await peer(call), transport);
  }

  #httpPeer(mode: HttpMode): Peer {
    const peer = this.#http.get(mode) ?? this.#options.http(mode);
    this.#http.set(mode, peer);
    return peer;
  }

  #socketPeer(transport: Transport): Peer {
    const { clock, connect } = this.#options;
    this.#socket ??= connect({
      onOpen: () => {
        this.#openedAt = clock.now();
        this.#tell({ type: "opened", transport, at: this.#openedAt });
      },
      onClose: (fault) => {
        const [at, openedAt] = [clock.now(), this.#openedAt];
        this.#openedAt = undefined;
        if (openedAt === undefined) this.#unsent.add(fault);
        // A refusal, or a server that goes, says nothing about the transport.
        if (fault.code !== "unavailable" || fault.detail?.["close"] !== undefined) return;
        if (openedAt === undefined) this.#tell({ type: "failed", transport, at });
        else this.#tell({ type: "closed", transport, at, lastedMs: at - openedAt });
      },
    });
    return this.#socket;
  }

  /** Tells the machine how the readings of an exchange fare. */
  #watched(exchange: Exchange, transport: Transport): Exchange {
    const read = exchange.read.bind(exchange);
    exchange.read = (at) => (at.follow ? this.#watch(read, at, transport) : read(at));
    return exchange;
  }

  async *#watch(read: Exchange["read"], at: ReadAt, transport: Transport): AsyncGenerator<Page> {
    const { clock } = this.#options;
    const began = clock.now();
    const linked = new Linked(at.signal);
    const { upgradeAt } = this.#state;
    const moved = new Fault("unavailable", "a better transport is tried", { detail: { moved: true } });
    const stop = upgradeAt === undefined ? undefined : clock.after(upgradeAt - began, () => linked.abort(moved));
    let isOpen = false;
    try {
      for await (const page of read({ ...at, signal: linked.signal })) {
        if (!isOpen) this.#tell({ type: "opened", transport, at: clock.now() });
        isOpen = true;
        yield page;
      }
      if (linked.signal.reason === moved && !at.signal?.aborted) throw moved;
    } catch (thrown) {
      if (thrown instanceof Fault && thrown !== moved) this.#judge(thrown, transport, began, isOpen);
      throw thrown;
    } finally {
      stop?.();
      linked.release();
    }
  }

  #judge({ code, detail, cause }: Fault, transport: Transport, began: number, isOpen: boolean): void {
    // What the server said, also that it goes, says nothing about the transport.
    if (code !== "unavailable" || detail?.["close"] !== undefined) return;
    const at = this.#options.clock.now();
    if (detail?.["stalled"] === true && !isOpen) this.#tell({ type: "stalled", transport, at });
    else if (isOpen) this.#tell({ type: "closed", transport, at, lastedMs: at - began });
    else if (cause !== undefined) this.#tell({ type: "failed", transport, at });
  }

  #tell(event: FallbackEvent): void {
    this.#state = next(this.#state, event);
  }
}

function isSocket(transport: Transport): transport is "websocket" | "own" {
  return transport === "websocket" || transport === "own";
}

function isPlain({ to, key, keep }: Call): boolean {
  return key === undefined && !keep && !to.startsWith(CALLS) && !to.startsWith(TOPICS);
}
