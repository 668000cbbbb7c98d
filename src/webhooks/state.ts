/** What is kept of an endpoint: the newest event of the log `webhooks/NAME`. */
import { type Cursor, decodeCursor, encodeCursor, type Store } from "../log/index.ts";

interface State {
  /** How far it has read each log. */
  readonly places: Readonly<Record<string, Cursor>>;
  /** Why nothing is sent. */
  readonly off?: string;
}

export class EndpointState {
  readonly #store: Store;
  readonly #log: string;
  #state: State = { places: {} };
  #saves: Promise<unknown> = Promise.resolve();
  /** One that has not begun: it will write what is newest then. */
  #nextSave: Promise<void> | undefined;

  constructor(store: Store, endpoint: string) {
    this.#store = store;
    this.#log = `webhooks/${endpoint}`;
  }

  async load(): Promise<void> {
    const { logs } = await this.#store.list({ prefix: this.#log, exact: true, limit: 1 });
    if (logs[0]?.last) this.#state = JSON.parse(logs[0].last.json) as State;
  }

  get off(): string | undefined {
    return this.#state.off;
  }

  place(source: string): Cursor | undefined {
    return this.#state.places[source];
  }

  /** Resolves when it is stored. */
  moveTo(source: string, place: Cursor): Promise<void> {
    return this.#save({ ...this.#state, places: { ...this.#state.places, [source]: place } });
  }

  /** Off with a reason; on without. */
  turn(off: string | undefined): Promise<void> {
    const { places } = this.#state;
    return this.#save({ places, ...(off !== undefined && { off }) });
  }

  /** Resolves when nothing more is being stored. */
  async settled(): Promise<void> {
    await this.#saves;
  }

  /** One after the other, so that the newest is the last; what comes while one is written is written together. */
  #save(state: State): Promise<void> {
    this.#state = state;
    this.#nextSave ??= this.#saves.then(async () => {
      this.#nextSave = undefined;
      const draft = { kind: "item", json: JSON.stringify(this.#state) } as const;
      const { cursor } = await this.#store.append(this.#log, [draft], { create: { kind: "webhooks" } });
      const { epoch, seq } = decodeCursor(cursor);
      if (seq % 100 === 0) await this.#store.trim(this.#log, encodeCursor(epoch, seq - 1));
    });
    const saved = this.#nextSave;
    this.#saves = saved.catch(() => {});
    return saved;
  }
}
