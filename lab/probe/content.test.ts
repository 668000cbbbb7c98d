/** What goes on over HTTP: compression, keep-alive, push, RPC; each claim with a server that only claims it. */
import { afterAll, describe, expect, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { listedServices } from "./checks/rpc.ts";
import { har } from "./har.ts";
import { probe } from "./probe.ts";
import { Place, probed } from "./testing.ts";

const place = new Place();
afterAll(() => place.close());

const at = (port: number, path = "/") => `http://127.0.0.1:${port}${path}`;
const serve = (fetch: (request: Request) => Response | Promise<Response>) => place.bun({ fetch });

test("Backtalk has nothing at /: its description is asked for, and a topic's events", async () => {
  const fault = (status: number, code = "not_found") =>
    Response.json(
      { type: `urn:backtalk:fault:${code}` },
      { status, headers: { "content-type": "application/problem+json" } },
    );
  const server = (paths: readonly string[] | undefined) =>
    serve(({ url }) => {
      const { pathname } = new URL(url);
      if (pathname === "/topics/news")
        return new Response("data: 1\n\n", { headers: { "content-type": "text/event-stream" } });
      if (pathname !== "/openapi.json") return fault(404);
      return paths === undefined
        ? fault(401, "unauthenticated")
        : Response.json({ paths: Object.fromEntries(paths.map((each) => [each, {}])) });
    });
  const topic = await probed(at(server(["/a/b", "/topics/{name}", "/topics/news"])));
  expect([topic.of("h1").facts!["status"], topic.of("h1").text]).toEqual([
    200,
    expect.stringContaining("/openapi.json"),
  ]);
  expect([topic.says("sse"), topic.of("sse").text, topic.says("keep-alive")]).toEqual([
    "yes",
    "/topics/news: an event came",
    "yes",
  ]);
  expect((await probed(at(server(["/a/b"])))).of("sse").reason!.code).toBe("not_tried");
  // Not told to just anybody, or asked for by its path: what was asked for is what is told of.
  for (const given of [at(server(undefined)), at(server([]), "/nothing")]) {
    const { of, says, requests } = await probed(given);
    expect([of("h1").facts!["status"], of("h1").text, says("sse")]).toEqual([404, "status 404", "http_status(404)"]);
    expect(requests.at(-1)!.url).not.toContain("/topics/");
  }
});

describe("compression", () => {
  const text = "many words, ".repeat(200);

  test("counts when it is used", async () => {
    const port = serve((request) => {
      const coding = request.headers.get("accept-encoding") ?? "";
      if (coding === "gzip") return new Response(gzipSync(text), { headers: { "content-encoding": "gzip" } });
      if (coding === "zstd") return new Response(zstdCompressSync(text), { headers: { "content-encoding": "zstd" } });
      return new Response(text);
    });
    const { of, says } = await probed(at(port));
    expect([says("gzip"), says("br"), says("zstd")]).toEqual(["yes", "not_offered", "yes"]);
    expect(of("gzip").facts!["plainBytes"]).toBe(text.length);
  });

  test("that is far larger than it came is not made in full", async () => {
    const bomb = gzipSync(Buffer.alloc(100_000_000));
    const fetch = (request: Request) =>
      request.headers.get("accept-encoding") === "gzip"
        ? new Response(bomb, { headers: { "content-encoding": "gzip" } })
        : new Response("hi");
    const { of } = await probed(at(serve(fetch)));
    expect(of("gzip")).toMatchObject({ isPresent: true, facts: { plainBytes: null, bytes: bomb.length } });
  });

  test("of a body that was cut is decoded as far as it came", async () => {
    const long = gzipSync(Buffer.from(Array.from({ length: 60_000 }, (_, n) => (n * n * 31) & 255)));
    const forged = Buffer.alloc(2_000, "no gzip at all, ");
    for (const [bytes, found] of [
      [long.subarray(0, long.length / 2), true],
      [forged, false],
    ] as const) {
      const port = await place.tcp((socket) => {
        socket.on("data", () => {
          socket.write("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 900000\r\n\r\n");
          socket.write(bytes);
        });
      });
      const { of } = await probed(at(port));
      expect([of("h1").isPresent, of("gzip").isPresent]).toEqual([true, found]);
      expect(of("keep-alive").reason?.code).toBe("not_tried");
    }
  });

  test("needs a body", async () => {
    const { says } = await probed(at(serve(() => new Response(null, { status: 204 }))));
    expect(says("gzip")).toBe("not_tried(status 204 came without a body)");
  });

  test("that is only said is none", async () => {
    const port = serve(() => new Response(text, { headers: { "content-encoding": "gzip" } }));
    const { of } = await probed(at(port));
    expect(of("gzip").reason?.code).toBe("malformed");
  });
});

describe("connections", () => {
  const answer = (more: string) => `HTTP/1.1 200 OK\r\ncontent-length: 2\r\n${more}\r\nhi`;

  test("are kept", async () => {
    const { of, says } = await probed(at(serve(() => new Response("hi"))));
    expect(says("keep-alive")).toBe("yes");
    expect(says("idle")).toStartWith("not_tried(it takes its time");
    expect(of("keep-alive").phases!.namelookup).toBe(0);
  });

  test("that go dumb after one answer leave the rest to others", async () => {
    const port = await place.tcp((socket) => socket.once("data", () => socket.write(answer(""))));
    const { says } = await probed(at(port), { timeoutMs: 600 });
    expect([says("keep-alive"), says("gzip")]).toEqual(["timeout", "not_offered"]);
  });

  test("are not kept, and the server says so", async () => {
    const port = await place.tcp((socket) => socket.once("data", () => socket.end(answer("connection: close\r\n"))));
    expect((await probed(at(port))).says("keep-alive")).toBe("not_offered");
  });

  test("are not kept, and the server does not say so", async () => {
    const port = await place.tcp((socket) => {
      socket.once("data", () => {
        socket.write(answer(""));
        socket.once("data", () => socket.end());
      });
    });
    expect((await probed(at(port))).says("keep-alive")).toBe("closed");
  });

  test("are watched for so long as was asked for", async () => {
    const closing = await place.tcp((socket) => {
      socket.on("data", () => {
        socket.write(answer(""));
        socket.setTimeout(300, () => socket.end());
      });
    });
    const closed = await probed(at(closing), { idleMs: 5_000 });
    expect(closed.of("idle").facts).toMatchObject({ isStillOpen: false });
    expect(closed.of("idle").facts!["seconds"]).toBeWithin(0.2, 3);
    const open = await probed(at(serve(() => new Response("hi"))), { idleMs: 300 });
    expect(open.says("idle")).toBe("yes");
    expect(open.of("idle").facts).toEqual({ isStillOpen: true, seconds: 0.3 });
  });

  test("go nowhere else: a redirect is told of, and not followed", async () => {
    const elsewhere: string[] = [];
    const other = serve((request) => {
      elsewhere.push(request.url);
      return new Response("there");
    });
    const { of, requests } = await probed(at(serve(() => Response.redirect(at(other), 301))));
    expect(of("h1").facts).toMatchObject({ status: 301, location: at(other) });
    expect(elsewhere).toEqual([]);
    expect(requests.filter(({ url }) => url.includes(`:${other}`))).toEqual([]);
  });

  test("are counted, and few", async () => {
    let count = 0;
    const port = await place.tcp((socket) => {
      count++;
      socket.on("data", () => socket.write("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"));
    });
    const { report } = await probed(at(port));
    expect(report.cost.tcpConnections).toBe(count);
    expect(count).toBeLessThan(20);
    expect(report.cost.bytesSent).toBeWithin(100, 20_000);
    expect(report.cost.bytesReceived).toBeGreaterThan(40);
  });
});

describe("WebSocket", () => {
  const upgrade = (path: string, more: object = {}) =>
    place.bun({
      fetch(request: Request, server: { upgrade(request: Request, options?: object): boolean }) {
        if (new URL(request.url).pathname === path && server.upgrade(request, more)) return;
        return new Response(null, { status: 404 });
      },
      websocket: { message() {} },
    });

  test("opens at the path that was given, or at /ws", async () => {
    expect((await probed(at(upgrade("/chat"), "/chat"))).of("websocket").facts).toMatchObject({ path: "/chat" });
    expect((await probed(at(upgrade("/ws")))).of("websocket").facts).toMatchObject({ path: "/ws" });
    expect((await probed(at(upgrade("/elsewhere")))).says("websocket")).toBe("http_status(404)");
  });

  test("with a subprotocol, when one is chosen", async () => {
    const port = upgrade("/ws", { headers: { "sec-websocket-protocol": "chat.v2" } });
    const { of } = await probed(at(port), { subprotocols: ["chat.v2", "chat.v1"] });
    expect(of("websocket").facts).toMatchObject({ subprotocol: "chat.v2" });
  });

  test("that does not know the key is none", async () => {
    const said =
      "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n";
    const port = await place.tcp((socket) => {
      socket.on("data", (data) =>
        socket.write(data.includes("websocket") ? said : "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
      );
    });
    const { of } = await probed(at(port));
    expect(of("websocket").reason).toEqual({
      code: "malformed",
      detail: "Sec-WebSocket-Accept does not fit the key",
    });
  });
});

describe("server-sent events", () => {
  test("come", async () => {
    const fetch = (request: Request) =>
      request.headers.get("accept") === "text/event-stream"
        ? new Response(
            new ReadableStream({
              start: (controller) => controller.enqueue("data: 1\n\n"),
            }),
            { headers: { "content-type": "text/event-stream" } },
          )
        : new Response("hi");
    const { of } = await probed(at(serve(fetch), "/events"));
    expect(of("sse")).toMatchObject({ isPresent: true, text: "/events: an event came" });
  });

  test("without an end are an answer of HTTP/1.1, 2 and 3", async () => {
    const { cert, key } = await place.certificate();
    for (const type of ["text/event-stream", "text/plain"]) {
      const fetch = () =>
        new Response(new ReadableStream({ start: (controller) => controller.enqueue("data: 1\n\n") }), {
          headers: { "content-type": type },
        });
      const port = place.bun({ tls: { cert, key }, http2: true, http3: true, fetch });
      const { says, report } = await probed(`https://localhost:${port}/events`, { ca: cert });
      expect([says("h1"), says("h2"), says("h3")]).toEqual(["yes", "yes", "yes"]);
      expect(says("sse")).toBe(type === "text/plain" ? "not_offered" : "yes");
      expect([says("keep-alive"), says("quic-resumption")]).toEqual([
        "not_tried(the answer was not read to its end)",
        "yes",
      ]);
      expect(report.durationMs).toBeLessThan(15_000);
    }
  });

  test("are none when something else comes", async () => {
    expect((await probed(at(serve(() => new Response("hi"))))).says("sse")).toBe("not_offered");
    expect((await probed(at(serve(() => new Response(null, { status: 406 }))))).says("sse")).toBe("http_status(406)");
  });
});

describe("RPC", () => {
  test("Connect is known by its errors, and by what it takes", async () => {
    const error = serve(() => Response.json({ code: "unimplemented", message: "no" }, { status: 501 }));
    expect((await probed(at(error))).says("connect")).toBe("yes");
    const accept = { "accept-post": "application/json, application/connect+json, application/proto" };
    const takes = serve(({ url }) =>
      url.endsWith("/a.v1.B/C")
        ? new Response(null, { status: 415, headers: accept })
        : new Response(null, { status: 404 }),
    );
    expect((await probed(at(takes, "/a.v1.B/C"))).says("connect")).toBe("yes");
    expect((await probed(at(takes))).says("connect")).toBe("http_status(404)");
  });

  test("other errors in JSON are none of Connect", async () => {
    const problem = serve(() => Response.json({ type: "about:blank", code: "not_found" }, { status: 404 }));
    expect((await probed(at(problem))).says("connect")).toBe("http_status(404)");
    const own = serve(() => Response.json({ code: "E_NOPE" }, { status: 400 }));
    expect((await probed(at(own))).says("connect")).toBe("http_status(400)");
  });

  test("gRPC that answers everything as unimplemented is none", async () => {
    const headers = { "content-type": "application/grpc", "grpc-status": "12", "grpc-message": "not%20here" };
    const port = place.bun({ http2: true, fetch: () => new Response(null, { headers }) });
    const { of, says } = await probed(at(port));
    expect([says("grpc"), says("grpc-health")]).toEqual(Array(2).fill("grpc_status(unimplemented)"));
    expect(of("grpc").text).toContain("not here");
    const web = place.bun({ http2: true, fetch: () => new Response("hi") });
    expect((await probed(at(web))).of("grpc").reason?.code).toBe("malformed");
    // One that refuses all else is a server of gRPC, without the services that are asked for.
    const strict = place.bun({
      http2: true,
      fetch: ({ method }: Request) => new Response(null, method === "GET" ? { status: 415 } : { headers }),
    });
    const real = await probed(at(strict));
    expect([real.says("grpc"), real.says("grpc-health")]).toEqual(["yes", "grpc_status(unimplemented)"]);
  });

  test("a list of services is read, whatever bytes come", () => {
    const name = Buffer.from("a.B");
    const service = [0x0a, name.length, ...name];
    const list = [0x0a, service.length, ...service];
    expect(listedServices(Uint8Array.of(0x0a, 1, 0x78, 0x32, list.length, ...list))).toEqual(["a.B"]);
    expect(listedServices(new Uint8Array())).toBeUndefined();
    for (let cut = 0; cut < 200; cut++) {
      const bytes = Uint8Array.from({ length: cut }, (_, n) => (n * 73 + cut * 31) & 255);
      expect(() => listedServices(bytes)).not.toThrow();
    }
  });
});

test("HSTS means nothing without TLS, and is read with it", async () => {
  const certificate = await place.certificate();
  const { cert, key } = certificate;
  const headers = { "strict-transport-security": "max-age=31536000; includeSubDomains" };
  const port = place.bun({ tls: { cert, key }, fetch: () => new Response("hi", { headers }) });
  const { of } = await probed(`https://localhost:${port}`, { ca: cert });
  expect(of("hsts").facts).toEqual({ maxAgeSeconds: 31_536_000, hasSubDomains: true });
  const off = place.bun({
    tls: { cert, key },
    fetch: () => new Response("hi", { headers: { "strict-transport-security": "max-age=0" } }),
  });
  expect((await probed(`https://localhost:${off}`, { ca: cert })).says("hsts")).toBe("not_offered");
  expect((await probed(at(serve(() => new Response("hi", { headers }))))).of("hsts").reason?.code).toBe("not_tried");
});

test("the HAR has the time of TLS inside of connect, and sums up", async () => {
  const { cert, key } = await place.certificate();
  const port = place.bun({ tls: { cert, key }, http2: true, http3: true, fetch: () => new Response("hi") });
  const { requests } = await probe({ target: `https://localhost:${port}/path?a=b`, ca: cert });
  const { log } = har(requests) as { log: { version: string; entries: { request: { httpVersion: string } }[] } };
  expect(log.version).toBe("1.2");
  expect(new Set(log.entries.map(({ request }) => request.httpVersion))).toEqual(
    new Set(["HTTP/1.1", "HTTP/2", "HTTP/3"]),
  );
  for (const { time, timings, startedDateTime, request } of log.entries as unknown as {
    time: number;
    timings: Record<string, number>;
    startedDateTime: string;
    request: { url: string; queryString: object[] };
  }[]) {
    const { connect, ssl, dns, send, wait, receive } = timings as Record<string, number>;
    if (connect! >= 0) expect(ssl!).toBeLessThanOrEqual(connect!);
    const sum = [dns, connect, send, wait, receive].reduce((all, each) => all! + Math.max(0, each!), 0)!;
    expect(Math.abs(sum - time)).toBeLessThan(0.01);
    for (const each of [send, wait, receive]) expect(each!).toBeGreaterThanOrEqual(0);
    expect(Number.isNaN(Date.parse(startedDateTime))).toBe(false);
    if (request.url.includes("?")) expect(request.queryString).toEqual([{ name: "a", value: "b" }]);
  }
});

test("all of it ends in time, when a server stops to answer after a while", async () => {
  let count = 0;
  const port = await place.tcp((socket) => {
    const isGood = ++count <= 3;
    socket.on("data", () => isGood && socket.write("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"));
  });
  const { report, says } = await probed(at(port), { timeoutMs: 600, overallMs: 1_500 });
  expect(says("h1")).toBe("yes");
  expect(says("websocket")).toMatch(/^(timeout|http_status)/);
  expect(report.durationMs).toBeLessThan(6_000);
  expect(report.findings.map(({ reason }) => reason?.code)).toContain("timeout");
});

test("endless answers are cut", async () => {
  const endless = await place.tcp((socket) => {
    const more = () => {
      while (!socket.destroyed && socket.write("x".repeat(65_536)));
    };
    socket.on("drain", more);
    socket.once("data", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      more();
    });
  });
  const { of, report } = await probed(at(endless), { timeoutMs: 1_500 });
  expect(of("h1").isPresent).toBe(true);
  expect(report.spoke).toBe(true);
  expect(report.durationMs).toBeLessThan(8_000);
});

test("informational answers without an end are cut", async () => {
  const port = await place.tcp((socket) => {
    const more = () => {
      while (!socket.destroyed && socket.write("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(100)));
    };
    socket.on("drain", more);
    socket.once("data", more);
  });
  const { report, says } = await probed(at(port));
  expect(says("h1")).toBe("malformed(informational answers without an end)");
  expect(report.durationMs).toBeLessThan(15_000);
});

test("an aborted probe ends at once", async () => {
  const port = await place.tcp((socket) => socket.resume());
  const controller = new AbortController();
  const going = probe({ target: `127.0.0.1:${port}`, signal: controller.signal });
  controller.abort(new Error("enough"));
  const since = performance.now();
  const failed = expect(going).rejects.toThrow("enough");
  await failed;
  // A try alone takes five seconds.
  expect(performance.now() - since).toBeLessThan(4_500);
});
