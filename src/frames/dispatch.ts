/** What each message of a client does (PROTOCOL.md §3.1). */
import { CALLS, type Call, type Principal, TOPICS } from "../contract/index.ts";
import { type Cursor, Fault, type Place, parsePlace } from "../log/index.ts";
import type {
  AttachMessage,
  CallMessage,
  ClientMessage,
  PublishMessage,
  StateMessage,
  SubscribeMessage,
} from "../wire/frame.ts";
import { childTraceparent, parseTraceparent } from "../wire/traceparent.ts";
import type { Connection } from "./connection.ts";
import { ServedExchange } from "./exchange.ts";
import { Items } from "./items.ts";

export function dispatch(connection: Connection, message: ClientMessage, principal: Principal): void {
  switch (message.type) {
    case "auth":
    case "pong":
      return;
    case "credit":
      // Unknown: the exchange ended while the message was on its way.
      connection.exchanges.get(message.id)?.credit(message.n);
      return;
    case "leave":
      connection.exchanges.get(message.id)?.leave();
      return;
    case "cancel":
      if (message.call === undefined) connection.exchanges.get(message.id)?.cancel();
      else begin(connection, message.id, (exchange) => cancel(exchange, principal, message.call!));
      return;
    case "items":
      if (message.call === undefined) {
        const exchange = connection.exchanges.get(message.id);
        if (exchange) exchange.items(message);
        else begin(connection, message.id, (gone) => gone.fail(noExchange(message.id)));
      } else {
        const { call } = message;
        begin(connection, message.id, (exchange) => {
          const make = () =>
            new Items(
              connection,
              new Promise((resolve) => resolve(connection.hub.peer(plain(connection, principal, CALLS + call)))),
            );
          connection.itemsOf(call, make).add(message, exchange);
        });
      }
      return;
    default:
      begin(connection, message.id, (exchange) => open(exchange, message, principal));
  }
}

function begin(connection: Connection, id: number, then: (exchange: ServedExchange) => void): void {
  if (connection.exchanges.has(id)) {
    connection.refuseId(id);
    return;
  }
  const exchange = new ServedExchange(connection, id);
  connection.begin(exchange);
  if (!exchange.isOver) then(exchange);
}

function open(
  exchange: ServedExchange,
  message: CallMessage | AttachMessage | SubscribeMessage | PublishMessage | StateMessage,
  principal: Principal,
): void {
  const { connection } = exchange;
  try {
    switch (message.type) {
      case "call": {
        const wants = { credit: message.credit, after: "start" as Place, follow: true, isNew: true };
        exchange.open(newCall(connection, principal, message), wants);
        return;
      }
      case "attach": {
        const { call, after = "start", credit, follow = true } = message;
        const wants = { credit, after: parsePlace(after), follow, isNew: false };
        exchange.open(plain(connection, principal, CALLS + call), wants);
        return;
      }
      case "subscribe": {
        const { topic, after = "now", credit, follow = true } = message;
        const wants = { credit, after: parsePlace(after), follow, isNew: false };
        exchange.open(plain(connection, principal, TOPICS + topic), wants);
        return;
      }
      case "publish": {
        const { topic, event, key } = message;
        exchange.use(plain(connection, principal, TOPICS + topic), async (opened) => {
          const items = { items: [event], ...(key !== undefined && { key }) };
          const { cursor, duplicate } = await opened.append(items);
          exchange.result({ cursor, duplicate });
        });
        return;
      }
      case "state":
        state(exchange, principal, message);
    }
  } catch (thrown) {
    exchange.fail(thrown);
  }
}

function newCall(connection: Connection, principal: Principal, message: CallMessage): Call {
  const { method, input, key, keep, credit, timeoutMs, traceparent, tracestate } = message;
  // `calls/...` and `topics/...` are addresses of the peer, not methods.
  if (method.startsWith(CALLS) || method.startsWith(TOPICS)) {
    throw new Fault("not_found", `there is no method ${method.slice(0, 128)}`, { hint: "use `attach` or `subscribe`" });
  }
  const { host } = connection.hub;
  const parent = traceparent === undefined ? undefined : parseTraceparent(traceparent);
  const trace = parent && {
    traceparent: childTraceparent(parent, host.random),
    ...(tracestate !== undefined && { tracestate }),
  };
  return {
    to: method,
    // As over HTTP: nothing is the empty object.
    input: input === undefined ? {} : input,
    principal,
    key,
    keep: keep === true || credit !== undefined,
    deadline: timeoutMs === undefined ? undefined : host.now() + timeoutMs,
    trace,
    address: connection.address,
    via: connection.hub.via,
    // Own, so that a layer that copies the call has it; made when somebody looks.
    get signal() {
      return connection.signal;
    },
  };
}

function plain(connection: Connection, principal: Principal, to: string): Call {
  return { to, principal, address: connection.address, via: connection.hub.via };
}

function state(exchange: ServedExchange, principal: Principal, message: StateMessage): void {
  const { call, topic, after, waitMs } = message;
  if ((call === undefined) === (topic === undefined)) {
    throw new Fault("invalid_argument", "a `state` names a `call` or a `topic`", {
      fields: [{ path: "call", message: "one of call and topic is needed" }],
    });
  }
  const { connection } = exchange;
  const most = connection.hub.host.limits.waitMs;
  const place = after === undefined ? undefined : parsePlace(after);
  if (place === "start" || place === "now") {
    throw new Fault("invalid_argument", "`after` of a `state` is a cursor", {
      fields: [{ path: "after", message: "must be a cursor" }],
    });
  }
  const isHeld = place !== undefined || waitMs !== undefined;
  const wait = {
    ...(isHeld && { signal: exchange.signal }),
    ...(place !== undefined && { after: place as Cursor }),
    ...(isHeld && { waitMs: Math.min(waitMs ?? most, most) }),
  };
  const to = call === undefined ? TOPICS + topic : CALLS + call;
  exchange.isHeld = isHeld;
  exchange.use(plain(connection, principal, to), async (opened) => exchange.result(await opened.state(wait)));
}

function cancel(exchange: ServedExchange, principal: Principal, call: string): void {
  exchange.use(plain(exchange.connection, principal, CALLS + call), async (opened) => {
    await opened.cancel();
    exchange.result(await opened.state());
  });
}

function noExchange(id: number): Fault {
  return new Fault("failed_precondition", `there is no exchange ${id} on this socket`, {
    hint: "it has ended: give `call` to send items to a call by its id",
  });
}
