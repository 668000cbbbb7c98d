/** Answers to one request, in order, to the queue that it named. */
import type { Broker } from "./broker.ts";
import type { Message } from "./driver.ts";
import { DIRECT_REPLY, FRAMES } from "./names.ts";

export interface Part {
  readonly type: string;
  readonly body: string;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export class Reply {
  readonly #broker: Broker;
  readonly #to: string | undefined;
  readonly #correlationId: string | undefined;
  /** Where the caller may say that it does not want more. */
  readonly #control: () => string | undefined;
  readonly #gone = new AbortController();
  /** Whether the caller speaks `backtalk.v1`. */
  readonly isFramed: boolean;
  /** When something was last said, in milliseconds since the process began. */
  saidAt = performance.now();

  constructor(broker: Broker, { replyTo, correlationId, type }: Message, control: () => string | undefined) {
    this.#broker = broker;
    this.isFramed = type === FRAMES;
    this.#to = replyTo === undefined || replyTo === "" ? undefined : replyTo;
    this.#correlationId = correlationId;
    this.#control = control;
  }

  /** Nobody wants an answer. */
  get isDeaf(): boolean {
    return this.#to === undefined;
  }

  /** Aborts when the caller's queue is gone, or it has left. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  leave(): void {
    this.#gone.abort();
  }

  /** Resolves when the broker has confirmed it; repeats it until then. */
  async say({ type, body, contentType = "application/json", headers }: Part): Promise<void> {
    if (this.#to === undefined || this.#gone.signal.aborted) return;
    this.saidAt = performance.now();
    const control = this.#control();
    const isThere = await this.#broker.publishSurely(
      {
        routingKey: this.#to,
        type,
        contentType,
        mandatory: !this.#to.startsWith(DIRECT_REPLY),
        // Answers to a queue that nobody reads any more are not worth a disk.
        durable: !this.#to.startsWith(DIRECT_REPLY) && !this.#to.startsWith("amq."),
        ...(this.#correlationId !== undefined && { correlationId: this.#correlationId }),
        ...(control !== undefined && { replyTo: control }),
        ...(headers && { headers }),
      },
      body,
    );
    if (!isThere) this.#gone.abort();
  }
}
