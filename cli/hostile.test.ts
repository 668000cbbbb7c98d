/** The command line against a server that wants to do harm: to the terminal, to the shell, or to learn the credentials. */
import { afterAll, expect, test } from "bun:test";
import { Place } from "./testing.ts";

/** A title, a cleared screen, a CSI of one byte, text from right to left, and a command. */
const EVIL = "x'$(touch here);\u001b]0;t\u0007\u001b[2J\u009b31m\u202e\nbacktalk: all is well";
// biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none
const COMMANDS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/;

const place = new Place();
const stolen: string[] = [];
const thief = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch(request) {
    stolen.push(JSON.stringify([...request.headers]));
    return Response.json({});
  },
});
const verdict = { verdict: "gap", from: EVIL, to: EVIL, state: { text: EVIL } };
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch(request) {
    const { pathname } = new URL(request.url);
    const item = { cursor: EVIL, kind: "item", at: 1, data: { text: EVIL } };
    const ndjson = [verdict, item].map((each) => `${JSON.stringify(each)}\n`).join("");
    if (pathname === "/s/gone") return Response.redirect(`http://127.0.0.1:${thief.port}/`, 302);
    if (pathname === "/s/stays") return Response.redirect(`http://127.0.0.1:${thief.port}/`, 307);
    if (pathname === "/elsewhere/uploads") {
      const headers = { location: `http://127.0.0.1:${thief.port}/x`, "upload-offset": "0" };
      return new Response(null, { status: 201, headers });
    }
    if (pathname === "/uploads") return Response.redirect(`http://127.0.0.1:${thief.port}/`, 307);
    if (request.method === "POST" && pathname.startsWith("/topics/")) {
      return Response.json({ cursor: EVIL, duplicate: false }, { status: 201 });
    }
    if (pathname.startsWith("/topics/")) {
      return new Response(ndjson, { headers: { "content-type": "application/x-ndjson" } });
    }
    const problem = {
      title: "not_found",
      detail: EVIL,
      hint: EVIL,
      limit: EVIL,
      fields: [{ path: EVIL, message: EVIL }],
    };
    if (pathname === "/s/fault") {
      return Response.json(problem, { status: 404, headers: { "content-type": "application/problem+json" } });
    }
    return Response.json({ calls: [{ id: EVIL, method: EVIL, state: EVIL, attempt: EVIL }], next: EVIL });
  },
});
const url = `http://127.0.0.1:${server.port}`;

afterAll(async () => {
  await server.stop(true);
  await thief.stop(true);
  place.remove();
});

for (const args of [
  ["calls", url],
  ["publish", url, "t", "1"],
  ["call", url, "s.fault"],
  ["call", url, "s.fault", "--plain", "--trace"],
]) {
  test(`${args.join(" ").replace(url, "URL")}: what it says is no command of the terminal`, async () => {
    const { out, err } = await place.run(args);
    expect(out + err).toContain("\\u001b]0;t");
    expect(out + err).not.toMatch(COMMANDS);
  });
}

test("a gap is told on one line, and the command to come back is one command", async () => {
  const child = place.start(["subscribe", url, "t"]);
  const reader = child.stderr.getReader();
  const decoder = new TextDecoder();
  let err = "";
  for (;;) {
    // It comes back again and again, and goes on at the place that it was told.
    const { done, value } = await reader.read();
    if (done) break;
    err += decoder.decode(value, { stream: true });
    if (err.includes("trying again")) child.kill("SIGINT");
  }
  expect(err).not.toMatch(COMMANDS);
  expect(err).not.toMatch(/^backtalk: all is well/m);
  const [, command] = /^ {2}(backtalk subscribe .*)$/m.exec(err)!;
  const { stdout } = Bun.spawnSync(["sh", "-c", `backtalk() { printf '%s\\n' "$@"; }; ${command}`], {
    cwd: place.directory,
  });
  const words = stdout.toString().trimEnd().split("\n");
  expect(words.slice(0, 4)).toEqual(["subscribe", url, "t", "--after"]);
  expect(words).toHaveLength(5);
  expect(await Bun.file(`${place.directory}/here`).exists()).toBe(false);
});

test.each(["s.gone", "s.stays"])(
  "%s: a redirect to somewhere else is not followed: keys go nowhere else",
  async (method) => {
    const args = ["call", url, method, '{"secret":1}', "--plain", "--token", "TOKEN", "--api-key", "KEY", "--trace"];
    const { code, err } = await place.run(args);
    expect(stolen).toEqual([]);
    expect(code).not.toBe(0);
    expect(err).toContain("redirect");
    expect(err).not.toMatch(/TOKEN|KEY/);
  },
);

test.each(["", "/elsewhere"])("neither do those of uploads, nor the file (%s)", async (where) => {
  const path = await place.file("some.txt", "some text");
  const { code } = await place.run(["call", url + where, "s.m", "--file", `f=@${path}`, "--api-key", "KEY"]);
  expect(stolen).toEqual([]);
  expect(code).not.toBe(0);
});
