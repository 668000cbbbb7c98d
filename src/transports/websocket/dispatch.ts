/** What each message of a client does (PROTOCOL.md §3.1). */
import { CALLS, type Call, type Principal, TOPICS } from "../../contract/index.ts";
import { type Cursor, Fault, type Place, parsePlace } from "../../log/index.ts";
import type {
  AttachMessage,
  CallMessage,
  ClientMessage,
  PublishMessage,
  StateMessage,
  SubscribeMessage,
} from "../../wire/frame.ts";
import { childTraceparent, parseTraceparent } from "../../wire/traceparent.ts";
import { SocketExchange } from "./exchange.ts";
import { Items } from "./items.ts";
import type { Socket } from "./socket.ts";

export function dispatch(socket: Socket, message: ClientMessage, principal: Principal): void {
  switch (message.type) {
    case "auth":
    case "pong":
      return;
    case "credit":
      // Unknown: the exchange ended while the message was on its way.
      socket.exchanges.get(message.id)?.credit(message.n);
      return;
    case "leave":
      socket.exchanges.get(message.id)?.leave();
      return;
    case "cancel":
      if (message.call === undefined) socket.exchanges.get(message.id)?.cancel();
      else begin(socket, message.id, (exchange) => cancel(exchange, principal, message.call!));
      return;
    case "items":
      if (message.call === undefined) {
        const exchange = socket.exchanges.get(message.id);
        if (exchange) exchange.items(message);
        else begin(socket, message.id, (gone) => gone.fail(noExchange(message.id)));
      } else {
        const { call } = message;
        begin(socket, message.id, (exchange) => {
          const make = () =>
            new Items(
              socket,
              new Promise((resolve) => resolve(socket.hub.peer(plain(socket, principal, CALLS + call)))),
            );
          socket.itemsOf(call, make).add(message, exchange);
        });
      }
      return;
    default:
      begin(socket, message.id, (exchange) => open(exchange, message, principal));
  }
}

function begin(socket: Socket, id: number, then: (exchange: SocketExchange) => void): void {
  if (socket.exchanges.has(id)) {
    socket.refuseId(id);
    return;
  }
  const exchange = new SocketExchange(socket, id);
  socket.begin(exchange);
  if (!exchange.isOver) then(exchange);
}

function open(
  exchange: SocketExchange,
  message: CallMessage | AttachMessage | SubscribeMessage | PublishMessage | StateMessage,
  principal: Principal,
): void {
  const { socket } = exchange;
  try {
    switch (message.type) {
      case "call": {
        const wants = { credit: message.credit, after: "start" as Place, follow: true, isNew: true };
        exchange.open(newCall(socket, principal, message), wants);
        return;
      }
      case "attach": {
        const { call, after = "start", credit, follow = true } = message;
        const wants = { credit, after: parsePlace(after), follow, isNew: false };
        exchange.open(plain(socket, principal, CALLS + call), wants);
        return;
      }
      case "subscribe": {
        const { topic, after = "now", credit, follow = true } = message;
        const wants = { credit, after: parsePlace(after), follow, isNew: false };
        exchange.open(plain(socket, principal, TOPICS + topic), wants);
        return;
      }
      case "publish": {
        const { topic, event, key } = message;
        exchange.use(plain(socket, principal, TOPICS + topic), async (opened) => {
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

function newCall(socket: Socket, principal: Principal, message: CallMessage): Call {
  const { method, input, key, keep, credit, timeoutMs, traceparent, tracestate } = message;
  // `calls/...` and `topics/...` are addresses of the peer, not methods.
  if (method.startsWith(CALLS) || method.startsWith(TOPICS)) {
    throw new Fault("not_found", `there is no method ${method.slice(0, 128)}`, { hint: "use `attach` or `subscribe`" });
  }
  const { host } = socket.hub;
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
    address: socket.address,
    via: "websocket",
    // Own, so that a layer that copies the call has it; made when somebody looks.
    get signal() {
      return socket.signal;
    },
  };
}

function plain(socket: Socket, principal: Principal, to: string): Call {
  return { to, principal, address: socket.address, via: "websocket" };
}

function state(exchange: SocketExchange, principal: Principal, message: StateMessage): void {
  const { call, topic, after, waitMs } = message;
  if ((call === undefined) === (topic === undefined)) {
    throw new Fault("invalid_argument", "a `state` names a `call` or a `topic`", {
      fields: [{ path: "call", message: "one of call and topic is needed" }],
    });
  }
  const { socket } = exchange;
  const most = socket.hub.host.limits.waitMs;
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
  exchange.use(plain(socket, principal, to), async (opened) => exchange.result(await opened.state(wait)));
}

function cancel(exchange: SocketExchange, principal: Principal, call: string): void {
  exchange.use(plain(exchange.socket, principal, CALLS + call), async (opened) => {
    await opened.cancel();
    exchange.result(await opened.state());
  });
}

function noExchange(id: number): Fault {
  return new Fault("failed_precondition", `there is no exchange ${id} on this socket`, {
    hint: "it has ended: give `call` to send items to a call by its id",
  });
}
