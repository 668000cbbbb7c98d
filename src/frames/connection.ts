/** One connection, over any pipe: who it belongs to, its open exchanges, and whether the other side still lives. */
import type { Credentials, Principal } from "../contract/index.ts";
import { Fault } from "../log/index.ts";
import { CLOSE, type ClientMessage, PING } from "../wire/frame.ts";
import { type BadMessage, parseClientMessage } from "../wire/frame-parse.ts";
import { dispatch } from "./dispatch.ts";
import type { ServedExchange } from "./exchange.ts";
import type { Hub, Member } from "./hub.ts";
import type { Items } from "./items.ts";
import { Login } from "./login.ts";
import { Outbound } from "./outbound.ts";
import type { Pipe } from "./pipe.ts";

/** Messages that cannot be taken, on one socket, before it is closed. */
const MOST_BAD = 100;

export class Connection {
  readonly hub: Hub;
  readonly out: Outbound;
  readonly login: Login;
  readonly exchanges = new Map<number, ServedExchange>();
  /** Items that are sent by the id of their call: in order, also when they come in several exchanges. */
  #items: Map<string, Items> | undefined;
  #controller: AbortController | undefined;
  /** The tick of the last message of the client. */
  #heardAt: number;
  /** The tick of the ping that waits for an answer. */
  #pingedAt: number | undefined;
  #bad = 0;
  #member: Member = this;
  #isGoing = false;

  constructor(hub: Hub, pipe: Pipe, credentials: Credentials) {
    this.hub = hub;
    this.out = new Outbound(hub, pipe);
    this.login = new Login(this, credentials);
    this.#heardAt = hub.tick;
  }

  /** Aborts when the socket has closed: the caller has gone. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  get address(): string | undefined {
    return this.login.credentials.address;
  }

  // --- called by the transport ---

  /** @param member what the hub turns and tells instead, where this is only a part of it */
  opened(member: Member = this): void {
    this.#member = member;
    this.hub.add(member);
    this.out.text(this.hub.welcome);
    this.login.begin();
    // Between the handshake and here the server may have begun to go.
    if (this.hub.host.draining.aborted) this.drain();
  }

  received(text: string): void {
    if (this.out.isClosed) return;
    this.heard();
    const message = parseClientMessage(text, this.hub.host.limits);
    if (message.type === "bad") this.#refuse(message);
    else if (message.type !== "pong") this.login.pass(message);
  }

  receivedBinary(): void {
    if (this.out.isClosed) return;
    this.heard();
    this.#refuse({ type: "bad", path: "", message: "is binary: send text", isOpening: false });
  }

  /** Any sign of life. */
  heard(): void {
    this.#heardAt = this.hub.tick;
    this.#pingedAt = undefined;
  }

  disposed(): void {
    this.out.isClosed = true;
    this.hub.delete(this.#member);
    this.login.dispose();
    for (const exchange of this.exchanges.values()) exchange.dispose();
    this.exchanges.clear();
    this.#controller?.abort(new Fault("cancelled", "the caller has gone"));
  }

  // --- called by the shared timer ---

  turn(now: number): void {
    const { hub, out } = this;
    const { tick } = hub;
    if (out.isFull) out.drained();
    const since = out.arrivingSince;
    if (since !== undefined && tick - since >= hub.bodyTicks) {
      this.end(lateFault(hub.host.limits.bodyMs), CLOSE.policy);
      return;
    }
    if (this.#pingedAt === undefined) {
      if (tick - out.sentAt >= hub.heartbeatTicks) {
        this.#pingedAt = tick;
        out.text(PING);
      }
    } else if (tick - this.#pingedAt >= hub.graceTicks && this.#heardAt <= this.#pingedAt) {
      out.close(CLOSE.tooSlow, "nothing was heard");
      return;
    }
    this.login.turn(now);
  }

  // --- the rest ---

  /** A message that has passed the login. */
  take(message: ClientMessage, principal: Principal): void {
    dispatch(this, message, principal);
  }

  /** @throws Fault for what is against the protocol on this socket, not against a method's rules */
  begin(exchange: ServedExchange): void {
    const { exchangesPerConnection } = this.hub.host.limits;
    this.exchanges.set(exchange.id, exchange);
    if (this.exchanges.size > exchangesPerConnection) {
      this.#turnAway(
        exchange,
        new Fault("resource_exhausted", `${exchangesPerConnection} exchanges are open already on this socket`, {
          limit: "exchangesPerConnection",
          hint: "end some, open another socket, or raise the limit exchangesPerConnection of the server",
        }),
      );
    } else if (this.out.isBusy) {
      this.#turnAway(
        exchange,
        new Fault("resource_exhausted", "this socket has answers that were not read yet", {
          limit: "sendBufferBytes",
          retryAfterMs: 1000,
          hint: "read what was sent, ask for less at once, or raise the limit sendBufferBytes of the server",
        }),
      );
    }
  }

  #turnAway(exchange: ServedExchange, fault: Fault): void {
    this.hub.refused(fault);
    exchange.fail(fault);
  }

  closed(exchange: ServedExchange): void {
    this.exchanges.delete(exchange.id);
    if (this.#isGoing) this.#leave();
  }

  itemsOf(call: string, make: () => Items): Items {
    this.#items ??= new Map();
    for (const [each, { size }] of this.#items) if (size === 0) this.#items.delete(each);
    let items = this.#items.get(call);
    if (!items) {
      items = make();
      this.#items.set(call, items);
    }
    return items;
  }

  /** A fault of the connection. `id` is of an exchange that it does not end. */
  fault(fault: Fault): void {
    this.hub.refused(fault);
    this.out.message({ type: "fault", fault: fault.toJSON() });
  }

  /** Says why, and closes: nothing more can be made of what comes. */
  end(fault: Fault, code: number): void {
    if (this.out.isClosed) return;
    this.fault(fault);
    this.out.close(code, fault.code);
  }

  /** The id is in use: whoever has it is not disturbed. */
  refuseId(id: number): void {
    this.#refuse({ type: "bad", id, path: "id", message: "is in use on this socket", isOpening: false });
  }

  /** The server goes. */
  drain(): void {
    if (this.#isGoing) return;
    this.#isGoing = true;
    this.out.message({ type: "goaway", retryAfterMs: this.hub.spread(), reason: "draining" });
    for (const exchange of this.exchanges.values()) exchange.drain();
    this.#leave();
  }

  #leave(): void {
    for (const { isFinal } of this.exchanges.values()) if (isFinal) return;
    this.out.close(CLOSE.goingAway, "draining");
  }

  #refuse({ id, isOpening, path, message, limit }: BadMessage): void {
    const what = path === "" ? "the message" : `"${path}" of the message`;
    const fault = new Fault("invalid_argument", `${what} ${message}`, {
      hint: "see PROTOCOL.md §3.1",
      ...(path !== "" && { fields: [{ path, message }] }),
      ...(limit !== undefined && { limit }),
      ...(id !== undefined && { detail: { id } }),
    });
    if (id !== undefined && isOpening && !this.exchanges.has(id)) {
      this.hub.refused(fault);
      this.out.message({ type: "fault", id, fault: fault.toJSON() });
    } else this.fault(fault);
    if (++this.#bad >= MOST_BAD) this.out.close(CLOSE.policy, "too many bad messages");
  }
}

function lateFault(bodyMs: number): Fault {
  return new Fault("deadline_exceeded", `a message took longer than ${bodyMs} ms to arrive`, {
    limit: "bodyMs",
    hint: "send it in one go, send less at once, or raise the limit bodyMs of the server",
  });
}
