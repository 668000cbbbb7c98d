import { expect, test } from "bun:test";
import { hasNetwork, tryOut } from "../../testing.ts";
import { hasTshark, tshark } from "../../testing-tshark.ts";
import { median } from "../../units.ts";
import { patternsOf } from "./experiment.ts";
import { FlowCapture } from "./measure.ts";
import { type Follow, WAYS, type Way } from "./ways.ts";

const RATES = [
  { perSecond: 5, events: 15 },
  { perSecond: 50, events: 100 },
];
const EVER = { from: 0, until: Number.POSITIVE_INFINITY };
const isSkipped = !hasNetwork("patterns");
const canRead = hasTshark("the counts of patterns beside those of tshark, and whether its captures open decrypted");

test.skipIf(isSkipped)(
  "each way costs what it is made of, and the capture says so",
  async () => {
    const { run, finding } = await tryOut(patternsOf({ rates: RATES, idleMs: 7_000 }));
    const { findings, captures = [] } = run.findings;
    // A busy machine refuses verdicts about time; what is counted holds on any.
    expect(findings.filter(({ verdict }) => verdict === "failed").map(({ name, why }) => `${name}: ${why}`)).toEqual(
      [],
    );
    const value = (name: string, key: string) => finding(name).values[key] as number;
    const ms = (name: string) => median(finding(name).values["ms"] as number[]);
    const bytes = (name: string) => value(name, "bytes");

    for (const { name } of findings) {
      const layers = ["link", "ip", "tcp", "framing", "payload"].map((key) => value(name, key));
      expect(layers.every((part) => part > 0)).toBe(true);
      expect(layers.reduce((a, b) => a + b, 0)).toBeCloseTo(bytes(name), 6);
    }
    for (const { name, seen } of captures) {
      const whole = new FlowCapture(seen, carrierOf(name), false).measure(EVER, 0);
      expect(whole.bytes).toBe(seen.reduce((sum, { size }) => sum + size, 0));
      expect(whole.packets).toBe(seen.length);
    }

    const pushes = ["server-sent events", "WebSocket", "gRPC stream", "publish/subscribe", "TCP frames"];
    expect(pushes.map((name) => value(name, "asks"))).toEqual([0, 0, 0, 0, 0]);
    expect(value("long polling", "asks")).toBeWithin(80, 121);
    expect(value("request/response", "asks")).toBe(7);
    expect(bytes("request/response")).toBeLessThan(bytes("server-sent events"));
    expect(bytes("server-sent events")).toBeLessThan(bytes("WebSocket"));
    expect(bytes("gRPC stream")).toBeLessThan(bytes("WebSocket"));
    expect(bytes("WebSocket")).toBeLessThan(bytes("long polling"));
    for (const name of pushes) expect(ms(name)).toBeLessThan(ms("short polling"));
    expect(ms("short polling")).toBeLessThan(ms("request/response"));

    expect(value("request/response", "idleBytes")).toBe(0);
    expect(value("short polling", "idleBytes")).toBeGreaterThan(10 * value("long polling", "idleBytes"));
    expect(value("server-sent events", "idlePackets")).toBeWithin(7, 17);
    expect(run.findings.plots?.map(({ series }) => series.length)).toEqual([8, 7]);

    if (!canRead) return;
    for (const name of ["short polling", "long polling", "server-sent events"]) {
      const capture = captures.find((each) => each.name === name)!;
      const requests = await tshark(capture, "http.request");
      expect(requests.length).toBe(new FlowCapture(capture.seen, "http1", false).measure(EVER, 0).asks);
      expect(await tshark(capture, "_ws.malformed")).toEqual([]);
    }
  },
  60_000,
);

test.skipIf(isSkipped)(
  "over TLS each record has its 22 bytes, and the rest is the same",
  async () => {
    const ways = WAYS.filter(({ follow }) => ["wait", "poll", "sse", "websocket", "grpc"].includes(follow));
    const { run, finding } = await tryOut(patternsOf({ ways, rates: RATES.slice(0, 1), idleMs: 7_000 }), {}, "tls");
    const failed = run.findings.findings.filter(({ verdict }) => verdict === "failed");
    expect(failed.map(({ name, why }) => `${name}: ${why}`)).toEqual([]);
    // One record an event.
    expect(finding("server-sent events").values["tls"]).toBe(22);
    expect(finding("gRPC stream").values["tls"]).toBe(22);
    expect(finding("server-sent events").values["framing"]).toBeWithin(40, 60);
    expect(finding("request/response").values["asks"]).toBe(7);
    expect(finding("server-sent events").values["opening"]).toBeGreaterThan(4_000);
    if (!canRead) return;
    const { captures = [] } = run.findings;
    const events = async (name: string, filter: string) =>
      (await tshark(captures.find((each) => each.name === name)!, filter)).length;
    expect(await events("request/response", 'http.request.uri == "/studio/develop"')).toBe(1);
    expect(await events("short polling", 'http.request.uri contains "/events?after="')).toBeGreaterThan(2);
    // A response that does not end is not shown as one.
    expect(await events("server-sent events", 'http.accept contains "text/event-stream"')).toBe(1);
    expect(await events("WebSocket", "websocket.opcode == 1")).toBeGreaterThanOrEqual(15);
    expect(await events("gRPC stream", 'http2.headers.content_type contains "grpc"')).toBeGreaterThanOrEqual(1);
  },
  60_000,
);

test.skipIf(isSkipped)(
  "a claim that is not so fails, and the capture says why",
  async () => {
    const forged = (claimed: Follow, done: Follow, more: Partial<Way> = {}): Way => {
      const way = WAYS.find(({ follow }) => follow === claimed)!;
      return { ...way, ...more, name: `${claimed} by ${done}`, follow: done };
    };
    const looksSo = { sign: "http/1.1" };
    const ways = [
      forged("sse", "poll"),
      forged("sse", "poll", looksSo),
      forged("sse", "long-poll", looksSo),
      forged("poll", "sse", looksSo),
      forged("long-poll", "sse", looksSo),
      forged("wait", "sse", looksSo),
      forged("websocket", "sse"),
      forged("grpc", "websocket"),
      forged("tcp", "websocket", { sign: "absent" }),
    ];
    const { run } = await tryOut(patternsOf({ ways, rates: RATES.slice(0, 1), idleMs: 4_000 }));
    const { findings } = run.findings;
    expect(findings.map(({ verdict }) => verdict)).toEqual(ways.map(() => "failed"));
    const why = findings.map((each) => each.why);
    expect(why[0]).toContain('the capture has no "content-type: text/event-stream"');
    expect(why[1]).toMatch(/the client asked [34] times for 15 events: this is no push/);
    expect(why[2]).toMatch(/the client asked 1\d times for 15 events: this is no push/);
    expect(why[3]).toContain("the client asked 0 times in");
    expect(why[4]).toMatch(/the client asked 0 times for \d+ answers/);
    // The last one is its end.
    expect(why[5]).toBe("14 events came before the job had ended");
    expect(why[6]).toContain('has no "upgrade: websocket"');
    expect(why[7]).toContain('has no "pri * http/2.0"');
    expect(why[8]).toContain('has no "absent"');
  },
  60_000,
);

function carrierOf(name: string) {
  return WAYS.find((way) => way.name === name)!.carrier;
}
