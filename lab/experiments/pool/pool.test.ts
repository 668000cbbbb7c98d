import { expect, test } from "bun:test";
import { chromiumPath } from "../../browser.ts";
import { hasNetwork, tryOut } from "../../testing.ts";
import { pool } from "./experiment.ts";

const browser = chromiumPath();
if (browser === undefined) {
  if (process.env["CI"]) throw new Error("chromium is not installed");
  console.log("skipped: chromium is not installed");
}

test.skipIf(browser === undefined || !hasNetwork("pool"))(
  "six held requests stop HTTP/1.1 in a browser, and neither HTTP/2 nor HTTP/3",
  async () => {
    const { run, finding } = await tryOut(pool);
    expect(run.findings.findings.map(({ name, verdict, why }) => ({ name, verdict, why }))).toEqual([
      { name: "HTTP/1.1", verdict: "ok", why: expect.stringContaining("6 TCP connections and 0 of QUIC") },
      { name: "HTTP/2", verdict: "ok", why: expect.stringContaining("1 TCP connection and 0 of QUIC") },
      { name: "HTTP/3", verdict: "ok", why: expect.stringContaining("0 TCP connections and 1 of QUIC") },
    ]);
    expect(finding("HTTP/1.1").values["plain"] as number).toBeGreaterThan(1_000);
  },
  60_000,
);
