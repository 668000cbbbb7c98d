/**
 * A worker: takes jobs from the queues of methods, runs their handlers, and tells the server what they say. A job
 * is acknowledged when the server has stored its end; until then the broker keeps it for another worker.
 */
import type { Member, Method, Service } from "../../contract/index.ts";
import { Broker, type BrokerOptions } from "./broker.ts";
import { declareDead } from "./calls.ts";
import type { Channel, Message, TlsOptions } from "./driver.ts";
import { type FromWorker, JOB, type Job, parseJobMessage, type ToWorker } from "./job-messages.ts";
import { isQueued, jobArguments } from "./jobs.ts";
import { type Line, pause } from "./line.ts";
import { type Names, namesOf, PREFIX } from "./names.ts";
import { WorkerRun } from "./worker-run.ts";

export interface WorkerOptions {
  /** `amqp://user:password@host:port/vhost`, or `amqps://`. */
  readonly url: string;
  readonly tls?: TlsOptions | undefined;
  /** What all names on the broker begin with (default `backtalk`). */
  readonly prefix?: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: services of all types
  readonly services: readonly Service<string, any>[];
  /** Methods whose jobs it takes, as `service.method`, besides those with `queue: true`. */
  readonly methods?: readonly string[] | undefined;
  /** Jobs that run at once (default 1). */
  readonly concurrency?: number | undefined;
  /** How long jobs may take to finish when the worker stops, in milliseconds (default 10,000). */
  readonly drainMs?: number | undefined;
  readonly note?: BrokerOptions["note"];
}

export interface RunningWorker {
  /** The methods whose jobs it takes. */
  readonly methods: readonly string[];
  /** The address of the broker, without credentials. */
  readonly shown: string;
  readonly unready: () => readonly string[];
  /** Takes no more jobs, lets those that run finish, and gives the rest back. */
  stop(): Promise<void>;
}

/** @throws Fault when the broker cannot be used */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { url, tls, prefix = PREFIX, note } = options;
  const methods = new Map<string, Method>();
  const topics = new Map<unknown, string>();
  for (const { name, members } of options.services) {
    for (const [key, member] of Object.entries(members as Record<string, Member>)) {
      if (member.type === "topic") topics.set(member, key);
      if (member.type === "method" && isQueued(`${name}/${key}`, member, options.methods ?? [])) {
        methods.set(`${name}/${key}`, member);
      }
    }
  }
  const names = namesOf(prefix);
  const broker = await Broker.open({ url, tls, name: "backtalk worker", ...(note && { note }) });
  const worker = new Worker(broker, names, methods, topics, options.concurrency ?? 1);
  try {
    await worker.ready();
  } catch (thrown) {
    await broker.close();
    throw thrown;
  }
  return {
    methods: [...methods.keys()],
    shown: broker.shown,
    unready: () => broker.unready(),
    async stop() {
      await worker.stop(options.drainMs ?? 10_000);
      await broker.close();
    },
  };
}

/** How long a job is tried to be told of to a server whose queue is not there. */
const HOMELESS_MS = 30_000;

/** How long a job may wait here for another one's end, when a worker elsewhere may be free, in milliseconds. */
const HOLD_MS = 1_000;

interface Held {
  readonly job: Job;
  readonly method: Method;
  readonly settle: (outcome: "ack" | "back" | "dead") => void;
  timer: ReturnType<typeof setTimeout> | undefined;
}

export class Worker {
  readonly broker: Broker;
  readonly #names: Names;
  readonly #methods: ReadonlyMap<string, Method>;
  readonly #topics: ReadonlyMap<unknown, string>;
  readonly #concurrency: number;
  readonly #answers: Line;
  #jobs: Line | undefined;
  #queue = "";
  /** By their tokens: a job that is delivered again while it runs is not run again. */
  readonly #runs = new Map<string, WorkerRun>();
  /** Delivered while as many run as may: from several queues more can come than one takes. */
  readonly #held = new Set<Held>();
  #tags: string[] = [];
  #isStopping = false;
  #isClosed = false;
  /** How often the jobs' channel was set up: not for the first time, a queue may have been lost. */
  #setups = 0;

  constructor(
    broker: Broker,
    names: Names,
    methods: ReadonlyMap<string, Method>,
    topics: ReadonlyMap<unknown, string>,
    concurrency: number,
  ) {
    this.broker = broker;
    this.#names = names;
    this.#methods = methods;
    this.#topics = topics;
    this.#concurrency = concurrency;
    this.#answers = broker.line("the worker's own queue", (channel) => this.#listen(channel));
  }

  async ready(): Promise<void> {
    await this.#answers.first;
    this.#jobs = this.broker.line("the queues of jobs", (channel) => this.#consume(channel));
    await this.#jobs.first;
  }

  async stop(drainMs: number): Promise<void> {
    this.#isStopping = true;
    const channel = this.#jobs?.current;
    await Promise.allSettled(this.#tags.map((tag) => channel?.basicCancel(tag)));
    this.#forget();
    // A claim that was not granted yet is given back at once.
    const waiting = [...this.#runs.values()].filter((run) => !run.isGranted);
    for (const run of waiting) run.drop();
    const until = performance.now() + drainMs;
    while (this.#runs.size > 0 && performance.now() < until) await pause(20);
    for (const run of this.#runs.values()) run.drop();
    this.#isClosed = true;
    await Promise.all([this.#jobs?.close(), this.#answers.close()]);
  }

  // --- what its runs need ---

  topicName(topic: unknown): string | undefined {
    return this.#topics.get(topic);
  }

  /** Resolves when the broker has it; false when the server's queue stays away. */
  async tell(server: string, message: FromWorker, signal?: AbortSignal): Promise<boolean> {
    const body = JSON.stringify(message);
    let since: number | undefined;
    for (let tries = 0; !signal?.aborted && !this.#isClosed; tries++) {
      // With the queue that it has now: after a break the one before is gone, and answers to it are lost.
      const envelope = { routingKey: server, type: JOB, contentType: JOB, mandatory: true, replyTo: this.#queue };
      try {
        if (this.#answers.current) {
          if (await this.broker.publish(envelope, body)) return true;
          since ??= performance.now();
          if (performance.now() - since > HOMELESS_MS) return false;
        } else since = undefined;
      } catch {
        since = undefined;
      }
      await pause(Math.min(500, 20 * 2 ** Math.min(tries, 5)), signal);
    }
    return false;
  }

  over(run: WorkerRun): void {
    if (this.#runs.get(run.job.token) === run) this.#runs.delete(run.job.token);
    const [next] = this.#held;
    if (!next || this.#isStopping || this.#runs.size >= this.#concurrency) return;
    this.#held.delete(next);
    this.#start(next);
  }

  // --- the broker ---

  async #listen(channel: Channel): Promise<void> {
    const { queue } = await channel.queueDeclare({ queue: "", exclusive: true, autoDelete: true });
    await channel.basicConsume({ queue, noAck: true }, (message) => this.#told(message));
    this.#queue = queue;
    // Its runs go on; the server has to know where to.
    for (const run of this.#runs.values()) run.resume();
  }

  async #consume(channel: Channel): Promise<void> {
    const isAgain = this.#setups++ > 0;
    await declareDead(channel, this.#names);
    await channel.exchangeDeclare({ exchange: this.#names.servers, type: "fanout", durable: true });
    await channel.basicQos({ prefetchCount: this.#concurrency });
    this.#tags = [];
    // Those that have claimed stay: a grant may be on its way, and the server knows whose call it is.
    channel.on("close", () => this.#forget());
    for (const method of this.#methods.keys()) {
      const queue = this.#names.jobsOf(method);
      const isThere = !isAgain || (await this.#exists(queue));
      await channel.queueDeclare({ queue, durable: true, arguments: jobArguments(this.#names) });
      if (this.#isStopping) continue;
      const { consumerTag } = await channel.basicConsume({ queue }, (message) => this.#delivered(channel, message));
      this.#tags.push(consumerTag);
      if (!isThere) await this.#lostQueue(method);
    }
  }

  /** Asked on a channel of its own, which a no closes. */
  async #exists(queue: string): Promise<boolean> {
    let isThere = true;
    const line = this.broker.line("a look for a queue", async (channel) => {
      await channel.queueDeclare({ queue, passive: true }).catch((thrown: { code?: string }) => {
        isThere = thrown.code !== "NOT_FOUND";
      });
    });
    await line.first.catch(() => {});
    await this.broker.drop(line);
    return isThere;
  }

  /** Jobs that nobody had taken went with it: the servers that know of some publish them again. */
  async #lostQueue(method: string): Promise<void> {
    const message: FromWorker = { do: "queue-lost", method, call: "", run: "" };
    const envelope = { exchange: this.#names.servers, type: JOB, contentType: JOB };
    void this.broker.publishSurely(envelope, JSON.stringify(message));
  }

  #delivered(channel: Channel, message: Message): void {
    const { deliveryTag } = message;
    const settle = (outcome: "ack" | "back" | "dead"): void => {
      if (!channel.active) return;
      if (outcome === "ack") channel.basicAck({ deliveryTag });
      else channel.basicNack({ deliveryTag, requeue: outcome === "back" });
    };
    const job = parseJobMessage<Job>(message);
    const method = job && this.#methods.get(job.method);
    if (!job || !method) {
      this.broker.note("error", "a message is no job, and is kept as a dead letter", { queue: message.routingKey });
      settle("dead");
      return;
    }
    const running = this.#runs.get(job.token);
    if (running) {
      running.settle = settle;
      return;
    }
    const held: Held = { job, method, settle, timer: undefined };
    if (this.#runs.size < this.#concurrency) this.#start(held);
    else {
      // The broker counts for each queue, not for all. One that may be free elsewhere is given back soon.
      held.timer = setTimeout(() => {
        this.#held.delete(held);
        settle("back");
      }, HOLD_MS);
      this.#held.add(held);
    }
  }

  #start({ job, method, settle, timer }: Held): void {
    clearTimeout(timer);
    const run = new WorkerRun(this, job, method, settle);
    this.#runs.set(job.token, run);
    void run.start();
  }

  /** Their deliveries are void, or are to be. */
  #forget(): void {
    for (const { timer } of this.#held) clearTimeout(timer);
    this.#held.clear();
  }

  #told(message: Message): void {
    const told = parseJobMessage<ToWorker>(message);
    if (!told) return;
    for (const run of this.#runs.values()) {
      if (run.id !== told.run) continue;
      run.told(told);
      return;
    }
    // A grant that came too late, or a run of a process before.
    if ((told.do === "grant" || told.do === "ping") && message.headers?.["server"] !== undefined) {
      void this.tell(String(message.headers["server"]), { do: "lost", call: told.call, run: told.run });
    }
  }
}
