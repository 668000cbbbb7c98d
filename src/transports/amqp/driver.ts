/**
 * What is used of the package `rabbitmq-client`, an optional peer: it is loaded when somebody asks for AMQP,
 * and who does not needs nothing of it. Written down here, so that the types need it neither.
 */
import { Fault } from "../../log/index.ts";

/** Properties of a message (AMQP 0-9-1 §1.8.3.1 to §1.8.3.14), and where it goes. */
export interface Envelope {
  readonly exchange?: string;
  readonly routingKey?: string;
  readonly mandatory?: boolean;
  readonly durable?: boolean;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly correlationId?: string;
  readonly replyTo?: string;
  /** Milliseconds as text. */
  readonly expiration?: string;
  readonly messageId?: string;
  readonly type?: string;
  readonly appId?: string;
}

export interface Message extends Envelope {
  readonly deliveryTag: number;
  readonly redelivered: boolean;
  readonly contentEncoding?: string;
  /** Checked by the broker: the user of the connection that published. */
  readonly userId?: string;
  /** Parsed when it says that it is JSON and is; else bytes or, of text/plain, text. */
  readonly body: unknown;
}

export type Arguments = Readonly<Record<string, unknown>>;

export interface Channel {
  readonly active: boolean;
  on(event: "close", run: () => void): unknown;
  on(event: "error", run: (error: unknown) => void): unknown;
  on(event: "basic.cancel", run: (tag: string, error: unknown) => void): unknown;
  on(event: "basic.return", run: (message: Message) => void): unknown;
  basicPublish(envelope: Envelope, body: Uint8Array): Promise<void>;
  basicConsume(
    options: { queue: string; noAck?: boolean; exclusive?: boolean },
    run: (message: Message) => void,
  ): Promise<{ consumerTag: string }>;
  basicCancel(tag: string): Promise<unknown>;
  basicAck(options: { deliveryTag: number }): void;
  basicNack(options: { deliveryTag: number; requeue: boolean }): void;
  basicQos(options: { prefetchCount: number }): Promise<void>;
  confirmSelect(): Promise<void>;
  queueDeclare(options: {
    queue: string;
    durable?: boolean;
    exclusive?: boolean;
    autoDelete?: boolean;
    passive?: boolean;
    arguments?: Arguments;
  }): Promise<{ queue: string; messageCount: number; consumerCount: number }>;
  queueBind(options: { queue: string; exchange: string; routingKey: string }): Promise<void>;
  queueDelete(queue: string): Promise<unknown>;
  exchangeDeclare(options: { exchange: string; type: string; durable: boolean }): Promise<void>;
  close(): Promise<void>;
}

export interface Connection {
  on(event: "connection" | "connection.unblocked", run: () => void): unknown;
  on(event: "connection.blocked", run: (reason: string) => void): unknown;
  on(event: "error", run: (error: unknown) => void): unknown;
  acquire(options: { emitErrorsFromChannel: boolean }): Promise<Channel>;
  close(): Promise<void>;
  unsafeDestroy(): void;
}

export interface TlsOptions {
  /** PEM of the authorities to trust instead of the system's. */
  readonly ca?: string;
  /** A client's certificate and its key as PEM. */
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized?: boolean;
}

export interface Driver {
  readonly Connection: new (options: {
    url: string;
    tls?: TlsOptions;
    connectionName?: string;
    heartbeat?: number;
    frameMax?: number;
    noDelay?: boolean;
    retryLow?: number;
    retryHigh?: number;
    acquireTimeout?: number;
    connectionTimeout?: number;
  }) => Connection;
}

const PACKAGE = "rabbitmq-client";

/**
 * @param load the import of a package by its name
 * @throws Fault `failed_precondition` when the package is not there, or cannot be loaded
 */
export async function loadDriver(load: (name: string) => Promise<unknown> = imported): Promise<Driver> {
  try {
    return (await load(PACKAGE)) as Driver;
  } catch (cause) {
    const { code, message } = wordsOf(cause);
    const isAbsent = code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND";
    const why = isAbsent && message.includes(PACKAGE) ? "is not installed" : `cannot be loaded: ${message}`;
    throw new Fault("failed_precondition", `AMQP needs the package ${PACKAGE}, which ${why}`, {
      hint: `npm install ${PACKAGE}`,
      cause,
    });
  }
}

/** By a name that a compiler does not follow: the package may be absent. */
function imported(name: string): Promise<unknown> {
  return import(name);
}

function wordsOf(thrown: unknown): { readonly code: string | undefined; readonly message: string } {
  const { code, message } = (thrown ?? {}) as { code?: string; message?: string };
  return { code, message: String(message ?? thrown).slice(0, 300) };
}
