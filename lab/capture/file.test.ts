import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hasNetwork } from "../testing.ts";
import { wire } from "../wire/index.ts";
import { captureFile } from "./file.ts";

const PEER = new URL("../wire/testing-peer.ts", import.meta.url);
const hasTshark = Bun.which("tshark") !== null;
if (!hasTshark) {
  if (process.env["CI"]) throw new Error("tshark is not installed");
  console.log("skipped: tshark is not installed");
}

const directory = mkdtempSync(join(tmpdir(), "backtalk-capture-"));
afterAll(() => rmSync(directory, { recursive: true }));

test.skipIf(!hasTshark || !hasNetwork("captures"))(
  "a capture is read by tshark: whole packets, right checksums, drops with their reason, and the delay of the link",
  async () => {
    await using net = await wire({
      hosts: { client: { up: { delayMs: 10 }, down: { delayMs: 10 } }, server: {} },
      drops: [{ host: "client", of: "data", first: 2, last: 2 }],
    });
    const [client, server] = [net.hosts["client"]!, net.hosts["server"]!];
    const [asker, answerer] = await Promise.all([client.start(PEER), server.start(PEER)]);
    const port = await answerer.call<number>("serve", server.address);
    await asker.call("echo", server.address, port, "x".repeat(8_000));
    const file = join(directory, "capture.pcapng");
    writeFileSync(file, captureFile({ name: "echo", hosts: [client, server], seen: await net.capture() }));
    const rows = await tshark(
      file,
      ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"],
      ["tcp.checksum.status", "ip.checksum.status", "frame.comment", "tcp.analysis.initial_rtt", "_ws.malformed"],
    );
    expect(rows.length).toBeGreaterThan(10);
    expect(rows.every(([tcp, ip, , , malformed]) => tcp === "1" && ip === "1" && malformed === "")).toBe(true);
    expect(rows.filter(([, , comment]) => comment !== "").map(([, , comment]) => comment)).toEqual([
      "dropped by a rule (from host 0)",
    ]);
    const rtt = Number(rows.find(([, , , rtt]) => rtt !== "")?.[3]);
    // No less than the link; a busy machine adds to it.
    expect(rtt).toBeWithin(0.02, 1);
  },
  60_000,
);

async function tshark(file: string, options: readonly string[], fields: readonly string[]): Promise<string[][]> {
  const args = ["-r", file, ...options, "-T", "fields", ...fields.flatMap((field) => ["-e", field])];
  const child = Bun.spawn(["tshark", ...args], { stdout: "pipe", stderr: "ignore" });
  const text = await new Response(child.stdout).text();
  expect(await child.exited).toBe(0);
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("\t"));
}
