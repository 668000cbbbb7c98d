/**
 * The memory transport: the peer of a host in the same process, called directly. A product, not a mock: for
 * programs that serve themselves, and for tests of handlers. What goes in and comes out passes through JSON,
 * so that nothing is shared by reference and what works here works over a wire.
 */
import { ANONYMOUS, type Exchange, type Host, type Peer } from "../../contract/index.ts";
import { Fault, faultFromJson, type Page, type ReadAt, toFault } from "../../log/index.ts";
import { isTooDeep } from "../../wire/json.ts";

export interface MemoryPeerOptions {
  /** What the caller shows of itself, as `Authorization: Bearer` would. */
  readonly token?: string;
  readonly apiKey?: string;
}

/** Limits, credentials and faults are those of every other transport. */
export function memoryPeer(host: Host, options: MemoryPeerOptions = {}): Peer {
  const { token: bearer, apiKey } = options;
  const credentials = {
    via: "memory",
    ...(bearer !== undefined && { bearer }),
    ...(apiKey !== undefined && { apiKey }),
  };
  return async (call) => {
    const principal = host.anonymous ? ANONYMOUS : await fresh(() => host.authenticate(credentials));
    const kind = host.contract.methods.get(call.to)?.kind;
    // An absent input is an empty object (PROTOCOL.md §2.2); a method with many inputs gets none with the call.
    const isOne = kind === "unary" || kind === "serverStream";
    const given = call.input === undefined && isOne ? {} : call.input;
    const input = given === undefined ? {} : { input: copy(given, host) };
    const opened = await fresh(() => host.peer({ ...call, principal, via: "memory", ...input }));
    return new MemoryExchange(host, opened);
  };
}

class MemoryExchange implements Exchange {
  readonly id: string | undefined;
  readonly replayed: boolean;
  readonly #host: Host;
  readonly #exchange: Exchange;

  constructor(host: Host, exchange: Exchange) {
    this.#host = host;
    this.#exchange = exchange;
    this.id = exchange.id;
    this.replayed = exchange.replayed;
  }

  result(signal?: AbortSignal): Promise<unknown> {
    return fresh(async () => again(await this.#exchange.result(signal)));
  }

  /** Events are text, which no reader can change. */
  async *read(at: ReadAt): AsyncGenerator<Page> {
    const { draining } = this.#host;
    const stop = new AbortController();
    const signals = at.signal ? [draining, at.signal] : [draining];
    // A reader that aborts need not return: nothing of it may stay with the server's signal.
    const end = (): void => {
      stop.abort();
      for (const signal of signals) signal.removeEventListener("abort", end);
    };
    for (const signal of signals) {
      if (signal.aborted) end();
      else signal.addEventListener("abort", end);
    }
    try {
      for await (const page of this.#exchange.read({ ...at, signal: stop.signal })) {
        yield page;
        if (page.ended || !at.follow) return;
        if (stop.signal.aborted) break;
      }
    } catch (thrown) {
      throw detached(thrown);
    } finally {
      end();
    }
    if (draining.aborted && !at.signal?.aborted) throw comeBack(this.#host);
  }

  state(wait?: Parameters<Exchange["state"]>[0]): ReturnType<Exchange["state"]> {
    return fresh(async () => again(await this.#exchange.state(wait)));
  }

  append(items: Parameters<Exchange["append"]>[0]): ReturnType<Exchange["append"]> {
    return fresh(() => this.#exchange.append({ ...items, items: copy(items.items, this.#host) as unknown[] }));
  }

  cancel(): Promise<void> {
    return fresh(() => this.#exchange.cancel());
  }
}

/** Runs, and gives a fault as another object than the server's. */
async function fresh<T>(run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (thrown) {
    throw detached(thrown);
  }
}

function detached(thrown: unknown): Fault {
  return faultFromJson(again(toFault(thrown).toJSON()));
}

function again<T>(value: T): T {
  return value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T);
}

/** The caller's value as it would arrive. @throws Fault for what JSON cannot say, or what is beyond a limit */
function copy(value: unknown, { limits: { bodyBytes, jsonDepth } }: Host): unknown {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    throw new Fault("invalid_argument", "the input cannot be written as JSON", { cause });
  }
  if (text === undefined) return undefined;
  if (text.length * 3 > bodyBytes && new TextEncoder().encode(text).length > bodyBytes) {
    throw new Fault("resource_exhausted", `the input has more than ${bodyBytes} bytes`, {
      limit: "bodyBytes",
      retryable: false,
      hint: "send less, or raise the limit bodyBytes of the server",
    });
  }
  if (isTooDeep(text, jsonDepth)) {
    throw new Fault("invalid_argument", `the input nests deeper than ${jsonDepth} levels`, { limit: "jsonDepth" });
  }
  return JSON.parse(text) as unknown;
}

/** As on every transport, readers are told when the server goes, and to spread their return. */
function comeBack({ random, timing }: Host): Fault {
  return new Fault("unavailable", "the server ends this reading: drain", {
    detail: { close: "drain" },
    retryAfterMs: Math.round(random() * timing.spreadMs),
  });
}
