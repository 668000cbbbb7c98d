/** What no client of ours sends, over bare sockets; and readers that come and go. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { seeded } from "../../wire/seed.ts";
import { rawSocket, type Served, serve, until } from "./server.fixture.ts";

let lab: Served;
beforeAll(async () => {
  lab = await serve({ limits: { bodyBytes: 100_000, itemBytes: 20_000, urlChars: 2000, bodyMs: 300 } });
});
afterAll(() => lab.stop());

const problem = async (response: Response) =>
  [response.status, (await response.json()) as { code: string; limit?: string }] as const;
const alive = async () => expect(await (await lab.post("/lab/double", { n: 1 })).json()).toEqual({ n: 2 });

describe("bodies", () => {
  test.each(["{", "[1,", "nul", '{"n":1}x', "\u0000", '"\ud800', "NaN", "{'n':1}"])("not JSON: %j", async (body) => {
    expect(await problem(await lab.post("/lab/double", body))).toEqual([
      400,
      expect.objectContaining({ code: "invalid_argument" }),
    ]);
  });

  test("JSON that is something else, and names of prototypes", async () => {
    for (const body of ["null", "1", '"x"', "[]", "true", '{"__proto__":{"n":1}}', '{"constructor":{"n":1}}']) {
      expect((await lab.post("/lab/double", body)).status).toBe(400);
    }
    expect(({} as { n?: number }).n).toBeUndefined();
  });

  test("too deep", async () => {
    for (const depth of [65, 1000, 49_000]) {
      const deep = await lab.post("/lab/double", `{"n":${"[".repeat(depth)}${"]".repeat(depth)}}`);
      expect(await problem(deep)).toEqual([400, expect.objectContaining({ limit: "jsonDepth" })]);
    }
  });

  test("too large, announced or not", async () => {
    const body = JSON.stringify({ name: "x".repeat(100_001) });
    const announced = await lab.post("/lab/greet", body);
    expect(await problem(announced)).toEqual([
      413,
      expect.objectContaining({ code: "resource_exhausted", limit: "bodyBytes" }),
    ]);
    const stream = new Response(body).body!;
    const unannounced = await fetch(`${lab.url}/lab/greet`, { method: "POST", body: stream });
    expect(await problem(unannounced)).toEqual([413, expect.objectContaining({ limit: "bodyBytes" })]);
    const line = `${JSON.stringify({ n: 1, text: "x".repeat(20_001) })}\n`;
    const item = await lab.post("/lab/sum", line, { "content-type": "application/x-ndjson" });
    expect(await problem(item)).toEqual([413, expect.objectContaining({ limit: "itemBytes" })]);
    await alive();
  });

  test("another type, or compressed", async () => {
    for (const type of ["text/plain", "multipart/form-data; boundary=x", ""]) {
      const response = await lab.post("/lab/double", '{"n":1}', { "content-type": type });
      if (type === "") continue;
      expect(response.status).toBe(415);
      expect(response.headers.get("accept-post")).toBe("application/json");
    }
    const zipped = await lab.post("/lab/double", '{"n":1}', { "content-encoding": "gzip" });
    expect([zipped.status, zipped.headers.get("accept-encoding")]).toEqual([415, "identity"]);
  });

  test("slow: 408, and the connection closes", async () => {
    for (const path of ["/lab/double", "/topics/ticks"]) {
      const { got, send } = await rawSocket(lab.port);
      send(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"n":`);
      await until(() => got.closed);
      expect(got.text).toStartWith("HTTP/1.1 408");
      expect(got.text).toContain('"code":"deadline_exceeded"');
    }
    await alive();
  });

  test("a body that breaks off is not the end of the items", async () => {
    const { send, end } = await rawSocket(lab.port);
    const item = '{"n":1}\n';
    send(
      `POST /lab/sum HTTP/1.1\r\nHost: x\r\nIdempotency-Key: broken\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-ndjson\r\n\r\n`,
    );
    send(`${item.length.toString(16)}\r\n${item}\r\n4\r\n{"n"\r\n`);
    type State = { id: string; state: string; received: { items: number; ended: boolean } };
    const find = async () => {
      const { calls } = (await (await lab.get("/calls?method=lab/sum&state=running")).json()) as { calls: State[] };
      for (const { id } of calls) {
        const state = (await (await lab.get(`/calls/${id}`)).json()) as State;
        if (state.received.items === 1) return state;
      }
      return undefined;
    };
    await until(find);
    end();
    // The same request again, whole: what has arrived is skipped.
    const whole = await lab.post("/lab/sum", `${item}${item}${item}`, {
      "content-type": "application/x-ndjson",
      "idempotency-key": "broken",
    });
    expect(await whole.json()).toEqual({ n: 3 });
    expect(whole.headers.get("idempotency-replayed")).toBe("true");
  });
});

describe("requests", () => {
  test("a long target", async () => {
    expect((await lab.get(`/lab/double?input=${"x".repeat(2000)}`)).status).toBe(414);
  });

  test("strange targets, methods and fields never get further than a fault", async () => {
    const random = seeded(7);
    const pieces = [
      "/",
      "..",
      "%2e",
      "%00",
      "calls",
      "topics",
      "lab",
      "double",
      "?",
      "after=",
      "events",
      "items",
      "#",
      "é",
      "//",
      ";",
    ];
    for (let i = 0; i < 200; i++) {
      let path = "/";
      for (let n = Math.floor(random() * 7); n > 0; n--) path += pieces[Math.floor(random() * pieces.length)];
      const method = ["GET", "POST", "DELETE", "PUT", "OPTIONS", "QUERY"][Math.floor(random() * 6)]!;
      const response = await fetch(lab.url + path, { method, headers: { prefer: "wait=,;=", "if-none-match": '*,"' } });
      expect([path, method, response.status < 500 || response.status === 501]).toEqual([path, method, true]);
      await response.text();
    }
    await alive();
  });

  test("requests on one connection, one after another", async () => {
    const { got, send, end } = await rawSocket(lab.port);
    const request = 'POST /lab/double HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{"n":1}';
    send(request);
    await until(() => got.text.includes('{"n":2}'));
    send(request);
    await until(() => got.text.split('{"n":2}').length === 3);
    end();
  });
});

describe("readers that come and go", () => {
  test("1,000 that leave at any moment leave nothing behind", async () => {
    const random = seeded(3);
    const connections = () => lab.metric('backtalk_connections{transport="sse"}');
    await until(() => connections() === 0);
    let n = 1000;
    const visit = async () => {
      while (n-- > 0) {
        const { got, send, end } = await rawSocket(lab.port);
        send("GET /topics/ticks HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n");
        // At once, when the header has come, or later.
        const when = random();
        if (when > 0.3) await until(() => got.text !== "");
        if (when > 0.9) await lab.post("/topics/ticks", { n });
        end();
      }
    };
    await Promise.all(Array.from({ length: 20 }, visit));
    const began = performance.now();
    await until(() => connections() === 0);
    expect(performance.now() - began).toBeLessThan(10_000);
    await alive();
  }, 60_000);

  test("a reader that does not read holds a page, not the log", async () => {
    const other = await serve();
    const location = (
      await other.post("/lab/count", { to: 20_000, size: 2000 }, { prefer: "respond-async, wait=30" })
    ).headers.get("location")!;
    const { socket, got, send, end } = await rawSocket(other.port);
    socket.pause();
    Bun.gc(true);
    const before = process.memoryUsage().rss;
    send(`GET ${location}/events HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n`);
    const sent = () => other.metric('backtalk_events_sent_total{transport="ndjson"}');
    await until(() => sent() > 0);
    let last = -1;
    await until(() => {
      const now = sent();
      const still = now === last;
      last = now;
      return still;
    });
    // What the sockets of both sides take, and one page.
    expect(sent()).toBeLessThan(8000);
    expect(process.memoryUsage().rss - before).toBeLessThan(40e6);
    socket.resume();
    await until(() => got.text.includes('"kind":"end"'));
    expect(sent()).toBeGreaterThanOrEqual(20_002);
    end();
    await other.stop();
  }, 60_000);

  test("a reader that left while its socket was full", async () => {
    const other = await serve();
    const location = (
      await other.post("/lab/count", { to: 10_000, size: 2000 }, { prefer: "respond-async, wait=30" })
    ).headers.get("location")!;
    const { socket, send, end } = await rawSocket(other.port);
    socket.pause();
    send(`GET ${location}/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n`);
    await until(() => other.metric('backtalk_events_sent_total{transport="sse"}') > 0);
    end();
    await until(() => other.metric('backtalk_connections{transport="sse"}') === 0);
    await other.stop();
  });
});
