/**
 * Who a socket belongs to. A handshake with credentials is checked at once; otherwise the first message
 * decides: `auth` brings them, any other is from a caller who shows none. What comes meanwhile waits.
 */
import { ANONYMOUS, type Credentials, type Principal } from "../contract/index.ts";
import { Fault, toFault } from "../log/index.ts";
import { CLOSE, type ClientMessage } from "../wire/frame.ts";
import type { Connection } from "./connection.ts";

/** Messages that may wait for the check. */
const MOST_WAITING = 64;

export class Login {
  /** Those of the handshake. */
  readonly credentials: Credentials;
  readonly #connection: Connection;
  #principal: Principal | undefined;
  #waiting: ClientMessage[] | undefined;
  #isChecking = false;
  #isOver = false;
  /** When nobody has said who it is: the tick at which that is too long. */
  #until = 0;

  constructor(connection: Connection, credentials: Credentials) {
    this.#connection = connection;
    this.credentials = credentials;
  }

  begin(): void {
    const { host, tick, graceTicks } = this.#connection.hub;
    this.#until = tick + graceTicks;
    if (host.anonymous) this.#principal = ANONYMOUS;
    else if (this.credentials.bearer !== undefined || this.credentials.apiKey !== undefined) {
      this.#check(this.credentials);
    }
  }

  pass(message: ClientMessage): void {
    if (this.#isOver) return;
    if (message.type === "auth") {
      if (this.#isChecking) this.#wait(message);
      else this.#check({ ...this.#anybody(), bearer: message.token });
    } else if (this.#principal && !this.#waiting) this.#connection.take(message, this.#principal);
    else {
      this.#wait(message);
      if (!this.#isChecking) this.#check(this.#anybody());
    }
  }

  /** Closes a socket whose credential has expired, or that never showed one. */
  turn(now: number): void {
    if (this.#isOver) return;
    const principal = this.#principal;
    if (!principal) {
      if (this.#connection.hub.tick >= this.#until && !this.#isChecking) {
        this.#refuse(new Fault("unauthenticated", "no credential was shown", { hint: "send `auth` first" }));
      }
    } else if (principal.expiresAt !== undefined && principal.expiresAt <= now && !this.#isChecking) {
      this.#refuse(
        new Fault("unauthenticated", "the credential has expired", {
          hint: "get a new one and go on from the last cursor; `auth` with it before keeps the socket",
        }),
      );
    }
  }

  dispose(): void {
    this.#isOver = true;
    this.#waiting = undefined;
  }

  #anybody(): Credentials {
    const { address, via } = this.credentials;
    return { via, ...(address !== undefined && { address }) };
  }

  #check(credentials: Credentials): void {
    this.#isChecking = true;
    // A plain value too: what is sent must come after what has been sent.
    Promise.resolve()
      .then(() => this.#connection.hub.host.authenticate(credentials))
      .then(
        (principal) => this.#checked(principal),
        (thrown) => this.#failed(toFault(thrown)),
      );
  }

  #checked(principal: Principal): void {
    this.#isChecking = false;
    if (this.#isOver) return;
    if (this.#principal && this.#principal.id !== principal.id) {
      this.#connection.fault(new Fault("permission_denied", "the new credential is of somebody else"));
      this.#isOver = true;
      this.#connection.out.close(CLOSE.policy, "another principal");
      return;
    }
    this.#principal = principal;
    const { id, expiresAt } = principal;
    this.#connection.out.message({ type: "auth", principal: id, ...(expiresAt !== undefined && { expiresAt }) });
    this.#release();
  }

  /** A renewal that fails changes nothing: the old credential holds until it expires. */
  #failed(fault: Fault): void {
    this.#isChecking = false;
    if (this.#isOver) return;
    if (!this.#principal) this.#refuse(fault);
    else {
      this.#connection.fault(fault);
      this.#release();
    }
  }

  #refuse(fault: Fault): void {
    this.#isOver = true;
    this.#waiting = undefined;
    this.#connection.fault(fault);
    const isHere = fault.code === "unauthenticated" || fault.code === "permission_denied";
    // Keys that cannot be fetched now say nothing of the credential.
    this.#connection.out.close(isHere ? CLOSE.credential : CLOSE.goingAway, fault.code);
  }

  #wait(message: ClientMessage): void {
    this.#waiting ??= [];
    if (this.#waiting.push(message) <= MOST_WAITING) return;
    this.#isOver = true;
    this.#waiting = undefined;
    this.#connection.fault(
      new Fault("resource_exhausted", `more than ${MOST_WAITING} messages came before the credential was checked`, {
        limit: "messagesBeforeAuth",
        hint: "wait for `auth` before sending more",
      }),
    );
    this.#connection.out.close(CLOSE.policy, "too many messages before auth");
  }

  #release(): void {
    while (this.#waiting && !this.#isChecking && !this.#isOver) {
      const message = this.#waiting.shift();
      if (message === undefined) this.#waiting = undefined;
      else if (message.type === "auth") this.#check({ ...this.#anybody(), bearer: message.token });
      else this.#connection.take(message, this.#principal!);
    }
  }
}
