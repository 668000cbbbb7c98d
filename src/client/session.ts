/** A recorded call or a topic in use, through breaks: it is opened once, and come back to by its id. */
import { CALLS, type Call, type CallState, type Exchange, TOPICS } from "../contract/peer.ts";
import { Fault, faultFromJson } from "../log/fault.ts";
import { Linked } from "../transports/http/client-request.ts";
import { Attempt, type Context, Final } from "./retry.ts";

export class Session {
  readonly context: Context;
  /** Ends everything here: the user's signal, the deadline, the client's end. Held while something goes on. */
  readonly scope: Linked;
  /** Of a call, as soon as the server has said it; of a topic its name. */
  id: string | undefined;
  /** Whether the server has answered: from then on a wait for a recorded call has no end of its own. */
  isMet = false;
  readonly #call: Call;
  #exchange: Exchange | undefined;

  /** `call` must be harmless when sent again: it has a key, or is of a call or topic that exists. */
  constructor(context: Context, call: Call, signal?: AbortSignal) {
    this.context = context;
    this.scope = new Linked(signal, context.closing);
    this.scope.release();
    this.#call = { ...call, signal: this.scope.signal };
    const { to } = call;
    if (to.startsWith(CALLS) || to.startsWith(TOPICS)) this.id = to.slice(to.indexOf("/") + 1);
  }

  get #isTopic(): boolean {
    return this.#call.to.startsWith(TOPICS);
  }

  get isKnown(): boolean {
    return this.isMet && this.id !== undefined && !this.#isTopic;
  }

  /** The exchange in use, or one that comes back to the call. */
  async exchange(): Promise<Exchange> {
    if (this.#exchange) return this.#exchange;
    const { principal, signal, via, to } = this.#call;
    const isOpened = this.id !== undefined && !this.#isTopic && !to.startsWith(CALLS);
    const call = isOpened ? { to: CALLS + this.id, principal, via, ...(signal && { signal }) } : this.#call;
    const exchange = await this.context.peer(call);
    this.#exchange = exchange;
    this.#note();
    return exchange;
  }

  /** After a fault: the next use begins with a new exchange. */
  drop(): void {
    this.#note();
    this.#exchange = undefined;
  }

  /** An id that came from the server says that it has answered, too. */
  #note(): void {
    if (this.id !== undefined || this.#exchange?.id === undefined) return;
    this.id = this.#exchange.id;
    this.isMet = true;
  }

  /** Uses the exchange, and comes back after a break. */
  async use<T>(operation: (exchange: Exchange) => T | Promise<T>): Promise<T> {
    this.scope.hold();
    const attempt = new Attempt(this.context, this.scope.signal, true);
    const once = async (): Promise<T> => {
      try {
        const exchange = await this.exchange();
        const value = await operation(exchange);
        this.#note();
        this.isMet = true;
        return value;
      } catch (thrown) {
        this.drop();
        throw thrown;
      }
    };
    try {
      return await attempt.run(() => this.isKnown, once);
    } finally {
      this.scope.release();
    }
  }

  /** The call's result. @throws Fault of the call */
  result(): Promise<unknown> {
    const { signal } = this.scope;
    return this.use(async (exchange) => {
      try {
        return await exchange.result(signal);
      } catch (thrown) {
        const isOpen = exchange.id !== undefined && thrown instanceof Fault && thrown.retryable;
        if (!isOpen || signal.aborted) throw thrown;
        // Was that the end of the call, or only of the connection? Only its state can say.
        const { state, result, fault: end } = (await exchange.state({ signal })) as CallState;
        if (state === "done") return result;
        throw end ? new Final(faultFromJson(end)) : thrown;
      }
    });
  }

  state(): Promise<CallState> {
    return this.use((exchange) => exchange.state() as Promise<CallState>);
  }

  async cancel(): Promise<void> {
    await this.use((exchange) => exchange.cancel());
  }

  /** For a call that nobody can come back to: it is cancelled in passing, and nothing of it is heard again. */
  abandon(): void {
    const { closing, peer } = this.context;
    const { principal, via } = this.#call;
    this.drop();
    if (this.id === undefined || closing.aborted) return;
    const to = CALLS + this.id;
    Promise.resolve()
      .then(() => peer({ to, principal, via, signal: closing }))
      .then((exchange) => exchange.cancel())
      .catch(() => {});
  }
}
