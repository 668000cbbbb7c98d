/** What comes to a port that is open to the world. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { z } from "zod";
import { toolsOf } from "../../../suites/store/case.ts";
import { testCertificate } from "../../../suites/transport/certificate.ts";
import { until } from "../../../suites/transport/world.ts";
import { service, topic, unary } from "../../contract/index.ts";
import { createCore, memoryStore } from "../../server.ts";
import { encodeFrame, PREFACE } from "../../wire/length-prefix.ts";
import { openingOf } from "./preface.ts";
import { type TcpListener, tcpListener } from "./server.ts";
import { Raw } from "./testing.ts";

const core = createCore(
  service("s", {
    echo: unary({ input: z.unknown(), output: z.unknown() }, (input) => input),
    news: topic({ event: z.object({ n: z.number() }) }),
  }),
  { store: memoryStore(), limits: { bodyBytes: 10_000 } },
);
let plain: TcpListener;
let tls: TcpListener;
beforeAll(async () => {
  await core.start();
  const httpAt = ["http://127.0.0.1:4400", "https://127.0.0.1:4443"];
  plain = await tcpListener(core, { hostname: "127.0.0.1", port: 0, httpAt });
  tls = await tcpListener(core, { hostname: "127.0.0.1", port: 0, tls: testCertificate() });
});
afterAll(async () => {
  await Promise.all([plain.stop(0), tls.stop(0)]);
  await core.close();
});

const raws: Raw[] = [];
afterEach(() => {
  for (const one of raws.splice(0)) one.destroy();
});
const raw = () => {
  const one = new Raw({ port: plain.port! });
  raws.push(one);
  return one;
};
const open = async () => {
  const one = raw();
  one.write(PREFACE);
  await one.hears("welcome");
  return one;
};
const ends = (each: Raw) => each.until(() => each.isEnded || each.isClosed, "the end");

/** Whatever was done to it, it serves others. */
async function serves(): Promise<void> {
  const one = await open();
  one.say({ type: "call", id: 1, method: "s/echo", input: "still" });
  expect(await one.hears("result", 1)).toMatchObject({ data: "still" });
  one.destroy();
}

describe("another protocol", () => {
  test.each([
    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /studio/isPrime HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n\r\n",
    "CONNECT example.com:443 HTTP/1.1\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  ])("HTTP is told where HTTP is: %j", async (request) => {
    const one = raw();
    one.write(request);
    await ends(one);
    expect(one.text).toStartWith("HTTP/1.1 400 Bad Request\r\n");
    const [head, body] = one.bytes.toString().split("\r\n\r\n") as [string, string];
    expect(body).toContain("http://127.0.0.1:4400 and https://127.0.0.1:4443");
    expect(Number(/content-length: (\d+)/i.exec(head)?.[1])).toBe(Buffer.byteLength(body));
  });

  test("fetch gets an answer that it can read", async () => {
    const response = await fetch(`http://127.0.0.1:${plain.port}/x`, { method: "POST", body: "x".repeat(100_000) });
    expect([response.status, await response.text()]).toEqual([400, expect.stringContaining("backtalk.v1 over TCP")]);
  });

  test("TLS on the port without is told in plain text", async () => {
    const one = raw();
    // The beginning of a ClientHello.
    one.write(Buffer.from(`1603010200010001fc0303${"00".repeat(64)}`, "hex"));
    await ends(one);
    expect(one.text).toBe("This port speaks backtalk.v1 without TLS.\n");
  });

  test.each(["SSH-2.0-OpenSSH_9.6\r\n", "backtalk.v2\n", "EHLO\n", "\n", "\0".repeat(40), '{"type":"call"}\n'])(
    "anything else is told what is spoken: %j",
    async (bytes) => {
      const one = raw();
      one.write(bytes);
      expect(await one.hears("fault")).toMatchObject({ fault: { code: "invalid_argument" } });
      expect(await one.closes()).toMatchObject({ code: 1002 });
      expect(one.text).toStartWith(PREFACE);
    },
  );

  test("no TLS on the port with it: nothing can be said, and it ends", async () => {
    for (const bytes of ["GET / HTTP/1.1\r\n\r\n", PREFACE]) {
      const one = new Raw({ port: tls.port! });
      one.write(bytes);
      await ends(one);
      one.destroy();
    }
    await until(() => tls.size === 0, "its end");
  });

  test("the preface is told from everything, however it is cut", () => {
    for (let size = 0; size < PREFACE.length; size++) {
      expect(openingOf(Buffer.from(PREFACE.slice(0, size)))).toBeUndefined();
    }
    expect(openingOf(Buffer.from(`${PREFACE}more`))).toBe("backtalk");
    for (let seed = 1; seed <= 500; seed++) {
      const { pick } = toolsOf(seed);
      const bytes = Uint8Array.from({ length: 12 + pick(10) }, () => pick(256));
      expect(openingOf(bytes)).not.toBe("backtalk");
      expect(openingOf(bytes)).toBeDefined();
    }
  });
});

describe("frames", () => {
  test.each([
    ["a byte too many", 10_001],
    ["2 GiB", 0x80000000],
    ["4 GiB", 0xffffffff],
  ])("a length that is more than is taken is refused before its bytes: %s", async (_, length) => {
    const one = await open();
    one.say({ type: "call", id: 1, method: "s/echo", input: 1 });
    const prefix = Buffer.alloc(4);
    prefix.writeUInt32BE(length);
    one.write(prefix);
    await one.hears("result", 1);
    expect(await one.hears("fault")).toMatchObject({ fault: { code: "resource_exhausted", limit: "bodyBytes" } });
    expect(await one.closes()).toMatchObject({ code: 1009 });
  });

  test("whoever goes on sending what was refused still reads why", async () => {
    const one = await open();
    one.write(Buffer.from([0, 0xff, 0xff, 0xff]));
    for (let i = 0; i < 100; i++) one.write(Buffer.alloc(64 * 1024));
    await one.hears("fault");
    expect(await one.closes()).toMatchObject({ code: 1009 });
    // Nothing is reset: what was said could be lost by that.
    for (let i = 0; i < 100; i++) one.write(Buffer.alloc(64 * 1024));
    one.socket.end();
    await until(() => one.isClosed, "the end");
    expect(one.error).toBeUndefined();
  });

  test("the largest that is taken", async () => {
    const one = await open();
    const begin = '{"type":"call","id":1,"method":"s/echo","input":"';
    const input = "x".repeat(10_000 - begin.length - 2);
    one.say(`${begin}${input}"}`);
    expect(await one.hears("result", 1)).toMatchObject({ data: input });
  });

  test("bytes that are not UTF-8 close it, after the answers to what came before", async () => {
    const one = await open();
    one.write(
      Buffer.concat([encodeFrame('{"type":"call","id":1,"method":"s/echo"}'), Buffer.from([0, 0, 0, 1, 0xff])]),
    );
    await one.hears("result", 1);
    expect(await one.hears("fault")).toMatchObject({ fault: { code: "invalid_argument" } });
    expect(await one.closes()).toMatchObject({ code: 1007 });
  });

  test("nothing in a frame, and no JSON, are bad messages like any other; a hundred close it", async () => {
    const one = await open();
    for (let i = 0; i < 99; i++) one.say(["", "null", "[]", "{", "\uFEFF{}"][i % 5]!);
    one.say({ type: "call", id: 1, method: "s/echo", input: 1 });
    await one.hears("result", 1);
    expect(one.heard.filter(({ type }) => type === "fault")).toHaveLength(99);
    one.say("");
    expect(await one.closes()).toMatchObject({ code: 1008 });
  });

  test("byte by byte, the preface too", async () => {
    const one = raw();
    const all = Buffer.concat([
      Buffer.from(PREFACE),
      encodeFrame('{"type":"call","id":1,"method":"s/echo","input":"ü€😀"}'),
      encodeFrame('{"type":"call","id":2,"method":"s/echo","input":2}'),
    ]);
    for (const byte of all) {
      one.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await one.hears("result", 1)).toMatchObject({ data: "ü€😀" });
    await one.hears("result", 2);
  });

  test("the messages are the same however the bytes are cut", async () => {
    for (let seed = 1; seed <= 25; seed++) {
      const { pick } = toolsOf(seed);
      const inputs = Array.from({ length: 8 }, () => "aü€😀".repeat(pick(200)));
      const all = Buffer.concat([
        Buffer.from(PREFACE),
        ...inputs.map((input, id) => encodeFrame(JSON.stringify({ type: "call", id, method: "s/echo", input }))),
      ]);
      const one = raw();
      for (let at = 0; at < all.length; ) {
        const size = 1 + pick(pick(2) === 0 ? 20 : 2000);
        one.write(all.subarray(at, at + size));
        at += size;
        await new Promise((resolve) => setImmediate(resolve));
      }
      for (const [id, input] of inputs.entries()) {
        expect(await one.hears("result", id), `seed ${seed}`).toMatchObject({ data: input });
      }
      one.destroy();
    }
  });

  test("cut off anywhere they do nothing, and leave nothing", async () => {
    const publish = encodeFrame('{"type":"publish","id":1,"topic":"news","event":{"n":1}}');
    for (let size = 0; size < publish.length; size++) {
      const one = raw();
      one.write(Buffer.concat([Buffer.from(PREFACE), publish.subarray(0, size)]));
      if (size % 2 === 0) one.socket.end();
      else {
        await one.hears("welcome");
        one.socket.resetAndDestroy();
      }
    }
    await until(() => plain.size === 0, "all to be gone");
    const one = await open();
    one.say({ type: "state", id: 1, topic: "news" });
    expect(await one.hears("result", 1)).toMatchObject({ data: { events: 0 } });
    one.destroy();
  });

  test("garbage by seed is answered or ended, and the server serves on", async () => {
    for (let seed = 1; seed <= 150; seed++) {
      const { pick } = toolsOf(seed);
      const garbage = Buffer.from(Uint8Array.from({ length: 1 + pick(3000) }, () => pick(256)));
      // Also such as begins well: a preface, a length that fits, a piece of JSON.
      const kind = pick(4);
      if (kind > 1) garbage.writeUInt32BE(pick(200), 0);
      const one = raw();
      one.write(Buffer.concat([...(kind > 0 ? [Buffer.from(PREFACE)] : []), garbage]));
      if (kind > 2) one.say('{"type":"call","id":1,"method":"s/echo","in');
      one.socket.end();
      await one.until(() => one.isEnded || one.isClosed, `the end, seed ${seed}`);
      one.destroy();
    }
    await until(() => plain.size === 0, "all to be gone");
    await serves();
  }, 60_000);

  test("2,000 connections that say nothing, or half of something, do not stop it", async () => {
    const begun = [PREFACE, "", "backt", `${PREFACE}\0\0`, `${PREFACE}\0\0\x10\0{`];
    for (let n = 0; n < 2000; n++) {
      raw().write(Buffer.from(begun[n % begun.length]!, "latin1"));
      // No more at once than the queue of the listener takes.
      if (n % 200 === 199) await until(() => plain.size === n + 1, "these");
    }
    await serves();
    for (const one of raws) one.destroy();
    await until(() => plain.size === 0, "all to be gone");
  }, 60_000);
});
