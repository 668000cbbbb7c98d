import { afterAll, test } from "bun:test";
import { noBroker, startBroker } from "../../../suites/broker/broker.ts";
import { runTransportSuite } from "../../../suites/transport/suite.ts";
import { amqpLink } from "./testing.ts";

const why = noBroker();
if (why) test.skip(`amqp (${why})`, () => {});
else {
  const broker = await startBroker();
  afterAll(() => broker.stop());
  const skip = {
    "drain: new calls are unavailable with a delay": "they wait in their queue for the next server",
  };
  runTransportSuite("amqp", () => amqpLink(() => broker.url), { skip });
  // The smallest window: each event is asked for by itself.
  runTransportSuite("amqp, a window of one", () => amqpLink(() => broker.url, { window: 1, silenceMs: 5_000 }), {
    skip,
  });
}
