/** AMQP as the suites use it: each link has its own names on one broker. */
import shop from "../../../suites/broker/service.ts";
import { type Link, until } from "../../../suites/transport/world.ts";
import { ANONYMOUS, type Call } from "../../contract/index.ts";
import type { Store } from "../../log/index.ts";
import { type CoreOptions, createCore, memoryStore } from "../../server.ts";
import { type AmqpPeer, amqpPeer } from "./client.ts";
import { type Envelope, loadDriver, type Message } from "./driver.ts";
import { type AmqpOptions, type AmqpStarted, amqp } from "./server.ts";

export interface AmqpLinkOptions {
  readonly window?: number;
  readonly silenceMs?: number;
}

export const SILENT = { note() {} };

/** A prefix that nobody else has. */
export function prefixOf(): string {
  return `t${crypto.randomUUID().slice(0, 8)}`;
}

export function amqpLink(url: () => string, options: AmqpLinkOptions = {}): Link & { close(): Promise<void> } {
  const prefix = prefixOf();
  let server: AmqpStarted | undefined;
  const peers: AmqpPeer[] = [];
  return {
    // With a window of one there is a moment between two requests in which nobody is told anything.
    isPolled: options.window === 1,
    async serve(host) {
      server = await amqp({ url: url(), prefix }).start(host, { store: memoryStore(), logger: SILENT });
    },
    peer(user) {
      const peer = amqpPeer({ url: url(), prefix, ...options, ...(user !== undefined && { token: user }) });
      peers.push(peer);
      return peer;
    },
    async stop() {
      await server?.stop();
      server = undefined;
    },
    async close() {
      await Promise.all(peers.splice(0).map((peer) => peer.close()));
    },
  };
}

/** A server of the broker's test service, in this process. */
export async function shopServer(
  url: string,
  options: Partial<AmqpOptions> & { store?: Store; core?: Partial<CoreOptions> } = {},
) {
  const { store = memoryStore(), core: coreOptions, ...rest } = options;
  const notes: string[] = [];
  const prefix = rest.prefix ?? prefixOf();
  const part = amqp({ url, prefix, ...rest });
  const core = createCore(part.services([shop]), { drainMs: 200, ...coreOptions, store });
  await core.start();
  const logger = { note: (_: string, message: string) => void notes.push(message) };
  const started = await part.start(core, { store, logger });
  return {
    core,
    store,
    notes,
    prefix,
    started,
    open: (to: string, input: unknown, more: Partial<Call> = {}) =>
      core.peer({ to, input, principal: ANONYMOUS, via: "test", ...more }),
    async stop() {
      await core.drain();
      await started.stop();
    },
  };
}

export interface Got {
  readonly type: string | undefined;
  readonly body: unknown;
  readonly correlationId: string | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly envelope: Message;
}

/** A program that knows AMQP and nothing of Backtalk. */
export async function stranger(url: string) {
  const { Connection } = await loadDriver();
  const connection = new Connection({ url });
  connection.on("error", () => {});
  const channel = await connection.acquire({ emitErrorsFromChannel: true });
  channel.on("error", () => {});
  await channel.confirmSelect();
  const { queue } = await channel.queueDeclare({ queue: "", exclusive: true });
  const got: Got[] = [];
  const listen = async (name: string): Promise<void> => {
    await channel.basicConsume({ queue: name, noAck: true }, (message) => got.push(gotOf(message)));
  };
  await listen(queue);
  return {
    channel,
    queue,
    got,
    listen,
    send: (envelope: Envelope, body: string | Uint8Array = "") =>
      channel.basicPublish(
        { durable: true, contentType: "application/json", ...envelope },
        Buffer.from(body as string),
      ),
    /** Sends, and waits for the answer that is the last one. */
    async ask(envelope: Envelope, body: string): Promise<Got[]> {
      const correlationId = crypto.randomUUID();
      await this.send({ replyTo: queue, correlationId, ...envelope }, body);
      const mine = () => got.filter((each) => each.correlationId === (envelope.correlationId ?? correlationId));
      await until(() => mine().some(({ type }) => type === "result" || type === "fault"), "an answer");
      return mine();
    },
    /** How many messages wait in a queue. */
    async depth(name: string): Promise<number> {
      const look = await connection.acquire({ emitErrorsFromChannel: true });
      look.on("error", () => {});
      const { messageCount } = await look.queueDeclare({ queue: name, passive: true });
      await look.close();
      return messageCount;
    },
    close: () => connection.unsafeDestroy(),
  };
}

function gotOf(message: Message): Got {
  const { type, body, correlationId, headers = {} } = message;
  return {
    type,
    body: body instanceof Uint8Array ? new TextDecoder().decode(body) : body,
    correlationId,
    headers,
    envelope: message,
  };
}
