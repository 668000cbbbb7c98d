import { describe, expect, test } from "bun:test";
import { ANONYMOUS, type Call, type Exchange, type Peer } from "../contract/index.ts";
import { type Cursor, Fault, type Page, type ReadAt } from "../log/index.ts";
import { FALLBACK, LADDER } from "./fallback.ts";
import { Link, type SocketReport } from "./link.ts";
import { ManualEnvironment, turns } from "./testing/tools.ts";

const call = (to: string, rest: Partial<Call> = {}): Call => ({ to, principal: ANONYMOUS, via: "test", ...rest });
const page = (ended: boolean): Page => ({ events: [], cursor: "abcd-a1" as Cursor, more: false, ended });

/** Peers that only say who they are, and read what they are told. */
function setup(ladder = LADDER) {
  const env = new ManualEnvironment();
  const log: string[] = [];
  const reads: ((at: ReadAt) => AsyncIterable<Page>)[] = [];
  let report: SocketReport | undefined;
  const peerOf =
    (name: string): Peer =>
    ({ to }) => {
      log.push(`${name} ${to}`);
      return { read: (at: ReadAt) => reads.shift()!(at) } as Exchange;
    };
  const link = new Link({
    clock: env,
    ladder,
    http: peerOf,
    connect(given) {
      report = given;
      log.push("connect");
      return Object.assign(peerOf("websocket"), { close: () => log.push("close") });
    },
  });
  const follow = async (read: (at: ReadAt) => AsyncIterable<Page>) => {
    reads.push(read);
    const exchange = await link.peer(call("calls/1"));
    for await (const _ of exchange.read({ from: "start", follow: true }));
  };
  return { env, log, link, follow, report: () => report! };
}

const lost = () => new Fault("unavailable", "lost", { cause: new TypeError("network error") });
async function* once(fault?: Fault) {
  yield page(fault === undefined);
  if (fault) throw fault;
}
// biome-ignore lint/correctness/useYield: it fails before
async function* failing(fault: Fault): AsyncGenerator<Page> {
  throw fault;
}
const faultOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (thrown: Fault) => thrown,
  );

describe("which peer gets a call", () => {
  test("a plain call is one POST, unless a WebSocket is open already", async () => {
    const { link, log, report } = setup();
    await link.peer(call("s/m"));
    await link.peer(call("s/m", { key: "k" }));
    await link.peer(call("s/m"));
    report().onOpen();
    await link.peer(call("s/m"));
    report().onClose(lost());
    await link.peer(call("s/m"));
    expect(log).toEqual(["sse s/m", "connect", "websocket s/m", "sse s/m", "websocket s/m", "sse s/m"]);
  });

  test("everything that lasts goes over the chosen transport", async () => {
    const { link, log } = setup();
    for (const one of [call("calls/1"), call("topics/a"), call("s/m", { keep: true })]) await link.peer(one);
    expect(log).toEqual(["connect", "websocket calls/1", "websocket topics/a", "websocket s/m"]);
  });

  test("a transport that is set is the only one", async () => {
    const socket = setup(["websocket"]);
    await socket.link.peer(call("s/m"));
    expect(socket.log).toEqual(["connect", "websocket s/m"]);
    const poll = setup(["poll"]);
    await poll.link.peer(call("topics/a"));
    await poll.link.peer(call("s/m"));
    expect(poll.log).toEqual(["poll topics/a", "sse s/m"]);
  });

  test("close closes the socket", async () => {
    const { link, log } = setup();
    link.close();
    await link.peer(call("calls/1"));
    link.close();
    expect(log.at(-1)).toBe("close");
  });
});

describe("what the machine is told", () => {
  test("a socket that cannot be opened: SSE, and its fault is known as one of before sending", async () => {
    const { link, report } = setup();
    await link.peer(call("calls/1"));
    const fault = lost();
    report().onClose(fault);
    expect(link.transport).toBe("sse");
    expect(link.isUnsent(fault)).toBe(true);
    expect(link.isUnsent(lost())).toBe(false);
  });

  test("a socket that the server closes in order is no failure", async () => {
    const { link, report } = setup();
    await link.peer(call("calls/1"));
    for (let i = 0; i < 5; i++) {
      report().onOpen();
      report().onClose(new Fault("unavailable", "goes", { detail: { close: "drain" } }));
    }
    report().onClose(new Fault("unauthenticated", "no token"));
    expect(link.transport).toBe("websocket");
  });

  test("short responses fall; what the server says does not", async () => {
    const { link, follow } = setup(LADDER.slice(1));
    for (let i = 0; i < 5; i++) {
      await faultOf(follow(() => failing(new Fault("not_found", "no such call"))));
      await faultOf(follow(() => failing(new Fault("unavailable", "503 of the server"))));
      await faultOf(follow(() => once(new Fault("unavailable", "goes", { detail: { close: "rotate" } }))));
    }
    expect(link.transport).toBe("sse");
    for (let i = 0; i < 3; i++) await faultOf(follow(() => once(lost())));
    expect(link.transport).toBe("long-poll");
  });

  test("a response that never begins falls at once", async () => {
    const { link, follow } = setup(LADDER.slice(1));
    await faultOf(follow(() => failing(new Fault("unavailable", "silent", { detail: { stalled: true } }))));
    expect(link.transport).toBe("long-poll");
  });

  test("a reading over a lesser transport makes room when the better one is due", async () => {
    const { env, link, follow } = setup(LADDER.slice(1));
    await faultOf(follow(() => failing(new Fault("unavailable", "silent", { detail: { stalled: true } }))));
    const reading = faultOf(
      follow(async function* ({ signal }) {
        yield page(false);
        await new Promise((resolve) => signal!.addEventListener("abort", resolve));
      }),
    );
    await turns();
    expect(env.timers).toBe(1);
    env.advance(FALLBACK.upgradeMs);
    expect(await reading).toMatchObject({ code: "unavailable", retryable: true, detail: { moved: true } });
    await link.peer(call("calls/1"));
    expect(link.transport).toBe("sse");
    expect(env.timers).toBe(0);
  });
});
