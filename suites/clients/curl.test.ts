/** curl, as a person uses it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Studio, tool } from "./setup.ts";

const curl = tool("curl");
const studio = new Studio();
beforeAll(async () => void (await studio.start()), 30_000);
afterAll(() => studio.stop());

async function run(...args: readonly string[]): Promise<{ text: string; head: string; body: string; code: number }> {
  const child = Bun.spawn([curl!, "-sS", "--max-time", "20", ...args], { stdout: "pipe", stderr: "pipe" });
  const text = await new Response(child.stdout).text();
  const at = text.indexOf("\r\n\r\n");
  const isHeaded = args.includes("-i");
  return {
    text,
    head: isHeaded ? text.slice(0, at).toLowerCase() : "",
    body: isHeaded ? text.slice(at + 4) : text,
    code: await child.exited,
  };
}

const json = ["-H", "content-type: application/json"];

describe.skipIf(curl === undefined)("curl", () => {
  for (const version of ["--http1.1", "--http2", "--http2-prior-knowledge"]) {
    const base = () => (version === "--http2" ? `https://127.0.0.1:${studio.tlsPort}` : studio.url);
    const call = (...args: readonly string[]) => run(version, "-k", ...args);

    test(`${version}: a call, by POST and GET`, async () => {
      const posted = await call("-i", ...json, "-d", '{"n":97}', `${base()}/studio/isPrime`);
      expect(posted.head).toStartWith(version === "--http1.1" ? "http/1.1 200" : "http/2 200");
      expect(JSON.parse(posted.body)).toEqual({ prime: true });
      const got = await call("-i", "-G", "--data-urlencode", 'input={"n":98}', `${base()}/studio/isPrime`);
      expect(JSON.parse(got.body)).toEqual({ prime: false });
      const etag = /etag: (\S+)/.exec(got.head)![1]!;
      const target = `${base()}/studio/isPrime?input=%7B%22n%22%3A98%7D`;
      expect((await call("-i", "-H", `if-none-match: ${etag}`, target)).head).toContain(" 304");
    }, 60_000);

    test(`${version}: a fault is problem details`, async () => {
      const { head, body } = await call("-i", ...json, "-d", '{"n":"x"}', `${base()}/studio/isPrime`);
      expect(head).toContain(" 400");
      expect(head).toContain("content-type: application/problem+json");
      expect(JSON.parse(body)).toMatchObject({
        type: "urn:backtalk:fault:invalid_argument",
        title: "invalid_argument",
        status: 400,
        retryable: false,
        fields: [{ path: "n" }],
      });
    }, 60_000);

    test(`${version}: a handle, its state, and its events from a cursor`, async () => {
      const countdown = ["-d", '{"from":3,"intervalMs":1}', `${base()}/studio/countdown`];
      const started = await call("-i", ...json, "-H", "prefer: respond-async", ...countdown);
      expect(started.head).toContain(" 202");
      expect(started.head).toContain("preference-applied: respond-async");
      const location = /location: (\S+)/.exec(started.head)![1]!;
      const held = await call("-H", "prefer: wait=10", `${base()}${location}`);
      expect(JSON.parse(held.body)).toMatchObject({ state: "done", method: "studio/countdown" });
      const stream = await call("-N", "-H", "accept: text/event-stream", `${base()}${location}/events`);
      expect(stream.body).toContain("retry: ");
      const ids = [...stream.body.matchAll(/^id: (\S+)\nevent: item$/gm)].map(([, id]) => id!);
      expect(ids).toHaveLength(4);
      const again = await call(
        "-N",
        "-H",
        "accept: text/event-stream",
        "-H",
        `last-event-id: ${ids[1]}`,
        `${base()}${location}/events`,
      );
      expect(again.body).toContain('"recovered"');
      expect([...again.body.matchAll(/data: \{"n":(\d)\}/g)].map(([, n]) => n)).toEqual(["1", "0"]);
      const page = JSON.parse((await call(`${base()}${location}/events?after=${ids[2]}`)).body);
      expect(page).toMatchObject({ verdict: { verdict: "recovered" }, ended: true, more: false });
    }, 60_000);

    test(`${version}: a stream as SSE and as NDJSON, and the same key twice`, async () => {
      const countdown = ["-d", '{"from":2,"intervalMs":1}', `${base()}/studio/countdown`];
      const sse = await call("-N", ...json, "-H", "accept: text/event-stream", ...countdown);
      expect([...sse.body.matchAll(/data: \{"n":(\d)\}/g)].map(([, n]) => n)).toEqual(["2", "1", "0"]);
      const lines = (await call("-N", ...json, "-H", "accept: application/x-ndjson", ...countdown)).body
        .trim()
        .split("\n");
      expect(lines.map((line) => JSON.parse(line) as { kind?: string }).map(({ kind }) => kind)).toEqual([
        undefined,
        "open",
        "item",
        "item",
        "item",
        "end",
      ]);
      const keyed = () =>
        call("-i", ...json, "-H", `idempotency-key: "curl${version}"`, "-d", '{"n":7}', `${base()}/studio/isPrime`);
      expect((await keyed()).head).not.toContain("idempotency-replayed");
      expect((await keyed()).head).toContain("idempotency-replayed: true");
      const other = await call(
        "-i",
        ...json,
        "-H",
        `idempotency-key: curl${version}`,
        "-d",
        '{"n":8}',
        `${base()}/studio/isPrime`,
      );
      expect(other.head).toContain(" 422");
    }, 60_000);
  }

  test("an upload of items, a line each", async () => {
    const lines = ["a", "b"].map((text) => JSON.stringify({ chunk: Buffer.from(text).toString("base64") })).join("\n");
    const { body } = await run(
      "-H",
      "content-type: application/x-ndjson",
      "--data-binary",
      lines,
      `${studio.url}/studio/digest`,
    );
    expect(JSON.parse(body)).toEqual({ sha256: new Bun.CryptoHasher("sha256").update("ab").digest("hex"), bytes: 2 });
  }, 60_000);

  test("publish and read a topic", async () => {
    const event = { user: "ann", at: 1 };
    const published = await run("-i", ...json, "-d", JSON.stringify(event), `${studio.url}/topics/logins`);
    expect(published.head).toContain(" 201");
    const page = JSON.parse((await run(`${studio.url}/topics/logins?after=start`)).body) as {
      events: { data: unknown }[];
    };
    expect(page.events.map(({ data }) => data)).toEqual([event]);
  }, 60_000);
});
