/** What the server does with datagrams, seen as bytes. */
import { afterEach, describe, expect, test } from "bun:test";
import { faultOf, open, state, until, World, type WorldOptions } from "../../../suites/transport/world.ts";
import { LIMITS } from "../../contract/index.ts";
import { Fault, type FaultJson } from "../../log/index.ts";
import {
  bodyObject,
  DATAGRAM,
  type DatagramType,
  encodeDatagram,
  jsonBytes,
  parseDatagram,
} from "../../wire/datagram.ts";
import { seeded } from "../../wire/seed.ts";
import { ANSWER_MS, Answers } from "./answers.ts";
import { faultDatagram } from "./fit.ts";
import type { UdpOptions } from "./server.ts";
import { newId, Sender, type UdpLink, udpLink } from "./testing.ts";
import { TOKEN_MS } from "./tokens.ts";

const ending: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

async function start(options: WorldOptions = {}, server: Partial<UdpOptions> = {}) {
  const link: UdpLink = udpLink({}, server);
  const world = await new World(link, options).start();
  ending.push(() => world.close());
  const sender = async (from?: string): Promise<Sender> => {
    const made = await Sender.open(link.port, from);
    ending.push(() => made.close());
    return made;
  };
  const outcome = (name: string) =>
    Number(
      new RegExp(`backtalk_datagrams_total\\{outcome="${name}"\\} (\\d+)`).exec(world.core.metrics.text())?.[1] ?? 0,
    );
  return { world, link, sender, outcome, control: world.control };
}

const NONE = new Uint8Array(0);
const echo = (input: unknown) => ({ method: "t/echo", input });

describe("an address that has shown nothing", () => {
  test("gets a token, and nothing is run for it", async () => {
    const { sender, control } = await start();
    const one = await sender();
    const id = newId();
    await one.say(DATAGRAM.ask, id, { method: "t/gate", input: { source: "x" }, keep: true });
    const retry = await one.hears(id);
    expect([retry.type, retry.token.length, typeof retry.json.sinceMs]).toEqual([DATAGRAM.retry, 32, "number"]);
    await one.settles();
    expect(control.started("x")).toBe(0);
    one.token = retry.token;
    expect((await one.ask(echo("hi"))).json).toEqual({ result: "hi" });
  });

  test("is never sent more than three times what it sent, whatever that is", async () => {
    const { link, sender } = await start({ limits: { retriesPerAddress: 0, retriesPerSecond: 0 } });
    const good = await (await sender()).prove();
    const random = seeded(5);
    const types = [...Object.values(DATAGRAM), 0, 7, 0xff] as DatagramType[];
    const bodies = ["", "{}", "[", '{"method":"t/echo","input":"x"}', '{"state":"c00"}', '{"method":"t/none"}'];
    for (let n = 0; n < 120; n++) {
      const one = await Sender.open(link.port);
      const body = Buffer.from(bodies[Math.floor(random() * bodies.length)]!.padEnd(Math.floor(random() * 40)));
      // Also with the token of another address, and with tokens that were made up.
      const tokens = [NONE, good.token!, Uint8Array.from({ length: 32 }, () => random() * 256), NONE];
      const bytes = encodeDatagram(
        types[Math.floor(random() * types.length)]!,
        newId(),
        body,
        tokens[Math.floor(random() * tokens.length)]!,
      ).subarray(0, 12 + Math.floor(random() * 90));
      await one.raw(bytes);
      // The answer to a later datagram of the same socket comes after it.
      await good.settles();
      expect(one.bytesIn).toBeLessThanOrEqual(3 * bytes.length);
      one.close();
    }
  });

  test("which repeats the datagram of another gets no answer of that one", async () => {
    const { sender, control } = await start();
    const [ann, eve] = [await (await sender()).prove(), await sender()];
    const id = newId();
    const bytes = await ann.say(DATAGRAM.ask, id, { method: "t/gate", input: { source: "a" } });
    await until(() => control.started("a") === 1, "the call");
    await eve.raw(bytes);
    expect((await eve.hears(id)).type).toBe(DATAGRAM.retry);
    control.source("a").push("for ann");
    expect((await ann.hears(id)).json).toEqual({ result: "for ann" });
    await eve.raw(bytes);
    expect((await eve.hears(id)).type).toBe(DATAGRAM.retry);
    expect(control.started("a")).toBe(1);
  });

  test("on a port that changed on the way is still the same client: what ran is answered, not run again", async () => {
    const { sender, control } = await start();
    const [before, after] = [await (await sender()).prove(), await sender()];
    const id = newId();
    control.source("m").push("once");
    const body = { method: "t/gate", input: { source: "m" } };
    await before.say(DATAGRAM.ask, id, body);
    await before.hears(id);
    await after.say(DATAGRAM.ask, id, body, before.token);
    const retry = await after.hears(id);
    expect(retry.type).toBe(DATAGRAM.retry);
    await after.say(DATAGRAM.ask, id, body, retry.token);
    expect((await after.hears(id)).json).toEqual({ result: "once" });
    expect(control.started("m")).toBe(1);
  });

  test("is answered no oftener than the limits say, and others are served", async () => {
    const { sender, outcome } = await start({ limits: { retriesPerAddress: 5, retriesPerSecond: 8 } });
    const served = await (await sender()).prove();
    const [one, two] = [await sender("127.0.0.2"), await sender("127.0.0.3")];
    for (let n = 0; n < 50; n++) {
      await one.say(DATAGRAM.ask, newId(), echo(n), NONE);
      await two.say(DATAGRAM.ask, newId(), echo(n), NONE);
    }
    await until(() => outcome("limited") + outcome("retry") >= 101, "all to be looked at");
    // One was for the first, and in the time of the test some more may have come.
    expect(outcome("retry")).toBeLessThanOrEqual(12);
    expect(one.heard.length).toBeLessThanOrEqual(7);
    expect((await served.ask(echo("there"))).json).toEqual({ result: "there" });
  });
});

describe("a copy of a question", () => {
  test("that was answered gets the same bytes, and one that runs gets the same answer", async () => {
    const { sender, control } = await start();
    const one = await (await sender()).prove();
    const id = newId();
    const body = { method: "t/gate", input: { source: "d" } };
    for (let n = 0; n < 5; n++) await one.say(DATAGRAM.ask, id, body);
    // Each of the four is told that it runs.
    for (let n = 0; n < 4; n++) await one.hears(id, DATAGRAM.running);
    control.source("d").push({ n: 1 });
    const first = await one.hears(id);
    expect(first.json).toEqual({ result: { n: 1 } });
    for (let n = 0; n < 3; n++) {
      await one.say(DATAGRAM.ask, id, body);
      expect(Buffer.from((await one.hears(id)).bytes).equals(Buffer.from(first.bytes))).toBe(true);
    }
    expect(control.started("d")).toBe(1);
  });

  test("with other JSON is refused, and gets nothing of the first one's answer", async () => {
    const { sender } = await start();
    const one = await (await sender()).prove();
    const id = newId();
    await one.ask(echo("secret"), id);
    await one.say(DATAGRAM.ask, id, echo("other"));
    expect((await one.hears(id)).json.fault).toMatchObject({ code: "invalid_argument" });
  });

  test("is known for 150 s, and the memory is free after", async () => {
    let time = 0;
    const { sender, link, world } = await start({}, { now: () => time });
    const one = await (await sender()).prove();
    const id = newId();
    const body = { method: "t/tick", input: { n: 1 } };
    await one.ask(body, id);
    time = ANSWER_MS - 1;
    await one.ask(body, id);
    expect(link.listener.memory.records).toBe(1);
    time = ANSWER_MS + 1;
    await one.ask(echo(1));
    expect(link.listener.memory.records).toBe(1);
    expect((await world.store.list({ prefix: "topics/ticks", limit: 1 })).logs[0]!.events).toBe(1);
  });

  test("is told within 100 ms that the call runs, and again when it asks", async () => {
    const { sender, control } = await start();
    const one = await (await sender()).prove();
    const id = newId();
    const began = performance.now();
    await one.say(DATAGRAM.ask, id, { method: "t/gate", input: { source: "s" } });
    await one.hears(id, DATAGRAM.running);
    expect(performance.now() - began).toBeGreaterThan(90);
    control.source("s").push("late");
    expect((await one.hears(id)).json).toEqual({ result: "late" });
  });
});

describe("a caller that has gone", () => {
  test("by `stop` ends a call that is not recorded", async () => {
    const { sender, control } = await start();
    const [one, other] = [await (await sender()).prove(), await sender()];
    const id = newId();
    await one.say(DATAGRAM.ask, id, { method: "t/gate", input: { source: "s" } });
    await until(() => control.started("s") === 1, "the call");
    // Nobody else can end it.
    await other.say(DATAGRAM.stop, id, undefined, one.token);
    await other.settles();
    expect(control.aborted("s")).toBeUndefined();
    await one.say(DATAGRAM.stop, id);
    expect((await one.hears(id)).json.fault).toMatchObject({ code: "cancelled" });
    expect(control.aborted("s")).toMatchObject({ code: "cancelled" });
  });
});

test("a caller that has asked nothing for 90 s has gone", () => {
  let time = 0;
  const answers = new Answers(LIMITS, () => time);
  const [silent, asks] = ["a", "b"].map((key) => answers.open(key, 1n, "127.0.0.1", 9));
  for (time = 0; time <= 91_000; time += 15_000) asks!.heardAt = time;
  answers.sweep();
  expect([silent!.gone!.signal.aborted, asks!.gone!.signal.aborted]).toEqual([true, false]);
});

describe("tokens", () => {
  test("hold for 30 minutes, and what was asked with them is known longer", async () => {
    let time = 0;
    const { sender } = await start({}, { now: () => time });
    const one = await (await sender()).prove();
    time = TOKEN_MS;
    const id = newId();
    expect((await one.ask(echo(1), id)).json).toEqual({ result: 1 });
    time = TOKEN_MS + ANSWER_MS - 1_000;
    // Too old for something new, good for what was asked before.
    expect((await one.ask(echo(2))).type).toBe(DATAGRAM.retry);
    expect((await one.ask(echo(1), id)).json).toEqual({ result: 1 });
    time = 4 * TOKEN_MS;
    const retry = await one.ask(echo(1), id);
    expect([retry.type, retry.json.sinceMs]).toEqual([DATAGRAM.retry, ANSWER_MS]);
  });

  test("that were changed in any byte are none", async () => {
    const { sender } = await start({ limits: { retriesPerAddress: 0 } });
    const one = await (await sender()).prove();
    const good = one.token!;
    for (let at = 0; at < good.length; at++) {
      one.token = good.slice();
      one.token[at]! ^= 1;
      expect([at, (await one.ask(echo(1))).type]).toEqual([at, DATAGRAM.retry]);
    }
    one.token = good;
    expect((await one.ask(echo(1))).type).toBe(DATAGRAM.result);
  });
});

describe("limits", () => {
  test("datagramBytes: both ways, with a fault that says what to do", async () => {
    const { sender } = await start();
    const one = await (await sender()).prove();
    const fault = (await one.ask(echo("x".repeat(1_200)))).json.fault;
    expect(fault).toMatchObject({ code: "resource_exhausted", limit: "datagramBytes", retryable: false });
    const ask = { method: "t/fails", input: { code: "aborted", message: "x" } };
    expect((await one.ask(ask)).json.fault.code).toBe("aborted");
    // Its answer is longer than its question: the result of `backtalk/calls`.
    const ids: string[] = [];
    for (let n = 0; n < 8; n++) ids.push((await one.ask({ ...echo(n), keep: true })).json.call);
    expect(ids[7]).toMatch(/^c/);
    const lost = await one.ask({ method: "backtalk/calls", input: {} });
    expect(lost.json.fault).toMatchObject({ code: "resource_exhausted", limit: "datagramBytes" });
    expect([lost.json.call, lost.bytes.length <= 1_200]).toEqual([undefined, true]);
    const kept = await one.ask({ method: "backtalk/calls", input: {}, key: "k" });
    expect(kept.json.fault.detail.call).toBe(kept.json.call);
    expect(kept.json.fault.hint).toContain(kept.json.call);
    expect((await one.ask({ state: kept.json.call })).json.fault).toMatchObject({ limit: "datagramBytes" });
  });

  test("datagramBytes: faults are cut to fit, and keep what matters", async () => {
    const { sender } = await start({ limits: { datagramBytes: 300 } });
    const one = await (await sender()).prove();
    const fields = Array.from({ length: 3 }, (_, n) => ({ name: n }));
    const bad = await one.ask({ method: "t/nested", input: { list: fields, size: 1.5 } });
    expect(bad.bytes.length).toBeLessThanOrEqual(300);
    expect(bad.json.fault).toMatchObject({ code: "invalid_argument", retryable: false });
    for (let length = 0; length < 200; length++) {
      const { fault } = bodyObject(
        parseDatagram(
          faultDatagram(
            newId(),
            new Fault("aborted", `${"x".repeat(length % 7)}${"👋".repeat(length)}`, {
              hint: "h".repeat(length),
              limit: "some",
            }),
            300,
            `c${"0".repeat(26)}`,
          ),
        )!.body,
      ) as { fault: FaultJson };
      expect(jsonBytes({ fault, call: `c${"0".repeat(26)}` }).length).toBeLessThanOrEqual(288);
      expect(fault).toMatchObject({ code: "aborted", retryable: true });
      expect(fault.message).toMatch(/^x*(👋)*…?$/u);
      expect(fault.message.length).toBeGreaterThanOrEqual(Math.min(length, 30));
    }
  });

  test("datagramsPerAddress and datagramsPerSecond: what is more is dropped, and others are served", async () => {
    const time = 0;
    const { sender, outcome } = await start(
      { limits: { datagramsPerAddress: 20, datagramsPerSecond: 50 } },
      { now: () => time },
    );
    const [one, two, three] = [
      await (await sender("127.0.0.2")).prove(),
      await (await sender("127.0.0.3")).prove(),
      await (await sender("127.0.0.4")).prove(),
    ];
    const flood = async (who: Sender, times: number) => {
      const before = outcome("asked") + outcome("limited");
      for (let n = 0; n < times; n++) await who.say(DATAGRAM.ask, newId(), echo(n));
      await until(() => outcome("asked") + outcome("limited") === before + times, "all to be looked at");
    };
    await flood(one, 60);
    expect(outcome("asked")).toBe(20);
    expect((await two.ask(echo("there"))).json).toEqual({ result: "there" });
    await flood(two, 30);
    expect(outcome("asked")).toBe(40);
    // Ten are left in all.
    await flood(three, 30);
    expect(outcome("asked")).toBe(50);
  });

  test("datagramRecords, datagramRecordsPerAddress: new questions are refused, no answer is forgotten", async () => {
    const { sender, link } = await start({ limits: { datagramRecords: 12, datagramRecordsPerAddress: 8 } });
    const [one, two] = [await (await sender("127.0.0.2")).prove(), await (await sender("127.0.0.3")).prove()];
    const first = newId();
    await one.ask(echo(1), first);
    for (let n = 0; n < 7; n++) await one.ask(echo(n));
    const full = (await one.ask(echo(9))).json.fault;
    expect(full).toMatchObject({ code: "resource_exhausted", limit: "datagramRecordsPerAddress" });
    expect(full.retryAfterMs).toBeGreaterThan(0);
    for (let n = 0; n < 4; n++) expect((await two.ask(echo(n))).type).toBe(DATAGRAM.result);
    expect((await two.ask(echo(9))).json.fault.limit).toBe("datagramRecords");
    expect((await one.ask(echo(1), first)).json).toEqual({ result: 1 });
    expect(link.listener.memory.records).toBe(12);
  });

  test("datagramRecordBytes: an answer without room is not kept, and its question not run again", async () => {
    const { sender, link, world } = await start({ limits: { datagramRecordBytes: 200 } });
    const one = await (await sender()).prove();
    await one.ask(echo("x".repeat(150)));
    const id = newId();
    const ask = { method: "t/tick", input: { n: 1 } };
    expect((await one.ask(ask, id)).type).toBe(DATAGRAM.result);
    expect((await one.ask(ask, id)).json.fault).toMatchObject({ code: "data_loss", limit: "datagramRecordBytes" });
    expect(link.listener.memory.bytes).toBeLessThanOrEqual(200);
    expect((await world.store.list({ prefix: "topics/ticks", limit: 1 })).logs[0]!.events).toBe(1);
  });

  test("of calls hold here too: keyChars, storedBytesPerPrincipal", async () => {
    const { sender } = await start({ limits: { keyChars: 10, storedBytesPerPrincipal: 2_000 } });
    const one = await (await sender()).prove();
    expect((await one.ask({ ...echo(1), key: "01234567890" })).json.fault.limit).toBe("keyChars");
    let limit: unknown;
    for (let n = 0; n < 10 && !limit; n++)
      limit = (await one.ask({ ...echo("x".repeat(500)), keep: true })).json.fault?.limit;
    expect(limit).toBe("storedBytesPerPrincipal");
  });
});

describe("what cannot be read", () => {
  test("is a fault that says what is wrong, and nothing runs", async () => {
    const { sender, world } = await start();
    const one = await (await sender()).prove();
    const cases: [body: object, code: string, text: RegExp][] = [
      [{}, "invalid_argument", /one of method, state and cancel/],
      [{ method: "t/echo", state: "x" }, "invalid_argument", /one of/],
      [{ method: 7 }, "invalid_argument", /wrong type/],
      [{ ...echo(1), keep: "yes" }, "invalid_argument", /wrong type/],
      [{ ...echo(1), timeoutMs: -1 }, "invalid_argument", /timeout/],
      [[1], "invalid_argument", /not a JSON object/],
      [{ method: "t/ecko" }, "not_found", /t\/ecko/],
      [{ method: "calls/c00" }, "not_found", /no method/],
      [{ method: "t/count", input: { to: 1 } }, "unimplemented", /stream/],
      [{ method: "t/sum" }, "unimplemented", /stream/],
      [{ method: "t/shout" }, "unimplemented", /stream/],
      [{ method: "topics/ticks" }, "unimplemented", /topics/],
      [{ state: "nothing" }, "not_found", /no call/],
      [{ cancel: `c${"0".repeat(26)}` }, "not_found", /no call/],
    ];
    for (const [body, code, text] of cases) {
      const { fault } = (await one.ask(body)).json;
      expect([body, fault?.code]).toEqual([body, code]);
      expect(fault.message).toMatch(text);
      if (code !== "invalid_argument" || !text.source.includes("one of")) expect(fault.hint).toBeString();
    }
    const id = newId();
    await one.raw(encodeDatagram(DATAGRAM.ask, id, Buffer.from('{"method":'), one.token));
    expect((await one.hears(id)).json.fault.code).toBe("invalid_argument");
    expect((await world.store.list({ prefix: "calls/", limit: 9 })).logs).toEqual([]);
  });

  test("mutated datagrams by seed: the server stays, and answers others", async () => {
    const { sender } = await start({ limits: { retriesPerAddress: 0, datagramsPerAddress: 0, datagramsPerSecond: 0 } });
    const [one, good] = [await (await sender()).prove(), await (await sender()).prove()];
    const random = seeded(3);
    for (let n = 0; n < 3_000; n++) {
      const whole = encodeDatagram(
        DATAGRAM.ask,
        newId(),
        jsonBytes({ ...echo("äx"), key: `k${n}`, keep: n % 2 === 0 }),
        one.token,
      );
      for (let i = 0; i <= n % 5; i++) whole[Math.floor(random() * whole.length)] = random() * 256;
      await one.raw(whole.subarray(0, n % 7 === 0 ? Math.floor(random() * whole.length) : whole.length));
      if (n % 50 === 0) expect((await good.ask(echo(n))).json).toEqual({ result: n });
    }
    expect((await good.ask(echo("still"))).json).toEqual({ result: "still" });
  });
});

describe("credentials", () => {
  test("decide who calls, and whose calls are found", async () => {
    const { world, sender } = await start({
      users: true,
      authorize: ({ id }, { verb, name }) => id !== "cat" || (verb === "call" && name === "t/echo"),
    });
    const [ann, bob, cat, bad] = ["ann", "bob", "cat", "bad"].map((user) => world.peer(user));
    expect(await (await open(ann!, "t/me", { input: {} })).result()).toBe("ann");
    const kept = await open(ann!, "t/gate", { input: { source: "a" }, keep: true });
    for (const use of [state, (each: typeof kept) => each.cancel(), (each: typeof kept) => each.result()]) {
      await faultOf(async () => use(await open(bob!, `calls/${kept.id}`)), "not_found");
    }
    expect(await state(await open(ann!, `calls/${kept.id}`))).toMatchObject({ state: "running" });
    await faultOf(async () => (await open(bad!, "t/echo", { input: 1 })).result(), "unauthenticated");
    expect(await (await open(cat!, "t/echo", { input: 1 })).result()).toBe(1);
    await faultOf(async () => (await open(cat!, "t/me", { input: {} })).result(), "permission_denied");
    const one = await (await sender()).prove();
    expect((await one.ask({ method: "t/me", input: {}, token: "dan" })).json).toEqual({ result: "dan" });
  });

  test("are refused from other machines, unless the operator allows it", async () => {
    const address = Object.values((await import("node:os")).networkInterfaces())
      .flat()
      .find((each) => each?.family === "IPv4" && !each.internal)?.address;
    if (address === undefined) {
      console.log("this machine has no address but its own: a test is left out");
      return;
    }
    for (const credentials of [false, true]) {
      const { link } = await start({ users: true }, { hostname: "0.0.0.0", credentials });
      const { udpPeer } = await import("./client.ts");
      const url = `udp://${address}:${link.port}`;
      const shy = udpPeer({ url, token: "ann" });
      const sent: Fault = await faultOf(
        async () => (await open(shy, "t/me", { input: {} })).result(),
        "permission_denied",
      );
      expect(sent.detail).toEqual({ sent: false });
      const bold = udpPeer({ url, token: "ann", insecureCredentials: true });
      const asked = async () => (await open(bold, "t/me", { input: {} })).result();
      if (credentials) expect(await asked()).toBe("ann");
      else expect((await faultOf(asked, "permission_denied")).hint).toContain("--udp-credentials");
      const anybody = udpPeer({ url });
      expect(await (await open(anybody, "t/me", { input: {} })).result()).toBe("");
      for (const each of [shy, bold, anybody]) each.close();
    }
  });
});

describe("the listener", () => {
  test("says which port is taken", async () => {
    const { link, world } = await start();
    const { udpListener } = await import("./server.ts");
    const fault = await faultOf(
      () => udpListener(world.core, { hostname: "127.0.0.1", port: link.port }),
      "unavailable",
    );
    expect([fault.detail?.["port"], fault.hint]).toEqual([link.port, expect.stringContaining("--udp-port")]);
    await faultOf(() => udpListener(world.core, { hostname: "203.0.113.1", port: 0 }), "invalid_argument");
  });

  test("answers what runs before it ends", async () => {
    const { world, link, control } = await start({ drainMs: 5_000 });
    const result = (await open(world.peer(), "t/gate", { input: { source: "w" } })).result();
    await until(() => control.started("w") === 1, "the call");
    const stopped = world.core.drain().then(() => link.stop());
    control.source("w").push("in time");
    expect(await result).toBe("in time");
    await stopped;
  });

  test("speaks IPv6, and tells its senders apart by their first 64 bits", async () => {
    const { world } = await start();
    const { udpListener } = await import("./server.ts");
    const { udpPeer } = await import("./client.ts");
    const { isLoopback } = await import("./address.ts");
    const { senderOf } = await import("../../contract/sender.ts");
    const six = await udpListener(world.core, { hostname: "::1", port: 0 });
    expect(six.url).toBe(`udp://[::1]:${six.port}`);
    const peer = udpPeer({ url: six.url });
    expect(await (await open(peer, "t/echo", { input: 6 })).result()).toBe(6);
    peer.close();
    await six.stop();
    expect(["2001:db8::1", "2001:db8:0:0:ffff::", "2001:0DB8::5%eth0"].map(senderOf)).toEqual(
      Array(3).fill("2001:db8:0:0"),
    );
    expect(["::ffff:10.0.0.1", "10.0.0.1", "2001:db8:1:2:3:4:5:6"].map(senderOf)).toEqual([
      "10.0.0.1",
      "10.0.0.1",
      "2001:db8:1:2",
    ]);
    expect(["127.9.9.9", "::1", "::ffff:127.0.0.1", "10.0.0.1", "127.0.0.1.evil"].map(isLoopback)).toEqual([
      true,
      true,
      true,
      false,
      false,
    ]);
  });
});
