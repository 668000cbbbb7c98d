/** The client half against a server that says what no server of Backtalk says. */
import { afterAll, expect, test } from "bun:test";
import { ANONYMOUS, type Call } from "../../contract/index.ts";
import { Fault } from "../../log/index.ts";
import { websocketPeer } from "./client.ts";

const call = (to: string, rest: Partial<Call> = {}): Call => ({ to, principal: ANONYMOUS, via: "test", ...rest });
const WELCOME = { type: "welcome", heartbeatMs: 25_000, graceMs: 20_000, limits: { bodyBytes: 1000 } };

let first: string = JSON.stringify(WELCOME);
let answer = "";
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response(null, { status: 400 });
  },
  websocket: {
    open: (socket) => void socket.send(first),
    message: (socket) => void socket.send(answer),
  },
});
const url = `http://127.0.0.1:${server.port}`;
const uncaught: unknown[] = [];
const onUncaught = (thrown: unknown) => uncaught.push(thrown);
process.on("uncaughtException", onUncaught);
process.on("unhandledRejection", onUncaught);
afterAll(async () => {
  process.off("uncaughtException", onUncaught);
  process.off("unhandledRejection", onUncaught);
  await server.stop(true);
});

async function faultOf(run: () => unknown): Promise<Fault> {
  try {
    await run();
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown;
    throw thrown;
  }
  throw new Error("no fault came");
}

test.each([
  ["no JSON", "{{{"],
  ["null", "null"],
  ["a welcome without limits", '{"type":"welcome","limits":null}'],
])("%s instead of a welcome is a fault, and nothing was sent", async (_, said) => {
  first = said;
  const peer = websocketPeer({ url });
  const fault = await faultOf(async () => (await peer(call("s/m"))).result());
  expect(fault).toMatchObject({ code: "unavailable", message: "the server sent what cannot be read" });
  expect(fault.detail).toEqual({ sent: false });
  expect(peer.state).toBe("idle");
  expect(uncaught).toEqual([]);
});

test.each([
  ["no JSON", "{{{"],
  ["null", "null"],
  ["no list of events", '{"type":"events","id":0,"events":null,"cursor":"x"}'],
  ["events that are none", '{"type":"events","id":0,"events":[null],"cursor":"x"}'],
])("%s as an answer is a fault of the reading", async (_, said) => {
  first = JSON.stringify(WELCOME);
  answer = said;
  const peer = websocketPeer({ url });
  const fault = await faultOf(async () => {
    for await (const _ of (await peer(call("topics/t"))).read({ from: "start", follow: true }));
  });
  expect(fault).toMatchObject({ code: "unavailable", message: "the server sent what cannot be read" });
  expect(uncaught).toEqual([]);
  peer.close();
});
