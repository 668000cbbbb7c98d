/** A client that somebody else wrote: curl, over HTTP/1.1 and 2. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Served, serve, until } from "./server.fixture.ts";
import { type HttpServer, httpHandler } from "./server.ts";

const curl = Bun.which("curl");
const openssl = Bun.which("openssl");

describe.skipIf(!curl || !openssl)("curl", () => {
  let lab: Served;
  let secure: Bun.Server<undefined>;
  let folder: string;

  beforeAll(async () => {
    lab = await serve();
    folder = await mkdtemp(join(tmpdir(), "backtalk-"));
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const made = Bun.spawn(
      [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
      ].concat(["-subj", "/CN=localhost", "-keyout", key, "-out", cert]),
      { stderr: "ignore" },
    );
    await made.exited;
    const handler = httpHandler(lab.core);
    secure = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      http2: true,
      tls: { key: await Bun.file(key).text(), cert: await Bun.file(cert).text() },
      fetch: (request, server) => handler(request, server as HttpServer) as Response | Promise<Response>,
    });
  });
  afterAll(async () => {
    await secure.stop(true);
    await lab.stop();
    await rm(folder, { recursive: true });
  });

  async function run(version: string, path: string, ...more: string[]): Promise<string> {
    const base = version === "1.1 plain" ? lab.url : `https://127.0.0.1:${secure.port}`;
    const flag = version === "2" ? "--http2" : "--http1.1";
    const child = Bun.spawn([curl!, "-sSkN", flag, "-w", "\n%{http_code} %{http_version}", ...more, base + path]);
    return new Response(child.stdout).text();
  }
  const asJson = ["-H", "content-type: application/json"];

  describe.each(["1.1 plain", "1.1", "2"])("HTTP/%s", (version) => {
    const http = version[0];

    test("a call, also with a plain -d, which curl calls a form", async () => {
      expect(await run(version, "/lab/double", ...asJson, "-d", '{"n":2}')).toBe(
        `{"n":4}\n200 ${http === "1" ? "1.1" : "2"}`,
      );
      expect(await run(version, "/lab/double", "-d", '{"n":2}')).toStartWith('{"n":4}\n200');
      const foreign = ["-H", "origin: https://elsewhere.example"];
      expect(await run(version, "/lab/double", ...foreign, "-d", '{"n":2}')).toContain("permission_denied");
    });

    test("a stream that is resumed", async () => {
      const text = await run(
        version,
        "/lab/count",
        ...asJson,
        "-H",
        "accept: text/event-stream",
        "-D",
        "-",
        "-d",
        '{"to":3}',
      );
      const location = /location: (\S+)/i.exec(text)![1]!;
      const id = /id: (\S+)\nevent: item\ndata: {"n":2}/.exec(text)![1]!;
      const rest = await run(
        version,
        `${location}/events`,
        "-H",
        "accept: text/event-stream",
        "-H",
        `last-event-id: ${id}`,
      );
      expect(rest).toContain('"verdict":"recovered"');
      expect(rest.match(/event: \w+/g)).toEqual(["event: verdict", "event: item", "event: end"]);
    });

    test("items from a pipe, HEAD, a held poll", async () => {
      const lines = ["-H", "content-type: application/x-ndjson", "--data-binary", '{"n":1}\n{"n":2}\n'];
      expect(await run(version, "/lab/sum", ...lines)).toStartWith('{"n":3}\n200');
      expect(await run(version, "/lab/double?input=%7B%22n%22%3A1%7D", "-I")).toMatch(/etag: "/i);
      const state = await run(
        version,
        "/lab/slow",
        ...asJson,
        "-H",
        "prefer: respond-async",
        "-d",
        `{"gate":"${version}"}`,
      );
      const { id } = JSON.parse(state.split("\n")[0]!) as { id: string };
      const held = run(version, `/calls/${id}`, "-H", "prefer: wait=20");
      await until(() => lab.metric("backtalk_held_polls") === 1);
      await lab.release(version);
      expect(await held).toContain('"result":{"n":42}');
    });

    test("a reader that is killed is noticed", async () => {
      const base = version === "1.1 plain" ? lab.url : `https://127.0.0.1:${secure.port}`;
      const flag = version === "2" ? "--http2" : "--http1.1";
      const child = Bun.spawn([curl!, "-sSkN", flag, "-H", "accept: text/event-stream", `${base}/topics/ticks`]);
      await until(() => lab.metric('backtalk_connections{transport="sse"}') === 1);
      child.kill();
      await until(() => lab.metric('backtalk_connections{transport="sse"}') === 0);
    });
  });
});
