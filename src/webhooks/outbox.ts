/**
 * A store that writes down, before a call's end is stored, that this call ends: in the log `webhooks-outbox`. A
 * server that ends between the two has an entry too much, of a call without an end, which means nothing; never one
 * too few. So whoever reads the outbox hears of every end, also after `kill -9`.
 */
import { CALLS } from "../contract/index.ts";
import {
  type Appended,
  type AppendOptions,
  type Draft,
  isEnd,
  type LogQuery,
  type ReadAt,
  type Store,
} from "../log/index.ts";

export const OUTBOX = "webhooks-outbox";

export class OutboxStore implements Store {
  readonly name: string;
  readonly durability: string;
  readonly #store: Store;
  /** Ends that are being stored: by log, resolved when that is known. */
  readonly #ending = new Map<string, Promise<unknown>>();

  constructor(store: Store) {
    this.name = store.name;
    this.durability = store.durability;
    this.#store = store;
  }

  /** Resolves when an end that is being stored now is stored, or has failed. */
  async settled(log: string): Promise<void> {
    await this.#ending.get(log)?.catch(() => {});
  }

  append(log: string, drafts: readonly Draft[], options?: AppendOptions): Promise<Appended> {
    const last = drafts.at(-1);
    if (!last || !isEnd(last.kind) || !log.startsWith(CALLS)) return this.#store.append(log, drafts, options);
    const ending = this.#appendEnd(log, drafts, options);
    this.#ending.set(log, ending);
    const forget = () => {
      if (this.#ending.get(log) === ending) this.#ending.delete(log);
    };
    ending.then(forget, forget);
    return ending;
  }

  async #appendEnd(log: string, drafts: readonly Draft[], options?: AppendOptions): Promise<Appended> {
    const entry = { kind: "item", json: JSON.stringify(log.slice(CALLS.length)) } as const;
    await this.#store.append(OUTBOX, [entry], { create: { kind: "webhooks" } });
    return this.#store.append(log, drafts, options);
  }

  read(log: string, at: ReadAt) {
    return this.#store.read(log, at);
  }

  trim(log: string, before: Parameters<Store["trim"]>[1]) {
    return this.#store.trim(log, before);
  }

  list(query: LogQuery) {
    return this.#store.list(query);
  }

  close() {
    return this.#store.close();
  }
}
