/**
 * Trying again. The rule that never does a thing twice:
 *
 * - A unary call without a key is sent once. It is sent again only when it certainly never reached a server
 *   (connection refused, no such host; a browser cannot tell), or when the server refused the credential and
 *   there is another one: nothing has run then.
 * - Everything else has a name that makes sending it again harmless: calls with a key (the caller's own, or
 *   one made for `retry`, `keep`, `start` and every stream), published events by their key, items by their
 *   number, readings by their cursor. These are tried again after every fault that says that this can help.
 * - A fault that is the recorded end of a call is final, whatever it says: the same key would replay it.
 */
import type { Peer, Principal } from "../contract/peer.ts";
import { Fault } from "../log/fault.ts";
import { abortFault } from "../transports/http/client-request.ts";
import { backoffMs } from "./backoff.ts";
import { type Environment, pause } from "./environment.ts";
import type { Tokens } from "./tokens.ts";
import type { Retry } from "./types.ts";

/** What everything in a client shares. */
export interface Context {
  readonly peer: Peer;
  readonly principal: Principal;
  /** The address of the server, without a slash at its end. */
  readonly base: string;
  readonly env: Environment;
  readonly tokens: Tokens | undefined;
  /** As the user set it. */
  readonly attempts: number | undefined;
  /** Aborts when the client is closed. */
  readonly closing: AbortSignal;
  /** Whether what failed with this fault certainly never reached the server. */
  readonly isUnsent: (fault: Fault) => boolean;
  /** Tells the user of a wait. */
  readonly onRetry: (retry: Omit<Retry, "transport">) => void;
}

/** A fault that is an answer: it is given to the caller as it is. */
export class Final {
  readonly fault: Fault;

  constructor(fault: Fault) {
    this.fault = fault;
  }
}

const ATTEMPTS = 4;

/** One thing that is tried until it works. */
export class Attempt {
  readonly #context: Context;
  readonly #signal: AbortSignal;
  readonly #isSafe: boolean;
  readonly #isReader: boolean;
  #failures = 0;
  #isRenewed = false;

  /** `isSafe`: sending it again does nothing twice. `isReader`: it rests while the page is hidden. */
  constructor(context: Context, signal: AbortSignal, isSafe: boolean, isReader = false) {
    this.#context = context;
    this.#signal = signal;
    this.#isSafe = isSafe;
    this.#isReader = isReader;
  }

  /** After it worked, for as long as can be expected of it. */
  succeeded(): void {
    this.#failures = 0;
    this.#isRenewed = false;
  }

  /**
   * Waits until it can be tried again. `isKnown`: the server has it recorded, so that waiting is worth it
   * however long it takes. @throws Fault when trying again cannot help, or is not allowed
   */
  async again(thrown: unknown, isKnown: boolean): Promise<void> {
    if (thrown instanceof Final) throw thrown.fault;
    if (this.#signal.aborted) throw abortFault(this.#signal);
    // A peer throws faults only: anything else is a defect, of a callback for example.
    if (!(thrown instanceof Fault)) throw thrown;
    const fault = thrown;
    const { tokens, attempts, env, isUnsent, onRetry } = this.#context;
    if (fault.detail?.["close"] !== undefined) tokens?.renew();
    if (fault.code === "unauthenticated" && tokens?.canRenew && !this.#isRenewed) {
      this.#isRenewed = true;
      tokens.renew();
      return;
    }
    const most = attempts ?? (isKnown && fault.code === "unavailable" ? Number.POSITIVE_INFINITY : ATTEMPTS);
    const canHelp = this.#isSafe ? fault.retryable : isUnsent(fault);
    if (!canHelp || ++this.#failures >= most) throw fault;
    const delayMs = backoffMs(this.#failures, env.random, fault.retryAfterMs);
    onRetry({ fault, failures: this.#failures, delayMs });
    await pause(env, delayMs, this.#signal, this.#isReader);
  }

  /** Tries until it works. */
  async run<T>(isKnown: () => boolean, operation: () => T | Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await operation();
      } catch (thrown) {
        await this.again(thrown, isKnown());
      }
    }
  }
}
