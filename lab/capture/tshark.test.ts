import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { developmentCertificate } from "../../src/net/certificate.ts";
import { hex } from "../../src/wire/packet/cursor.ts";
import { readIp, readTcp, readUdp } from "../../src/wire/packet/ip.ts";
import { readQuic } from "../../src/wire/packet/quic.ts";
import { readRecords } from "../../src/wire/packet/tls.ts";
import { CONTENT_TYPE } from "../../src/wire/packet/tls-names.ts";
import { readWebSocket } from "../../src/wire/packet/websocket.ts";
import { CONDITIONS } from "../conditions.ts";
import type { Capture } from "../experiment.ts";
import type { CaptureName } from "../experiments/layers/cases.ts";
import { recordAll } from "../experiments/layers/record.ts";
import { makeNetwork } from "../network.ts";
import { hasNetwork } from "../testing.ts";
import type { Seen } from "../wire/index.ts";
import { ladderOf } from "./climb.ts";
import { captureFile } from "./file.ts";
import { KeyLog } from "./keys.ts";
import { http2Frames } from "./parts.ts";
import { QuicFlow, requestFrames } from "./quic-flow.ts";
import { quicStory } from "./story.ts";
import { conversationsOf } from "./streams.ts";

const missing = ["tshark", "curl", "openssl"].filter((program) => Bun.which(program) === null);
if (missing.length > 0) {
  if (process.env["CI"]) throw new Error(`${missing.join(" and ")} must be installed`);
  console.log(`skipped: what tshark reads: ${missing.join(" and ")} is not installed`);
}

// A run of tshark takes a third of a second, more on a busy machine.
setDefaultTimeout(60_000);

/** What our readers say about a capture is what tshark says about its file, packet by packet or message by message. */
describe.skipIf(!hasNetwork("what tshark reads") || missing.length > 0)("as tshark reads it:", () => {
  let directory: string;
  let captures: ReadonlyMap<CaptureName, Capture>;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "backtalk-tshark-"));
    const pem = await developmentCertificate({ names: ["server"], directory });
    await using net = await makeNetwork({ ...CONDITIONS, rttMs: 10 }, { echoes: 0 });
    captures = await recordAll(net, pem, directory, () => {});
  }, 60_000);

  afterAll(() => rmSync(directory, { recursive: true }));

  /** Rows of fields, those of one side when it is told, without what was dropped. */
  const tshark = async (name: CaptureName, fields: readonly string[], filter = ""): Promise<string[][]> => {
    const file = join(directory, `${name.replaceAll(/\W/g, "-")}.pcapng`);
    writeFileSync(file, captureFile(captures.get(name)!));
    const only = ["frame.interface_id == 0", filter].filter(Boolean).join(" && ");
    const args = ["-r", file, "-Y", only, "-T", "fields", ...fields.flatMap((field) => ["-e", field])];
    const child = Bun.spawn(["tshark", ...args], { stdout: "pipe", stderr: "ignore" });
    const text = await new Response(child.stdout).text();
    expect(await child.exited).toBe(0);
    const rows = text.split("\n").filter((line) => line !== "");
    return rows.map((line) => line.split("\t"));
  };
  const CLIENT = "ip.src == 10.0.0.1";
  const SERVER = "ip.src == 10.0.0.2";
  /** All values of a field, in order; tshark lists those of one packet with commas. */
  const values = async (name: CaptureName, field: string, filter: string): Promise<string[]> => {
    return (await tshark(name, [field], filter)).flatMap(([cell]) => (cell ? cell.split(",") : []));
  };
  const numbers = async (name: CaptureName, field: string, filter: string) => {
    return (await values(name, field, filter)).map(Number);
  };
  /** What a side sent, in the order of the file. */
  const sentBy = (name: CaptureName, from: number): Seen[] => {
    const sent = captures.get(name)!.seen.filter((seen) => seen.from === from && seen.drop === undefined);
    return sent.toSorted((a, b) => (from === 0 ? a.at - b.at : a.leftAt! - b.leftAt!));
  };
  const conversation = (name: CaptureName) => {
    const { seen, keyLog } = captures.get(name)!;
    return conversationsOf(seen, keyLog)[0]!;
  };

  test("QUIC: a packet that overtakes the ServerHello is opened when that has come", () => {
    const { seen, keyLog = "" } = captures.get("http/3")!;
    const told = (packets: readonly Seen[]) => {
      const { events } = quicStory(packets, 0, keyLog.split("\n"));
      return {
        sealed: events.filter(({ what }) => what.kind === "sealed").length,
        data: events.reduce((sum, { what }) => sum + (what.kind === "data" ? what.bytes : 0), 0),
        messages: events.flatMap(({ what }) => (what.kind === "handshake" ? [what.message.name] : [])).sort(),
      };
    };
    const straight = told(seen);
    expect(straight.sealed).toBe(0);
    expect(straight.messages).toContain("EncryptedExtensions");
    expect(straight.data).toBeGreaterThan(100);
    // Without what the client answered: it could not have known what has not come.
    const [hello, ...rest] = seen.filter(({ leftAt }) => leftAt !== undefined);
    const down = rest.filter(({ from }) => from === 1);
    const [first, next] = down;
    const late = down.map((each) => (each === first ? { ...each, leftAt: next!.leftAt! + 1 } : each));
    expect(told([hello!, ...late])).toEqual(told([hello!, ...down]));
    expect(told([hello!, ...down])).toMatchObject({ sealed: 0 });
  });

  test("Ethernet, IP and TCP: addresses, lengths, flags, numbers, windows", async () => {
    for (const [side, filter] of [CLIENT, SERVER].entries()) {
      const name = "tcp, lost segment";
      const fields = ["eth.src", "ip.id", "ip.ttl", "tcp.len", "tcp.flags", "tcp.seq_raw", "tcp.window_size_value"];
      const segments = conversation(name).connection.segments;
      const mine = sentBy(name, side).map((seen) => {
        const ip = readIp(seen.bytes, 14)!;
        const tcp = readTcp(ip.payload)!;
        const { fin, syn, rst, psh, ack, urg, ece, cwr } = tcp.flags;
        const bits = [fin, syn, rst, psh, ack, urg, ece, cwr].reduce((sum, bit, n) => sum + (bit ? 1 << n : 0), 0);
        return [
          hex(seen.bytes.subarray(6, 12)).replace(/..(?!$)/g, "$&:"),
          `0x${ip.id.toString(16).padStart(4, "0")}`,
          String(ip.ttl),
          String(tcp.payload.length),
          `0x${bits.toString(16).padStart(4, "0")}`,
          String(tcp.sequence),
          String(tcp.window),
        ];
      });
      expect(mine).toEqual(await tshark(name, fields, filter));
      const relative = sentBy(name, side).map((seen) => segments.find((segment) => segment.seen === seen)!);
      expect(relative.map(({ sequence, acknowledged }) => [String(sequence), String(acknowledged)])).toEqual(
        await tshark(name, ["tcp.seq", "tcp.ack"], filter),
      );
      expect(relative.filter(({ tcp }) => !tcp.flags.syn).map(({ window }) => window)).toEqual(
        await numbers(name, "tcp.window_size", `${filter} && tcp.flags.syn == 0`),
      );
    }
  });

  test("TCP: what comes again and what was asked for twice", async () => {
    const { rungs } = ladderOf(captures.get("tcp, lost segment")!);
    const count = (note: string) => rungs.filter(({ notes }) => notes.some((each) => each === note)).length;
    // tshark takes what the capture holds as lost for sent once (the file has it on another interface), and tells one
    // that comes again from one that comes late by how soon it comes.
    const late = "tcp.analysis.retransmission || tcp.analysis.out_of_order";
    const again = await tshark("tcp, lost segment", ["frame.number"], late);
    expect(again.length).toBeGreaterThan(0);
    expect(count("retransmission")).toBe(again.length);
    const twice = await tshark("tcp, lost segment", ["frame.number"], "tcp.analysis.duplicate_ack");
    // tshark asks for the very same window; with SACK it may move, and the ACK asks for the same thing (RFC 6675 §2).
    expect(twice.length).toBeGreaterThan(0);
    expect(count("duplicate ack")).toBeGreaterThanOrEqual(twice.length);
  });

  test("UDP", async () => {
    const mine = [0, 1]
      .flatMap((side) => sentBy("udp", side))
      .map((seen) => {
        const udp = readUdp(readIp(seen.bytes, 14)!.payload)!;
        return [String(udp.sourcePort), String(udp.destinationPort), String(udp.payload.length + 8)];
      });
    expect(mine).toEqual(await tshark("udp", ["udp.srcport", "udp.dstport", "udp.length"]));
  });

  test.each(["tls 1.2", "tls 1.2 again"] as const)("%s: records and messages", async (name) => {
    const { bytes, tls } = conversation(name);
    for (const [side, filter] of [
      ["client", CLIENT],
      ["server", SERVER],
    ] as const) {
      const { records } = readRecords(bytes[side]);
      expect(records.map(({ type }): number => CONTENT_TYPE[type])).toEqual(
        await numbers(name, "tls.record.content_type", filter),
      );
      expect(records.map(({ length }) => length)).toEqual(await numbers(name, "tls.record.length", filter));
      // The Finished are encrypted: tshark opens them with the key log, we do not.
      expect([...tls!.messages[side].map(({ type }) => type), 20]).toEqual(
        await numbers(name, "tls.handshake.type", filter),
      );
    }
  });

  test("TLS 1.3: what both hellos say, and the messages that are encrypted", async () => {
    for (const name of ["tls 1.3", "tls 1.3 again", "http/2"] as const) {
      const { clientHello, serverHello, messages } = conversation(name).tls!;
      const of = (field: string, side: string) =>
        values(name, field, `${side} && tls.handshake.type == ${side === CLIENT ? 1 : 2}`);
      expect([clientHello!.serverName!]).toEqual(await of("tls.handshake.extensions_server_name", CLIENT));
      expect(clientHello!.alpn).toEqual(await of("tls.handshake.extensions_alpn_str", CLIENT));
      const suites = (await of("tls.handshake.ciphersuite", CLIENT)).map(Number);
      expect([...clientHello!.cipherSuites]).toEqual(suites);
      const groups = (await of("tls.handshake.extensions_supported_group", CLIENT)).map(Number);
      expect([...clientHello!.groups]).toEqual(groups);
      const shares = (await of("tls.handshake.extensions_key_share_group", CLIENT)).map(Number);
      expect(clientHello!.keyShares.map(({ group }) => group)).toEqual(shares);
      const types = (await of("tls.handshake.extension.type", CLIENT)).map(Number);
      expect(clientHello!.extensions.map(({ type }) => type)).toEqual(types);
      const chosen = (await of("tls.handshake.ciphersuite", SERVER)).map(Number);
      expect([serverHello!.cipherSuite]).toEqual(chosen);
      for (const [side, filter] of [
        ["client", CLIENT],
        ["server", SERVER],
      ] as const) {
        expect(messages[side].map(({ type }) => type)).toEqual(await numbers(name, "tls.handshake.type", filter));
      }
    }
    const offered = await numbers("tls 1.3 again", "tls.handshake.extensions.psk.identity.identity_length", CLIENT);
    expect([...conversation("tls 1.3 again").tls!.clientHello!.pskIdentities]).toEqual(offered);
  });

  test("QUIC: packets, numbers that were hidden, frames", async () => {
    const { keyLog } = captures.get("http/3")!;
    const flow = new QuicFlow(new KeyLog(keyLog!));
    const all = captures.get("http/3")!.seen.toSorted((a, b) => a.at - b.at);
    const read = all.map(({ bytes, from }) => ({
      from,
      packets: flow.read(readUdp(readIp(bytes, 14)!.payload)!.payload, from === 0 ? "client" : "server"),
    }));
    for (const [side, filter] of [CLIENT, SERVER].entries()) {
      const packets = read.filter(({ from }) => from === side).flatMap((each) => each.packets);
      expect(packets.map(({ number }) => number)).toEqual(await numbers("http/3", "quic.packet_number", filter));
      const long = packets.filter(({ packet }) => packet.version !== undefined);
      expect(long.map(({ packet }) => packet.version)).toEqual(await numbers("http/3", "quic.version", filter));
      expect(packets.map(({ packet }) => hex(packet.destinationId))).toEqual(
        await values("http/3", "quic.dcid", filter),
      );
      const types = packets.flatMap(({ frames }) => frames ?? []).filter(({ name }) => name !== "PADDING");
      const theirs = await numbers("http/3", "quic.frame_type", filter);
      expect(types.map(({ type }) => type)).toEqual(theirs.filter((type) => type !== 0));
    }
    const [first] = readQuic(readUdp(readIp(all[0]!.bytes, 14)!.payload)!.payload);
    expect(first!.type).toBe("Initial");
    const hello = flow.clientHello!;
    expect([hello.serverName, ...hello.alpn]).toEqual([
      ...(await values("http/3", "tls.handshake.extensions_server_name", CLIENT)),
      ...(await values("http/3", "tls.handshake.extensions_alpn_str", CLIENT)),
    ]);
    // HTTP/3 on the streams of requests.
    const frames = [0, 4].flatMap((stream) => requestFrames(flow, "client", stream).map(({ type }) => type));
    const theirs = await numbers(
      "http/3",
      "http3.frame_type",
      `${CLIENT} && (quic.stream.stream_id == 0 || quic.stream.stream_id == 4)`,
    );
    expect(frames).toEqual(theirs.filter((type) => type < 2));
  });

  test("HTTP/2: frames, and fields by HPACK", async () => {
    const { plain } = conversation("http/2");
    for (const [side, filter] of [
      ["client", CLIENT],
      ["server", SERVER],
    ] as const) {
      const frames = http2Frames(plain[side]);
      expect(frames.map(({ frame }) => frame.type)).toEqual(await numbers("http/2", "http2.type", filter));
      expect(frames.map(({ frame }) => frame.length)).toEqual(await numbers("http/2", "http2.length", filter));
      const fields = frames.flatMap((each) => each.fields ?? []);
      expect(fields.length).toBeGreaterThan(5);
      const names = await values("http/2", "http2.header.name", filter);
      expect(fields.map(({ name }) => name)).toEqual(names);
      // Values may have commas of their own.
      const theirs = (await tshark("http/2", ["http2.header.value"], `${filter} && http2.header.value`))
        .flat()
        .join(",");
      expect(fields.map(({ value }) => value).join(",")).toBe(theirs);
    }
  });

  test("WebSocket: opcodes, lengths, masks", async () => {
    const { plain } = conversation("websocket");
    for (const [side, filter] of [
      ["client", CLIENT],
      ["server", SERVER],
    ] as const) {
      const frames = readWebSocket(plain[side], Buffer.from(plain[side]).indexOf("\r\n\r\n") + 4);
      const theirs = await tshark("websocket", ["websocket.opcode", "websocket.mask"], `${filter} && websocket`);
      expect(frames.map(({ opcode, mask }) => [opcode, mask !== undefined])).toEqual(
        theirs.map(([opcode, mask]) => [Number(opcode), mask === "1" || mask === "True"]),
      );
      expect(frames.map(({ length }) => length)).toEqual(
        await numbers("websocket", "websocket.payload_length", `${filter} && websocket`),
      );
    }
  });
});
