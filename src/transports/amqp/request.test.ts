/** By what a message is known when it is delivered again. */
import { describe, expect, test } from "bun:test";
import { Deliveries } from "./deliveries.ts";
import type { Channel, Message } from "./driver.ts";
import { callKeyOf, keyOf } from "./request.ts";

const message = (more: Partial<Message>): Message => ({ deliveryTag: 1, redelivered: false, body: {}, ...more });
const direct = (n: number) => `amq.rabbitmq.reply-to.g1h2AA5yZXBseUA${n}.a+b/c==`;

describe("the key of a call", () => {
  test("is the header, else the message_id", () => {
    const headers = { "idempotency-key": "h" };
    expect(callKeyOf(message({ headers, messageId: "m", correlationId: "c", replyTo: direct(1) }))).toBe("h");
    expect(callKeyOf(message({ messageId: "m", correlationId: "c", replyTo: direct(1) }))).toBe("m");
    expect(() => callKeyOf(message({ headers: { "idempotency-key": 1 } }))).toThrow("must be text");
  });

  test("is of the correlation_id and a reply_to that the broker has made unique", () => {
    const key = (replyTo: string | undefined, correlationId = "1") =>
      callKeyOf(message({ correlationId, ...(replyTo !== undefined && { replyTo }) }));
    expect(key(direct(1))).toMatch(/^reply\/[\w-]{43}$/);
    expect(key(direct(1))).toBe(key(direct(1))!);
    const all = [key(direct(1)), key(direct(2)), key(direct(1), "2"), key("amq.gen-x"), key("amq.gen-x1", "")];
    expect(new Set(all).size).toBe(5);
    expect(key("amq.gen-x1", "")).toBeUndefined();
    for (const shared of [undefined, "", "replies", "amq.rabbitmq.reply-to", "amq.topic", "x.amq.gen-x"]) {
      expect(key(shared)).toBeUndefined();
    }
    // No pair can be written as another, and the longest ones make no longer key.
    expect(key("amq.gen-a", 'b","c')).not.toBe(key('amq.gen-a","b', "c")!);
    expect(key(`amq.gen-${"x".repeat(247)}`, "y".repeat(255))!.length).toBeLessThan(60);
  });

  test("of an event is never its correlation_id", () => {
    expect(keyOf(message({ correlationId: "c", replyTo: direct(1) }))).toBeUndefined();
    expect(keyOf(message({ correlationId: "c", messageId: "m" }))).toBe("m");
  });
});

describe("deliveries", () => {
  const channels = [1, 2].map(() => ({ active: true }) as Channel) as [Channel, Channel];
  const ask = (text: string, more: Partial<Message> = {}) =>
    message({ replyTo: "replies", correlationId: "1", body: Buffer.from(text), ...more });

  test("of what is worked on take the place of those of a lost channel", () => {
    const deliveries = new Deliveries();
    const first = deliveries.take(channels[0], ask("a"))!;
    const again = ask("a", { redelivered: true, deliveryTag: 7, headers: { "x-delivery-count": 1 } });
    expect(deliveries.take(channels[1], again)).toBeUndefined();
    expect(first).toMatchObject({ channel: channels[1], message: { deliveryTag: 7 } });
    deliveries.drop(first);
    expect(deliveries.take(channels[1], again)).toBeDefined();
  });

  test("of two that say the same are each answered, and each takes its own place", () => {
    const deliveries = new Deliveries();
    const both = [deliveries.take(channels[0], ask("a"))!, deliveries.take(channels[0], ask("a"))!];
    for (const deliveryTag of [5, 6]) {
      expect(deliveries.take(channels[1], ask("a", { redelivered: true, deliveryTag }))).toBeUndefined();
    }
    expect(both.map((each) => each.message.deliveryTag).toSorted()).toEqual([5, 6]);
  });

  test("of one name with other contents, credentials or on the same channel are other requests", () => {
    const deliveries = new Deliveries();
    deliveries.take(channels[0], ask("a"));
    const redelivered = true;
    expect(deliveries.take(channels[1], ask("b", { redelivered }))).toBeDefined();
    expect(deliveries.take(channels[1], ask("a", { redelivered, headers: { authorization: "x" } }))).toBeDefined();
    expect(deliveries.take(channels[0], ask("a", { redelivered }))).toBeDefined();
    expect(deliveries.take(channels[1], ask("a"))).toBeDefined();
  });
});
