import { expect, test } from "bun:test";
import { readHandshake } from "../../../src/wire/packet/tls.ts";
import type { Story } from "../../capture/story.ts";
import { hasNetwork, tryOut } from "../../testing.ts";
import { parseDrop } from "../../wire/index.ts";
import { CASES, conclude, replay } from "./experiment.ts";

test.skipIf(!hasNetwork("replay"))(
  "a flight that is sent again runs the handler again, unless the server protects itself",
  async () => {
    const { run, finding } = await tryOut(replay, { runs: 2 });
    expect(run.findings.findings.map(({ name, verdict, why }) => ({ name, verdict, why }))).toEqual(
      CASES.map(({ name }) => ({ name, verdict: "ok" as const, why: expect.any(String) })),
    );
    const ran = (name: string) => finding(name).values["ran"];
    expect(ran("TCP, GET")).toBe(3);
    expect(ran("TCP, POST")).toBe(3);
    expect(ran("TCP, POST, 425 Too Early")).toBe(1);
    expect(ran("TCP, GET, 425 Too Early")).toBe(3);
    expect(ran("TCP, POST, single-use tickets")).toBe(1);
    expect(ran("Fast Open, POST")).toBe(3);
    expect(ran("QUIC, POST")).toBe(2);
    expect(ran("QUIC, POST, 425 Too Early")).toBe(1);
    expect(finding("TCP, POST, single-use tickets").values["accepted"]).toBe(1);
  },
  60_000,
);

test.skipIf(!hasNetwork("replay"))(
  "a case that gets no connection says so in its line, and the others go on",
  async () => {
    const drops = [parseDrop("server udp 1-100000", ["client", "server"])];
    const { run, finding } = await tryOut(replay, { runs: 1, drops });
    expect(run.findings.findings.map(({ name }) => name)).toEqual(CASES.map(({ name }) => name));
    expect(finding("QUIC, GET")).toMatchObject({ verdict: "refused", why: "no connection within 5 s" });
    expect(finding("TCP, GET").values["ran"]).toBe(2);
  },
  60_000,
);

/** Early data, and EncryptedExtensions that have early_data (42) or nothing. */
function flight(isAccepted: boolean): Story {
  const extensions = isAccepted ? [8, 0, 0, 6, 0, 4, 0, 42, 0, 0] : [8, 0, 0, 2, 0, 0];
  const [message] = readHandshake(Uint8Array.from(extensions));
  return {
    isQuic: false,
    packets: [],
    events: [
      { at: 0, isClient: true, what: { kind: "data", bytes: 9, isEarly: true } },
      { at: 1, isClient: false, what: { kind: "handshake", message: message! } },
    ],
  };
}

test("a server's word that the capture does not bear out is a failure", () => {
  const each = CASES.find(({ name }) => name === "TCP, POST, single-use tickets")!;
  const handled = { method: "POST", path: "/", isEarly: true };
  const tried = { handled: [handled], status: 200, seen: [], keyLog: [] };
  expect(conclude(each, 1, { ...tried, stories: [flight(true), flight(false)] }).verdict).toBe("ok");
  const lied = conclude(each, 1, { ...tried, stories: [flight(true), flight(true)] });
  expect(lied).toMatchObject({ verdict: "failed", why: expect.stringContaining("not what the capture shows") });
  expect(conclude(each, 1, { ...tried, stories: [flight(true)] }).verdict).toBe("failed");
  expect(
    conclude(each, 1, { ...tried, handled: [handled, handled], stories: [flight(true), flight(false)] }).verdict,
  ).toBe("failed");
});

test("425 answers what came as early data; a flight that the server did not take as such has nothing to answer", () => {
  const each = CASES.find(({ name }) => name === "Fast Open, POST, 425 Too Early")!;
  const handled = { method: "POST", path: "/", isEarly: false };
  const tried = {
    handled: [handled],
    status: 200,
    seen: [],
    keyLog: [],
    stories: [true, true, true, false].map(flight),
  };
  expect(conclude(each, 3, tried)).toMatchObject({
    verdict: "ok",
    values: { sent: 4, accepted: 3, ran: 1 },
    why: expect.stringContaining(
      "4 flights in the capture, 3 accepted as 0-RTT; 425 to these; the others were not taken",
    ),
    counted: { verdict: "ok", why: "sent again 3 times, the handler ran once, 0 of them on early data" },
  });
  // It ran on early data after all, or once more than the client asked for.
  const ran = [{ ...handled, isEarly: true }];
  expect(conclude(each, 3, { ...tried, handled: ran }).verdict).toBe("failed");
  expect(conclude(each, 3, { ...tried, handled: [handled, handled] })).toMatchObject({
    verdict: "failed",
    counted: { verdict: "failed" },
  });
});
