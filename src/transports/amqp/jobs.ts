/**
 * Jobs: methods whose calls wait in a queue for workers. In the server such a method has a handler that stands
 * for the worker: it publishes the job, and says what the worker says. So the log, readers, cancel, deadlines and
 * keys are those of any other call (PROTOCOL.md §8.5 has the table of what happens when one of them ends).
 */
import type { HandlerCall, Host, Member, Method, Service } from "../../contract/index.ts";
import { Fault, isEnd, type Store } from "../../log/index.ts";
import type { Broker } from "./broker.ts";
import { declareDead } from "./calls.ts";
import type { Channel, Message } from "./driver.ts";
import { JobCall } from "./job-call.ts";
import { type FromWorker, JOB, parseJobMessage, type ToWorker } from "./job-messages.ts";
import { type Line, pause } from "./line.ts";
import { type Names, quorum } from "./names.ts";

// biome-ignore lint/suspicious/noExplicitAny: services of all types
type AnyService = Service<string, any>;

export interface JobsConnected {
  readonly broker: Broker;
  readonly host: Host;
  readonly store: Store;
  /** The name of this server's queue. */
  readonly server: string;
  readonly names: Names;
  /** How long a worker that lost its connection may take to come back, in milliseconds. */
  readonly graceMs: number;
}

/**
 * How often the broker delivers one job: a backstop, for attempts are counted by the server, and a job that a worker
 * has no room for is given back.
 */
export const DELIVERIES = 1_000_000;
/** Messages of workers that are not yet stored. */
const PREFETCH = 2_000;
/** A server that was away for longer has lost what its workers said: a day, in milliseconds. */
const EXPIRES_MS = 86_400_000;

/** The arguments of the queue of a method: those of the server and of the worker must be the same. */
export function jobArguments({ dead }: Names) {
  return quorum(dead, DELIVERIES);
}

/** Whether the calls of a method wait in a queue. @throws Fault `invalid_argument` for one that takes many inputs */
export function isQueued(name: string, method: Method, chosen: readonly string[]): boolean {
  const isChosen = chosen.some((each) => each.replace(".", "/") === name);
  if (method.options.queue !== true && !isChosen) return false;
  if (method.kind === "unary" || method.kind === "serverStream") return true;
  throw new Fault("invalid_argument", `${name} takes many inputs, and cannot wait in a queue`, {
    hint: "only unary and server streaming methods can",
  });
}

export class Jobs {
  readonly #chosen: readonly string[];
  readonly #methods = new Map<string, Method>();
  readonly #calls = new Map<string, JobCall>();
  #connected: JobsConnected | undefined;
  #waiting: (() => void)[] = [];
  #line: Line | undefined;
  #isStopped = false;

  /** @param chosen methods, as `service.method`, besides those with `queue: true` */
  constructor(chosen: readonly string[] = []) {
    this.#chosen = chosen;
  }

  get isEmpty(): boolean {
    return this.#methods.size === 0;
  }

  /** Puts handlers that stand for workers in the place of those of queued methods. */
  services(services: readonly AnyService[]): readonly AnyService[] {
    return services.map((service) => {
      const members = Object.entries(service.members as Record<string, Member>).map(([key, member]) => {
        const name = `${service.name}/${key}`;
        if (member.type !== "method" || !isQueued(name, member, this.#chosen)) return [key, member];
        this.#methods.set(name, member);
        return [key, this.#proxy(name, member)];
      });
      return { name: service.name, members: Object.fromEntries(members) };
    });
  }

  /** The original of a queued method. */
  method(name: string): Method {
    return this.#methods.get(name)!;
  }

  /** Calls that were taken up before it begin to run. */
  async start(connected: JobsConnected): Promise<void> {
    const { broker, names, server } = connected;
    this.#connected = connected;
    await broker.declare(async (channel) => {
      await declareDead(channel, names);
      for (const name of this.#methods.keys()) {
        await channel.queueDeclare({ queue: names.jobsOf(name), durable: true, arguments: jobArguments(names) });
      }
    });
    const queue = names.serverOf(server);
    this.#line = broker.line("the queue of what workers say", async (channel) => {
      await channel.exchangeDeclare({ exchange: names.servers, type: "fanout", durable: true });
      const settings = quorum(undefined, 1_000_000, { "x-expires": EXPIRES_MS });
      await channel.queueDeclare({ queue, durable: true, arguments: settings });
      await channel.queueBind({ queue, exchange: names.servers, routingKey: "" });
      await channel.basicQos({ prefetchCount: PREFETCH });
      await channel.basicConsume({ queue }, (message) => void this.#said(channel, message));
    });
    await this.#line.first;
    void this.#tidy().catch(() => {});
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const wake of this.#waiting.splice(0)) wake();
    await this.#line?.close();
  }

  /** What is connected, when it is. @throws the reason of `signal` when it aborts first */
  async connected(signal: AbortSignal): Promise<JobsConnected> {
    while (!this.#line?.current && !this.#isStopped && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
        if (this.#line)
          void this.#line.channel(signal).then(
            () => resolve(),
            () => resolve(),
          );
      });
    }
    if (signal.aborted) throw signal.reason;
    if (!this.#connected || this.#isStopped) throw new Fault("unavailable", "the server goes");
    return this.#connected;
  }

  /** To the queue of a worker: false when it is gone. */
  async tell(queue: string, message: ToWorker): Promise<boolean> {
    const { broker, names, server } = this.#connected!;
    const headers = { server: names.serverOf(server) };
    const envelope = { routingKey: queue, type: JOB, contentType: JOB, mandatory: true, durable: false, headers };
    // Until the broker has taken it: a grant that is lost here nobody would ask for again.
    return broker.publishSurely(envelope, JSON.stringify(message));
  }

  enter(call: JobCall): void {
    this.#calls.set(call.id, call);
  }

  leave(call: JobCall): void {
    if (this.#calls.get(call.id) === call) this.#calls.delete(call.id);
  }

  #proxy(name: string, method: Method): Method {
    const { onRestart: _, ...options } = method.options;
    const start = (call: HandlerCall<unknown>): JobCall => {
      const job = new JobCall(this, name, call);
      this.enter(job);
      return job;
    };
    return {
      ...method,
      // The handler here only stands for the worker: after a restart of the server it takes up what goes on.
      options: { ...options, recorded: "always", onRestart: "retry", maxAttempts: Number.MAX_SAFE_INTEGER },
      handler:
        method.kind === "unary"
          ? (_input: unknown, call: HandlerCall<unknown>) => start(call).result()
          : (_input: unknown, call: HandlerCall<unknown>) => start(call).items(),
    };
  }

  async #said(channel: Channel, message: Message): Promise<void> {
    const settle = (): void => {
      if (channel.active) channel.basicAck({ deliveryTag: message.deliveryTag });
    };
    const said = parseJobMessage<FromWorker>(message);
    if (!said) {
      settle();
      return;
    }
    if (said.do === "queue-lost") {
      settle();
      for (const call of this.#calls.values()) if (call.method === said.method) call.queueLost();
      return;
    }
    const queue = message.replyTo ?? "";
    while (channel.active && !this.#isStopped) {
      const call = this.#calls.get(said.call);
      if (call) {
        call.said(said, queue, settle);
        return;
      }
      if (await this.#isOver(said.call)) {
        // The worker need not say more, and its job is done with.
        if (said.do !== "progress" && said.do !== "item") {
          await this.tell(queue, {
            do: said.do === "end" || said.do === "fail" ? "stored" : "gone",
            call: said.call,
            run: said.run,
          });
        }
        settle();
        return;
      }
      // It is being taken up after a restart, or is the next server's.
      await pause(200);
    }
  }

  /** What is kept of calls that have ended, where the process ended in between. */
  async #tidy(): Promise<void> {
    const { store } = this.#connected!;
    let after: string | undefined;
    do {
      const page = await store.list({ prefix: "jobs/", limit: 500, ...(after !== undefined && { after }) });
      for (const { log } of page.logs) {
        const id = log.slice("jobs/".length);
        if (!this.#calls.has(id) && (await this.#isOver(id))) await store.trim(log, "all");
      }
      after = page.next;
    } while (after !== undefined);
  }

  /** Whether a call that is not run here has its end. */
  async #isOver(id: string): Promise<boolean> {
    const { store } = this.#connected!;
    try {
      const info = (await store.list({ prefix: `calls/${id}`, exact: true, limit: 1 })).logs[0];
      return !info || (info.last !== undefined && isEnd(info.last.kind));
    } catch {
      return false;
    }
  }
}
