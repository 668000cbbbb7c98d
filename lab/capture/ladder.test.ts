import { describe, expect, test } from "bun:test";
import { put16 } from "../../src/wire/packet/ip.ts";
import { seeded } from "../../src/wire/seed.ts";
import type { Capture } from "../experiment.ts";
import type { Seen } from "../wire/index.ts";
import { bytesByLayer } from "./bytes.ts";
import { ladderOf } from "./climb.ts";
import { ladderText } from "./ladder-text.ts";
import { labelsIn, measure, plainParts } from "./parts.ts";
import { conversationsOf } from "./streams.ts";

const HOSTS = [
  { name: "client", address: "10.0.0.1" },
  { name: "server", address: "10.0.0.2" },
];
const FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, ece: 64, cwr: 128 } as const;

interface Segment {
  readonly from: 0 | 1;
  readonly sequence: number;
  readonly ack?: number;
  readonly flags: readonly (keyof typeof FLAG)[];
  readonly text?: string;
  readonly window?: number;
  readonly options?: readonly number[];
  readonly isLost?: boolean;
}

/** As if the wire had seen them, a millisecond apart, each 10 ms on its way. */
function captured(segments: readonly Segment[]): Capture {
  const seen = segments.map((segment, index): Seen => {
    const bytes = frame(segment);
    const at = 1e9 + index * 1e6;
    const { from, isLost } = segment;
    const way = isLost ? { drop: "rule" as const } : { leftAt: at + 10e6 };
    return { at, ...way, from, to: 1 - from, size: bytes.length, bytes };
  });
  return { name: "made", hosts: HOSTS, seen };
}

function frame({ from, sequence, ack, flags, text = "", window = 1_000, options = [] }: Segment): Uint8Array {
  const payload = Buffer.from(text);
  const header = 20 + options.length;
  const bytes = new Uint8Array(14 + 20 + header + payload.length);
  bytes.set([2, 0, 0, 0, 0, 2 - from, 2, 0, 0, 0, 0, 1 + from, 8, 0, 0x45]);
  put16(bytes, 16, 20 + header + payload.length);
  bytes.set([64, 6], 22);
  bytes.set([10, 0, 0, 1 + from, 10, 0, 0, 2 - from], 26);
  put16(bytes, 34, from === 0 ? 50_000 : 80);
  put16(bytes, 36, from === 0 ? 80 : 50_000);
  const view = new DataView(bytes.buffer);
  view.setUint32(38, sequence);
  view.setUint32(42, ack ?? 0);
  bytes[46] = (header / 4) << 4;
  bytes[47] = flags.reduce((sum, flag) => sum + FLAG[flag], 0);
  put16(bytes, 48, window);
  bytes.set(options, 54);
  bytes.set(payload, 34 + header);
  return bytes;
}

const OPENING: readonly Segment[] = [
  { from: 0, sequence: 100, flags: ["syn", "ece", "cwr"], options: [2, 4, 5, 180, 34, 2, 1, 1] },
  { from: 1, sequence: 500, ack: 101, flags: ["syn", "ack"], options: [2, 4, 5, 180] },
  { from: 0, sequence: 101, ack: 501, flags: ["ack"] },
];
const REQUEST = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n";
const labels = (capture: Capture) => ladderOf(capture).rungs.map(({ label, notes }) => [label, ...notes].join(" / "));

describe("a ladder", () => {
  test("of an opening says what is offered", () => {
    expect(labels(captured(OPENING))).toEqual([
      "SYN, ECN, MSS 1460, TFO cookie request",
      "SYN+ACK, MSS 1460",
      "ACK 1, window 1,000 B",
    ]);
    expect(ladderOf(captured(OPENING)).rungs.map(({ kind }) => kind)).toEqual(["open", "open", "ack"]);
  });

  test("knows what comes again, and why it was asked for", () => {
    const sent = (sequence: number, text: string, isLost = false): Segment => {
      return { from: 0, sequence, ack: 501, flags: ["ack"], text, isLost };
    };
    const acked = (ack: number, rest: Partial<Segment> = {}): Segment => {
      return { from: 1, sequence: 501, ack, flags: ["ack"], ...rest };
    };
    const capture = captured([
      ...OPENING,
      sent(101, "aaaa"),
      sent(105, "bbbb", true),
      sent(109, "cccc"),
      acked(105),
      acked(105),
      acked(105, { options: [1, 1, 5, 10, 0, 0, 0, 109, 0, 0, 0, 113] }),
      sent(105, "bbbb"),
      acked(113),
      acked(113, { window: 0 }),
      { from: 0, sequence: 112, ack: 501, flags: ["ack"] },
      acked(113, { window: 2_000 }),
      { from: 0, sequence: 112, ack: 501, flags: ["ack"] },
      { from: 0, sequence: 113, ack: 501, flags: ["fin", "ack"] },
      { from: 1, sequence: 501, ack: 114, flags: ["rst", "ack"] },
    ]);
    expect(labels(capture).slice(3)).toEqual([
      "data 4 B",
      "data 4 B",
      "data 4 B",
      "ACK 5, window 1,000 B",
      "ACK 5, window 1,000 B / duplicate ack",
      "ACK 5, SACK 9-13, window 1,000 B / duplicate ack",
      "data 4 B / retransmission",
      "ACK 13, window 1,000 B",
      "ACK 13, window 0 B / window update / zero window",
      "ACK 1, window 1,000 B / window probe",
      "ACK 13, window 2,000 B / window update",
      "ACK 1, window 1,000 B / keep-alive",
      "FIN, ACK 1",
      "RST",
    ]);
    const { rungs } = ladderOf(capture);
    expect(rungs[4]).toMatchObject({ drop: "rule", at: 4e6, bytes: 58 });
    expect(rungs[4]!.leftAt).toBeUndefined();
    expect(Buffer.from(conversationsOf(capture.seen)[0]!.bytes.client).toString()).toBe("aaaabbbbcccc");
  });

  test("names HTTP where it begins, also when it goes on in the next packet", () => {
    const at = 12;
    const capture = captured([
      ...OPENING,
      { from: 0, sequence: 101, ack: 501, flags: ["ack"], text: REQUEST.slice(0, at) },
      { from: 0, sequence: 101 + at, ack: 501, flags: ["ack", "psh"], text: REQUEST.slice(at) },
      { from: 1, sequence: 501, ack: 129, flags: ["ack"], text: "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" },
    ]);
    expect(labels(capture).slice(3)).toEqual([
      "GET /a HTTP/1.1",
      "GET /a HTTP/1.1, continued",
      "HTTP/1.1 200 OK, body 2 B",
    ]);
    const { byLayer, total, packets } = bytesByLayer(ladderOf(capture));
    expect({ byLayer, total, packets }).toEqual({
      packets: 6,
      total: 6 * 54 + 8 + 4 + 28 + 40,
      byLayer: { Ethernet: 84, IPv4: 120, TCP: 132, "HTTP/1.1": 66, data: 2 },
    });
  });

  test("is told in lines of at most 100 columns, with marks, and what was dropped", () => {
    const capture = captured([
      ...OPENING,
      {
        from: 0,
        sequence: 101,
        ack: 501,
        flags: ["ack"],
        text: `GET /${"x".repeat(300)} HTTP/1.1\r\n\r\n`,
        isLost: true,
      },
    ]);
    const lines = ladderText(
      ladderOf({ ...capture, marks: [{ at: 1e9 + 2.5e6, host: "client", text: "request sent" }] }),
    );
    expect(Math.max(...lines.map(({ length }) => length))).toBe(100);
    expect(lines[1]).toBe("     0.00 client ───▶ server    62 B  SYN, ECN, MSS 1460, TFO cookie request");
    expect(lines[4]).toBe("     2.50  * client request sent");
    expect(lines[5]).toContain("client ──✕  server");
    expect(ladderText(ladderOf(capture), { most: 2 }).at(-1)).toBe("… 2 more packets");
  });

  test("is JSON as it stands, and empty for an empty capture", () => {
    const ladder = ladderOf(captured(OPENING));
    expect(JSON.parse(JSON.stringify(ladder))).toEqual(ladder);
    expect(ladderOf(captured([])).rungs).toEqual([]);
  });

  test("a packet that the wire doubled counts once", () => {
    const capture = captured(OPENING);
    const twice = { ...capture, seen: [...capture.seen, { ...capture.seen[2]!, leftAt: 2e9 }] };
    expect(ladderOf(twice).rungs.map(({ notes }) => notes)).toEqual([[], [], [], ["duplicate"]]);
    expect(bytesByLayer(ladderOf(twice)).packets).toBe(3);
  });

  test("of packets that were cut or changed is made all the same, by seed, and its bytes add up", () => {
    const random = seeded(9);
    const good = captured([
      ...OPENING,
      { from: 0, sequence: 101, ack: 501, flags: ["ack"], text: REQUEST },
      {
        from: 1,
        sequence: 501,
        ack: 129,
        flags: ["ack"],
        text: "HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x05hello",
      },
      { from: 0, sequence: 129, ack: 520, flags: ["ack"], text: "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00" },
    ]);
    for (let n = 0; n < 1_500; n++) {
      const seen = good.seen.map((each) => {
        if (random() < 0.5) return each;
        const bytes = new Uint8Array(each.bytes.subarray(0, Math.ceil(random() * each.bytes.length)));
        for (let flips = Math.floor(random() * 4); flips > 0; flips--)
          bytes[Math.floor(random() * bytes.length)] = random() * 256;
        return { ...each, bytes, size: bytes.length };
      });
      for (const { bytes, layers } of ladderOf({ ...good, seen }).rungs) {
        if (layers.length > 0) expect(layers.reduce((sum, layer) => sum + layer.bytes, 0)).toBe(bytes);
      }
    }
  });
});

describe("the parts of a stream", () => {
  const of = (client: string, server = "") => plainParts(Buffer.from(client, "latin1"), Buffer.from(server, "latin1"));

  test("chunks, with their own bytes", () => {
    const { server } = of(
      REQUEST,
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    );
    expect(server.map(({ label }) => label)).toEqual([
      "HTTP/1.1 200 OK",
      "chunk 3 B",
      "last chunk",
      "HTTP/1.1 204 No Content",
    ]);
    const bytes = new Map();
    measure(server, 0, 63, bytes);
    expect(bytes.get("data")).toBe(3);
  });

  test("WebSocket after an upgrade", () => {
    const { client, server } = of(
      "GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n\x81\x82\x01\x02\x03\x04aa",
      "HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi\x88\x00",
    );
    expect(client.at(-1)!.label).toBe("WebSocket text 2 B, masked");
    expect(labelsIn(server, 36, 60)).toEqual(["WebSocket text 2 B", "WebSocket close 0 B"]);
  });

  test("what nobody knows is data", () => {
    expect(of("\x00\x01\x02").client).toMatchObject([{ layer: "data", from: 0, to: 3 }]);
    expect(of("").client).toEqual([]);
  });
});
