import { describe, expect, test } from "bun:test";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { portsOf } from "../../capture/story.ts";
import type { Capture, Finding } from "../../experiment.ts";
import { madeCapture } from "../../report/testing.ts";
import { hasNetwork, type Tried, tryOut } from "../../testing.ts";
import { hasTshark, tshark } from "../../testing-tshark.ts";
import { median } from "../../units.ts";
import { parseDrop } from "../../wire/index.ts";
import { makeChain } from "./chain.ts";
import type { Visited } from "./client.ts";
import { type Evidence, judge } from "./evidence.ts";
import { https } from "./experiment.ts";
import { finding as lineOf } from "./finding.ts";
import { type Sample, sampleOf } from "./sample.ts";
import { expectation, VARIANTS, type Variant, WAYS } from "./ways.ts";

const isAvailable = hasNetwork("https");
const canDecrypt = hasTshark("whether captures of https open decrypted");

/** On the way always; in time too, unless the machine was so busy that there is no verdict. */
function expectCounts(tried: Tried, variant?: Variant): void {
  for (const way of WAYS) {
    const found = tried.finding(way.name);
    if (found.why.startsWith("no Retry in the capture")) continue;
    const theory = expectation(way, variant);
    expect(found, JSON.stringify(found)).toMatchObject({ expected: `${theory.first} / ${theory.again}` });
    expect(["ok", "refused"]).toContain(found.verdict);
    // A link that is far too slow makes both sides send again what was only late.
    if (found.why.startsWith("the link has")) continue;
    for (const which of ["first", "again"] as const) {
      expect(Math.abs(median(samples(found, `${which}OnWay`)) - theory[which])).toBeLessThan(0.15);
      if (found.verdict !== "ok") console.log(`busy: ${found.name}: ${found.why}`);
      else expect(Math.abs(median(samples(found, which)) - theory[which])).toBeLessThanOrEqual(0.15);
    }
  }
}

const samples = (found: Finding, key: string) => found.values[key] as readonly number[];

test.skipIf(!isAvailable)(
  "each way takes the round trips of theory, and the capture says why",
  async () => {
    const tried = await tryOut(https, { runs: 5 });
    // The phases of HAR are those of the capture: an entry for each visit, the response within its time.
    const har = tried.run.findings.har as { time: number; comment: string; timings: { ssl: number } }[];
    expect(har.length).toBeGreaterThanOrEqual(5 * 15);
    const zeroRtt = har.filter(({ comment }) => comment === "TCP Fast Open + TLS 1.3 0-RTT, again");
    if (!tried.isTooBusy) {
      expect(Math.min(...zeroRtt.map(({ time }) => time))).toBeWithin(95, 120);
      expect(Math.min(...zeroRtt.map(({ timings }) => timings.ssl))).toBeLessThan(10);
    }
    expectCounts(tried);
    const why = (name: string) => tried.finding(name).why;
    expect(why("TCP + TLS 1.2")).toMatch(/(^|verdict; )ticket used, no Certificate$/);
    expect(why("a connection that is open")).toMatch(
      /(^|verdict; )second request on the same connection: no handshake$/,
    );
    expect(why("TCP Fast Open + TLS 1.3")).toMatch(/cookie in SYN-ACK; ClientHello in the SYN \(\d+ bytes\)/);
    for (const name of ["TCP + TLS 1.3 0-RTT", "QUIC 0-RTT", "TCP Fast Open + TLS 1.3 0-RTT"]) {
      expect(why(name)).toContain("0-RTT accepted");
    }
    if (canDecrypt) await expectDecrypted(tried);
  },
  120_000,
);

/** All of them at once: each way has a port of its own, and each is seen by its client. */
async function expectDecrypted({ run }: Tried): Promise<void> {
  const captures = run.findings.captures!;
  const all: Capture = {
    name: "all",
    hosts: captures[0]!.hosts,
    seen: captures.flatMap(({ seen }) => seen),
    keyLog: captures.map(({ keyLog }) => keyLog).join(""),
  };
  const ports = async (filter: string, field: string) =>
    (await tshark(all, filter, field)).map((text) => text.split(","));
  const [http3, asked, answered] = await Promise.all([
    ports("http3", "udp.port"),
    ports("http.request.method == GET", "tcp.port"),
    ports("http.response.code == 200", "tcp.port"),
  ]);
  for (const { name, seen } of captures) {
    const { isQuic } = WAYS.find((way) => way.name === name)!;
    const port = String(portsOf(seen[0]!)!.destination);
    // Each request and each response, with nothing set: both visits, or both on the open connection.
    for (const found of isQuic ? [http3] : [asked, answered]) {
      expect(found.filter((each) => each.includes(port)).length, name).toBeGreaterThanOrEqual(2);
    }
  }
}

const SAYS: Readonly<Record<Variant, readonly (readonly [string, string])[]>> = {
  pq: [
    ["TCP Fast Open + TLS 1.3", "the rest waited for the SYN-ACK"],
    ["QUIC + HTTP/3", "in more than one datagram of the first flight: key shares X25519MLKEM768 (1,216 bytes)"],
    ["TCP + TLS 1.3", "key shares X25519 (32 bytes), and 1,220 bytes that fill it in place of one for X25519MLKEM768"],
  ],
  chain: [["QUIC + HTTP/3", "the server stopped after"]],
  hrr: [
    ["TCP + TLS 1.3", "HelloRetryRequest: a second ClientHello"],
    ["TCP + TLS 1.3 0-RTT", "0-RTT refused: HelloRetryRequest"],
    ["QUIC 0-RTT", "0-RTT refused: HelloRetryRequest"],
  ],
  // The client says of each that its early data was accepted.
  "ticket-only": [
    [
      "TCP + TLS 1.3 0-RTT",
      "0-RTT refused: EncryptedExtensions without early_data, the request was sent again; the client claims otherwise",
    ],
    [
      "QUIC 0-RTT",
      "0-RTT refused: no early data on the wire, the ticket does not allow it; the client claims otherwise",
    ],
  ],
  retry: [["QUIC + HTTP/3", "Retry"]],
};

let begun: Promise<Tried> | undefined;

/** For ten seconds it waits for nothing: begun early, what is judged goes on beside it. */
function withoutUdp(): Promise<Tried> {
  begun ??= tryOut(https, { runs: 1, drops: [parseDrop("client udp 1-10000", ["client", "server"])] });
  return begun;
}

test.skipIf(!isAvailable)(
  "on a link that loses, or is short, nothing is claimed",
  async () => {
    withoutUdp().catch(() => {});
    const { run } = await tryOut(https, { runs: 1, rttMs: 10, jitterMs: 1 });
    expect(run.findings.findings.map(({ verdict }) => verdict)).toEqual(WAYS.map(() => "refused"));
  },
  60_000,
);

for (const variant of Object.keys(VARIANTS) as Variant[]) {
  test.skipIf(!isAvailable)(
    `${variant}: the row changes, and says what happened`,
    async () => {
      const tried = await tryOut(https, { runs: 1 }, variant);
      expectCounts(tried, variant);
      for (const [name, text] of SAYS[variant]) expect(tried.finding(name).why).toContain(text);
    },
    60_000,
  );
}

test.skipIf(!isAvailable)(
  "a way that gets no connection says so in its line, and the others go on",
  async () => {
    const { run, finding } = await withoutUdp();
    expect(run.findings.findings.map(({ name }) => name)).toEqual(WAYS.map(({ name }) => name));
    for (const { name, isQuic } of WAYS) {
      const { verdict, why, values } = finding(name);
      expect(verdict).toBe("refused");
      if (isQuic) expect(why).toContain("no connection within 10 s in 1 of 1 runs");
      else expect(why).not.toContain("no connection");
      expect(values["first"]).toHaveLength(isQuic ? 0 : 1);
    }
  },
  60_000,
);

const EVIDENCE: Evidence = {
  startNs: 0,
  connectNs: 100e6,
  requestNs: 200e6,
  ns: 2e8,
  nextNs: undefined,
  lateNs: 0,
  nextLateNs: 0,
  up: 1,
  down: 1,
  packets: 2,
  asksCookie: false,
  cookieGiven: undefined,
  cookieUsed: undefined,
  synData: 0,
  helloBytes: 500,
  keyShares: ["X25519 (32 bytes)"],
  fillingBytes: 0,
  isResumed: true,
  certificateBytes: 0,
  isHelloRetried: false,
  isRetried: false,
  earlySent: true,
  earlyAccepted: true,
  isAnsweredInFirstFlight: true,
  firstFlight: { client: 0, server: 0 },
};

test("a forged claim is refused: the capture decides, not the words", () => {
  const way = { isQuic: false, early: true, isReused: false };
  const honest = { claimsEarly: true, handledEarly: true };
  expect(judge(way, EVIDENCE, EVIDENCE, honest)).toMatchObject({ isContradicted: false });
  const refused = { ...EVIDENCE, earlyAccepted: false };
  for (const words of [
    honest,
    { claimsEarly: true, handledEarly: false },
    { claimsEarly: false, handledEarly: true },
  ]) {
    const { isContradicted, why } = judge(way, EVIDENCE, refused, words);
    expect(isContradicted).toBe(true);
    expect(why).toContain("0-RTT refused: EncryptedExtensions without early_data");
  }
  const never = { ...refused, earlySent: false };
  expect(judge(way, EVIDENCE, never, honest).why).toContain("no early data on the wire");
  expect(judge(way, EVIDENCE, { ...EVIDENCE, earlySent: false }, honest).isContradicted).toBe(true);
});

test.skipIf(Bun.which("openssl") === null)("the chain of 6 KB is one: each certificate is signed by the next", () => {
  const { certificates, key } = makeChain();
  const chain = certificates.map((pem) => new X509Certificate(pem));
  expect(chain.length).toBe(4);
  for (const [n, each] of chain.entries()) {
    const issuer = chain[n + 1] ?? each;
    expect(each.checkIssued(issuer) && each.verify(issuer.publicKey)).toBe(true);
    expect(each.ca).toBe(n > 0);
  }
  expect(chain[0]!.checkPrivateKey(createPrivateKey(key))).toBe(true);
  expect(chain[0]!.checkHost("localhost")).toBe("localhost");
  expect(chain.reduce((sum, { raw }) => sum + raw.length, 0)).toBeWithin(5_500, 6_500);
});

test("packets of a visit are those of the server's port, not of a client's port of the same number", () => {
  const [way] = WAYS;
  const visited: Visited = { keyLog: [], status: 200, triedEarly: false, claimsEarly: false };
  // From the client's port 40,000 to the server's 80.
  const { seen } = madeCapture(2);
  const at = (port: number) =>
    sampleOf({ way: way!, client: 0, port, path: "/", first: visited, again: undefined }, seen, [], 50e6).seen.length;
  expect([at(80), at(40_000)]).toEqual([seen.length, 0]);
});

describe("visits that came to nothing", () => {
  const way = WAYS.find(({ name }) => name === "TCP + TLS 1.3")!;
  const circumstances = { rttMs: 100, askedMs: 100, variant: undefined, refusal: undefined };
  const visited: Visited = { keyLog: [], status: 200, triedEarly: false, claimsEarly: false };
  const visits = { way, client: 0, port: 1, path: "/", first: visited, again: visited };
  const evidence = { ...EVIDENCE, ns: 3e8, earlySent: false, earlyAccepted: false };
  const good: Sample = { visits, first: evidence, again: evidence, handledEarly: false, seen: [] };
  const failed = (why: string, isTime: boolean): Visited => ({ ...visited, failed: { why, isTime } });
  const nothing = (why: string, isTime: boolean): Sample => ({
    ...good,
    first: undefined,
    again: undefined,
    visits: { ...visits, first: failed(why, isTime), again: undefined },
  });

  test("are counted, and refuse the line of a link that was to deliver", () => {
    expect(lineOf(way, [good, good], circumstances)).toMatchObject({ verdict: "ok", values: { first: [3, 3] } });
    const late = nothing("no connection within 10 s", true);
    const half: Sample = {
      ...good,
      again: undefined,
      visits: { ...visits, again: failed("no response within 10 s", true) },
    };
    expect(lineOf(way, [late, good, late, half], circumstances)).toMatchObject({
      verdict: "refused",
      values: { first: [3, 3], again: [3] },
      why: "no connection within 10 s in 2 of 4 runs; again: no response within 10 s in 1 of 4 runs; ticket used, no Certificate",
    });
    expect(lineOf(way, [late], circumstances)).toMatchObject({
      verdict: "refused",
      values: { first: [], bytes: "- + - / - + -" },
      why: "no connection within 10 s in 1 of 1 runs",
    });
  });

  test("are told of where nothing of them is in the capture", () => {
    const unseen: Sample = { ...good, first: undefined, again: undefined };
    expect(lineOf(way, [good, unseen, good], circumstances)).toMatchObject({
      verdict: "failed",
      why: "no response in the capture",
    });
  });

  test("fail it where they were not a matter of time, and theory holds for the link", () => {
    const broken = nothing("no handshake (TLS failed: unknown ca)", false);
    expect(lineOf(way, [good, broken], circumstances)).toMatchObject({
      verdict: "failed",
      why: expect.stringMatching(/^no handshake \(TLS failed: unknown ca\) in 1 of 2 runs; /),
    });
    expect(lineOf(way, [good, broken], { ...circumstances, refusal: "it loses" }).verdict).toBe("refused");
  });
});
