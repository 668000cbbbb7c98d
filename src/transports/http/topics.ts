/** Topics (PROTOCOL.md §2.1): reading and publishing. */
import { type Exchange, TOPICS } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import type { Ask } from "./ask.ts";
import { bodyType, JSON_TYPE, parseJson } from "./body.ts";
import { readEvents } from "./events.ts";
import type { Web } from "./web.ts";

/** `GET /topics/{name}` */
export async function readTopic(web: Web, ask: Ask, name: string): Promise<Response> {
  return readEvents(web, ask, await topic(web, ask, name), "now");
}

/** `POST /topics/{name}` */
export async function publish(web: Web, ask: Ask, name: string): Promise<Response> {
  bodyType(ask, [JSON_TYPE]);
  ask.readFields(web.host.now, web.host.random);
  const { key } = ask;
  // The key is the event's, not a call's.
  ask.key = undefined;
  const exchange = await topic(web, ask, name);
  const { limits } = web.host;
  const text = await web.readBody(ask, limits.bodyBytes);
  if (text === "") throw new Fault("invalid_argument", "there is no event in the body");
  const event = parseJson(text, limits.jsonDepth, "event");
  const { cursor, duplicate } = await exchange.append({ items: [event], ...(key !== undefined && { key }) });
  return new Response(JSON.stringify({ cursor, duplicate }), {
    status: duplicate ? 200 : 201,
    headers: {
      "content-type": JSON_TYPE,
      ...ask.answerHeaders(),
      ...(duplicate && { "idempotency-replayed": "true" }),
    },
  });
}

async function topic(web: Web, ask: Ask, name: string): Promise<Exchange> {
  ask.to = TOPICS + name;
  return web.host.peer(ask);
}
