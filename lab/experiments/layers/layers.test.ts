import { beforeAll, describe, expect, test } from "bun:test";
import { readCertificate } from "../../../src/wire/packet/tls-hello.ts";
import type { Capture, Finding } from "../../experiment.ts";
import { hasNetwork, type Tried, tryOut } from "../../testing.ts";
import type { Seen } from "../../wire/index.ts";
import { CASES, type CaptureName } from "./cases.ts";
import { findingsOf, layers } from "./experiment.ts";
import { tell } from "./told.ts";

const missing = ["curl", "openssl"].filter((program) => Bun.which(program) === null);
if (missing.length > 0) {
  if (process.env["CI"]) throw new Error(`${missing.join(" and ")} must be installed`);
  console.log(`skipped: layers: ${missing.join(" and ")} is not installed`);
}

describe.skipIf(!hasNetwork("layers") || missing.length > 0)("layers", () => {
  let tried: Tried;
  let captures: ReadonlyMap<CaptureName, Capture>;
  let certificate: Uint8Array;

  beforeAll(async () => {
    tried = await tryOut(layers);
    captures = new Map(tried.run.findings.captures!.map((each) => [each.name as CaptureName, each]));
    const { tls } = tell(captures.get("tls 1.2")!).conversations[0]!;
    certificate = readCertificate(tls!.messages.server[1]!.body)![0]!;
  }, 60_000);

  /** The line, when a capture is another one. */
  const judged = (line: string, name: CaptureName, change: (capture: Capture) => Capture): Finding => {
    const changed = new Map(captures).set(name, change(captures.get(name)!));
    return findingsOf(changed, certificate).find((each) => each.name === line)!;
  };
  const without = (isGone: (seen: Seen, index: number, all: readonly Seen[]) => boolean) => (capture: Capture) => {
    const sorted = capture.seen.toSorted((a, b) => a.at - b.at);
    return { ...capture, seen: sorted.filter((seen, index) => !isGone(seen, index, sorted)) };
  };
  const flagsOf = ({ bytes }: Seen) => bytes[14 + 20 + 13]!;
  const [FIN, SYN] = [0x01, 0x02];
  /** Changes bytes after a text that is in them. */
  const after = (text: string, change: (bytes: Uint8Array, at: number) => void) => (capture: Capture) => ({
    ...capture,
    seen: capture.seen.map((seen) => {
      const at = Buffer.from(seen.bytes).indexOf(text);
      if (at < 0) return seen;
      const bytes = new Uint8Array(seen.bytes);
      change(bytes, at + text.length);
      return { ...seen, bytes };
    }),
  });

  test("every line is as expected", () => {
    expect(tried.run.findings.findings.filter(({ verdict }) => verdict !== "ok" && verdict !== "none")).toEqual([]);
    expect(CASES.map(({ name }) => tried.finding(name).verdict)).toEqual(CASES.map(() => "ok"));
  });

  test("each packet of the POST is there with its layers, which add up", () => {
    const packets = tried.run.findings.findings.filter(({ verdict }) => verdict === "none");
    expect(packets.length).toBeGreaterThan(10);
    for (const { values } of packets) {
      const sum = ["link", "network", "transport", "tls", "application"].reduce(
        (all, key) => all + Number(values[key]),
        0,
      );
      expect(sum).toBe(Number(values["bytes"]));
    }
    const labels = packets.map(({ why }) => why).join("\n");
    for (const text of [
      "SYN",
      "ClientHello SNI=server ALPN=http/1.1",
      "Certificate",
      "POST /notes",
      "HTTP/1.1 200 OK",
      "FIN",
    ]) {
      expect(labels).toContain(text);
    }
    expect(packets.every(({ explain }) => explain?.includes("OSI 3, TCP/IP internet"))).toBe(true);
  });

  test("the second request of HTTP/2 is told with its bytes, and what is lost with its number", () => {
    expect(tried.finding("HTTP/2: HPACK").why).toMatch(
      /\d+ bytes as text, \d+ in the first request, \d+ in the second/,
    );
    expect(tried.finding("TCP: lost segment").why).toContain("segment 2,897 was lost");
    expect(tried.finding("TCP: cumulative ACK").why).toMatch(/3 ACKs were lost and nothing sent again: one ACK/);
  });

  describe("a claim that the capture does not show fails", () => {
    test("TCP", () => {
      const fails = (line: string, name: CaptureName, change: (capture: Capture) => Capture) => {
        expect([line, judged(line, name, change).verdict]).toEqual([line, "failed"]);
      };
      fails(
        "TCP: opening",
        "tcp",
        without((seen) => seen.from === 1 && (flagsOf(seen) & SYN) !== 0),
      );
      fails(
        "TCP: data",
        "tcp",
        without((seen, index) => seen.from === 0 && seen.bytes.length > 1_000 && index < 8),
      );
      fails("TCP: cumulative ACK", "tcp, lost ACKs", () => captures.get("tcp")!);
      fails("TCP: lost segment", "tcp, lost segment", () => captures.get("tcp")!);
      const lost = captures.get("tcp, lost segment")!.seen.find(({ drop }) => drop !== undefined)!;
      const number = Buffer.from(lost.bytes).readUInt32BE(14 + 20 + 4);
      fails(
        "TCP: lost segment",
        "tcp, lost segment",
        without((seen) => {
          return (
            seen.drop === undefined && seen.from === 0 && Buffer.from(seen.bytes).readUInt32BE(14 + 20 + 4) === number
          );
        }),
      );
      const { seen } = captures.get("tcp")!;
      const end = Math.min(
        ...seen.filter((each) => each.from === 0 && (flagsOf(each) & FIN) !== 0).map(({ at }) => at),
      );
      // The client's FIN acknowledged by the server's FIN alone: three ways.
      fails(
        "TCP: four-way close",
        "tcp",
        without((each) => each.from === 1 && each.at > end && (flagsOf(each) & FIN) === 0),
      );
      fails(
        "TCP: four-way close",
        "tcp",
        without((seen) => seen.from === 1 && (flagsOf(seen) & FIN) !== 0),
      );
      fails(
        "UDP",
        "udp",
        without((_, index) => index === 1),
      );
    });

    test("TLS", () => {
      const swapped = new Map(captures)
        .set("tls 1.2", captures.get("tls 1.3")!)
        .set("tls 1.3", captures.get("tls 1.2")!)
        .set("tls 1.2 again", captures.get("tls 1.2")!)
        .set("tls 1.3 again", captures.get("tls 1.3")!);
      const lines = findingsOf(swapped, certificate).filter(({ name }) => name.startsWith("TLS"));
      expect(lines.map(({ verdict }) => verdict)).toEqual(["failed", "failed", "failed", "failed"]);
      expect(judged("TLS 1.3: handshake", "tls 1.3", ({ keyLog: _, ...rest }) => rest)).toMatchObject({
        verdict: "refused",
        why: "the client wrote no key log, so nobody can tell what it sent",
      });
      expect(judged("HTTPS POST", "post", () => captures.get("websocket")!).verdict).toBe("failed");
      // The body in the clear beside it.
      const { seen } = captures.get("udp")!;
      expect(
        judged("HTTPS POST", "post", (capture) => ({ ...capture, seen: [...capture.seen, ...seen] })).verdict,
      ).toBe("failed");
    });

    test("WebSocket, HTTP/2, HTTP/3", () => {
      const accept = after("Sec-WebSocket-Accept: ", (bytes, at) => {
        bytes[at]! ^= 1;
      });
      expect(judged("WebSocket: upgrade", "websocket", accept).verdict).toBe("failed");
      const unmask = (capture: Capture) => ({
        ...capture,
        seen: capture.seen.map((seen) => {
          if (seen.from !== 0 || seen.bytes[66] !== 0x81) return seen;
          const bytes = new Uint8Array(seen.bytes);
          bytes[67]! &= 0x7f;
          return { ...seen, bytes };
        }),
      });
      expect(judged("WebSocket: masking", "websocket", unmask).verdict).toBe("failed");
      for (const line of ["HTTP/2: frames", "HTTP/2: HPACK"]) {
        expect(judged(line, "http/2", () => captures.get("post")!).verdict).toBe("failed");
      }
      for (const line of ["HTTP/3: streams", "HTTP/3: QPACK"]) {
        expect(
          judged(
            line,
            "http/3",
            without((seen, index) => index > 1 && seen.from === 0),
          ).verdict,
        ).toBe("failed");
        expect(judged(line, "http/3", ({ keyLog: _, ...rest }) => rest).verdict).toBe("refused");
      }
    });
  });

  test("without a key log the ladder tells records and sizes", () => {
    const { keyLog: _, ...sealed } = captures.get("post")!;
    const labels = tell(sealed)
      .ladder.rungs.map(({ label }) => label)
      .join("\n");
    for (const text of ["encrypted handshake", "Finished (encrypted)", "application data"])
      expect(labels).toContain(text);
    expect(labels).not.toContain("POST");
    const { keyLog: __, ...quic } = captures.get("http/3")!;
    const packets = tell(quic)
      .ladder.rungs.map(({ label }) => label)
      .join("\n");
    for (const text of ["QUIC Initial: ClientHello SNI=server ALPN=h3", "QUIC Handshake 1,", "QUIC 1-RTT "]) {
      expect(packets).toContain(text);
    }
  });

  test("reading a capture does not change it", () => {
    const before = [...captures.values()].map(({ seen }) => Bun.hash(Buffer.concat(seen.map(({ bytes }) => bytes))));
    findingsOf(captures, certificate);
    const now = [...captures.values()].map(({ seen }) => Bun.hash(Buffer.concat(seen.map(({ bytes }) => bytes))));
    expect(now).toEqual(before);
  });
});
