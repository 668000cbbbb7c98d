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

/** @throws Fault `failed_precondition` when the package is not there */
export async function loadDriver(): Promise<Driver> {
  // By a name that a compiler does not follow: the package may be absent.
  const name = "rabbitmq-client";
  try {
    return (await import(name)) as Driver;
  } catch (cause) {
    throw new Fault("failed_precondition", `AMQP needs the package ${name}, which is not installed`, {
      hint: `npm install ${name}`,
      cause,
    });
  }
}
