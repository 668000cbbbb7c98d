/**
 * Deliveries of the requests that are worked on. When a channel is lost the broker delivers what was not
 * acknowledged again, while this process still works on it: then the new delivery takes the place of the old one.
 */
import { isDeepStrictEqual } from "node:util";
import type { Channel, Message } from "./driver.ts";

/** The newest one of a request: what is to be acknowledged in the end. */
export interface Delivery {
  channel: Channel;
  message: Message;
}

/** What the broker itself puts there, and counts up with each delivery. */
const COUNTS: ReadonlySet<string> = new Set(["x-delivery-count", "x-acquired-count"]);

export class Deliveries {
  readonly #all = new Map<string, Delivery[]>();

  /** Undefined when it is one of a request that is worked on. */
  take(channel: Channel, message: Message): Delivery | undefined {
    const name = nameOf(message);
    const named = this.#all.get(name) ?? [];
    if (message.redelivered) {
      // Not of the same channel: what is not acknowledged there is not delivered again there. Of several that are the
      // same in all they say, which clients that count their requests may well send, any is as good as another.
      const old = named.find((each) => each.channel !== channel && isSame(each.message, message));
      if (old) {
        old.channel = channel;
        old.message = message;
        return undefined;
      }
    }
    const delivery = { channel, message };
    named.push(delivery);
    this.#all.set(name, named);
    return delivery;
  }

  /** Its request is not worked on any more. */
  drop(delivery: Delivery): void {
    const name = nameOf(delivery.message);
    const rest = (this.#all.get(name) ?? []).filter((each) => each !== delivery);
    if (rest.length === 0) this.#all.delete(name);
    else this.#all.set(name, rest);
  }
}

function nameOf({ replyTo = "", correlationId = "", messageId = "" }: Message): string {
  return JSON.stringify([replyTo, correlationId, messageId]);
}

function isSame(one: Message, other: Message): boolean {
  return (
    one.type === other.type &&
    one.routingKey === other.routingKey &&
    one.userId === other.userId &&
    isEqual(said(one), said(other)) &&
    isEqual(one.body, other.body)
  );
}

function isEqual(one: unknown, other: unknown): boolean {
  try {
    return isDeepStrictEqual(one, other);
  } catch {
    // Nested too deep to be compared; nothing is lost by two answers.
    return false;
  }
}

function said({ headers = {} }: Message): unknown {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !COUNTS.has(name)));
}
