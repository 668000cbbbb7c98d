import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { captureFile } from "../../capture/file.ts";
import type { Finding } from "../../experiment.ts";
import { hasNetwork, type Tried, tryOut } from "../../testing.ts";
import { median } from "../../units.ts";
import { type Evidence, judge } from "./evidence.ts";
import { https } from "./experiment.ts";
import { expectation, VARIANTS, type Variant, WAYS } from "./ways.ts";

const isAvailable = hasNetwork("https");
const hasTshark = Bun.which("tshark") !== null;
if (!hasTshark) {
  if (process.env["CI"]) throw new Error("tshark is not installed");
  console.log("skipped: tshark is not installed");
}
const directory = mkdtempSync(join(tmpdir(), "backtalk-https-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** On the way always; in time too, unless the machine was so busy that there is no verdict. */
function expectCounts(tried: Tried, variant?: Variant): void {
  for (const way of WAYS) {
    const found = tried.finding(way.name);
    if (found.why.startsWith("no Retry in the capture")) continue;
    const theory = expectation(way, variant);
    expect(found, JSON.stringify(found)).toMatchObject({ expected: `${theory.first} / ${theory.again}` });
    expect(["ok", "refused"]).toContain(found.verdict);
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
    expect(Math.min(...zeroRtt.map(({ time }) => time))).toBeWithin(95, 120);
    expect(Math.min(...zeroRtt.map(({ timings }) => timings.ssl))).toBeLessThan(10);
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
    if (hasTshark) await expectDecrypted(tried);
  },
  120_000,
);

async function expectDecrypted({ run }: Tried): Promise<void> {
  for (const [name, filter] of [
    ["TCP + TLS 1.3", "http.response.code == 200"],
    ["TCP + TLS 1.2", "http.response.code == 200"],
    ["QUIC 0-RTT", "http3"],
  ]) {
    const file = join(directory, "capture.pcapng");
    writeFileSync(file, captureFile(run.findings.captures!.find((each) => each.name === name)!));
    const port = await tshark(file, "tcp.flags.syn == 1 && tcp.flags.ack == 0", "tcp.dstport");
    const decode =
      port === "" ? [] : ["-d", `tcp.port==${port.split("\n")[0]},tls`, "-o", `http.tls.port:${port.split("\n")[0]}`];
    expect(await tshark(file, filter!, "frame.number", decode), name).not.toBe("");
  }
}

async function tshark(file: string, filter: string, field: string, more: readonly string[] = []): Promise<string> {
  const { stdout } = Bun.spawn(["tshark", "-r", file, ...more, "-Y", filter, "-T", "fields", "-e", field], {
    stdout: "pipe",
    stderr: "ignore",
  });
  return (await new Response(stdout).text()).trim();
}

const SAYS: Readonly<Record<Variant, readonly (readonly [string, string])[]>> = {
  pq: [
    ["TCP Fast Open + TLS 1.3", "the rest waited for the SYN-ACK"],
    ["QUIC + HTTP/3", "in more than one datagram"],
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

for (const variant of Object.keys(VARIANTS) as Variant[]) {
  test.skipIf(!isAvailable)(
    `${variant}: the row changes, and says what happened`,
    async () => {
      const tried = await tryOut(https, { runs: 2 }, variant);
      expectCounts(tried, variant);
      for (const [name, text] of SAYS[variant]) expect(tried.finding(name).why).toContain(text);
    },
    60_000,
  );
}

test.skipIf(!isAvailable)(
  "on a link that loses, or is short, nothing is claimed",
  async () => {
    const { run } = await tryOut(https, { runs: 1, rttMs: 10, jitterMs: 1 });
    expect(run.findings.findings.map(({ verdict }) => verdict)).toEqual(WAYS.map(() => "refused"));
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
