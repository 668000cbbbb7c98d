import { describe, expect, test } from "bun:test";
import { hex } from "../../src/wire/packet/cursor.ts";
import { QUIC_VERSION, readQuic } from "../../src/wire/packet/quic.ts";
import { readFrames } from "../../src/wire/packet/quic-frames.ts";
import { initialKeys, KeyLog, openPacket, quicKeys, tlsKeys } from "./keys.ts";

const bytes = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const ID = bytes("8394c8f03e515708");
const SECRET = bytes("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b");
const shown = (keys: { key: Uint8Array; iv: Uint8Array; header: Uint8Array } | undefined) => {
  return keys && [hex(keys.key), hex(keys.iv), hex(keys.header)];
};

describe("keys of Initials", () => {
  test("of version 1 (RFC 9001 §A.1)", () => {
    expect(shown(initialKeys(QUIC_VERSION[1], ID, "client"))).toEqual([
      "1f369613dd76d5467730efcbe3b1a22d",
      "fa044b2f42a3fd3b46fb255c",
      "9f50449e04a0e810283a1e9933adedd2",
    ]);
    expect(shown(initialKeys(QUIC_VERSION[1], ID, "server"))).toEqual([
      "cf3a5331653c364c88f0f379b6067e37",
      "0ac1493ca1905853b0bba03e",
      "c206b8d9b9f0f37644430b490eeaa314",
    ]);
  });

  test("of version 2 (RFC 9369 §A.1), and of none that is not known", () => {
    expect(shown(initialKeys(QUIC_VERSION[2], ID, "client"))).toEqual([
      "8b1a0bc121284290a29e0971b5cd045d",
      "91f73e2351d8fa91660e909f",
      "45b95e15235d6f45a6b19cbcb0294ba9",
    ]);
    expect(initialKeys(0x0a0a0a0a, ID, "client")).toBeUndefined();
  });
});

describe("a packet", () => {
  // RFC 9001 §A.5: ChaCha20, a short header without connection id, a number of which three bytes are sent.
  const datagram = bytes("4cfe4189655e5cd55c41f69080575d7999c25a5bfb");
  const keys = quicKeys(0x1303, QUIC_VERSION[1], SECRET)!;
  const [packet] = readQuic(datagram);

  test("is opened with ChaCha20, its number made whole, and left as it was", () => {
    const before = hex(datagram);
    const opened = openPacket(datagram, packet!, keys, 654_360_563);
    expect(opened?.number).toBe(654_360_564);
    expect(readFrames(opened!.payload)!.map(({ name }) => name)).toEqual(["PING"]);
    expect(hex(datagram)).toBe(before);
    // The slice of a Buffer is the Buffer.
    const buffer = Buffer.from(datagram);
    openPacket(buffer, packet!, keys, 654_360_563);
    expect(hex(buffer)).toBe(before);
  });

  test("that was changed, cut or sealed with other keys is not opened", () => {
    const changed = new Uint8Array(datagram);
    changed[15]! ^= 1;
    expect(openPacket(changed, packet!, keys, 654_360_563)).toBeUndefined();
    expect(openPacket(datagram.subarray(0, 12), readQuic(datagram.subarray(0, 12))[0]!, keys)).toBeUndefined();
    expect(openPacket(datagram, packet!, keys, 0)).toBeUndefined();
    expect(openPacket(datagram, packet!, quicKeys(0x1301, QUIC_VERSION[1], SECRET)!)).toBeUndefined();
    expect(quicKeys(0xc02b, QUIC_VERSION[1], SECRET)).toBeUndefined();
    expect(tlsKeys(0xc02b, SECRET)).toBeUndefined();
  });
});

test("a key log is read line by line, and what is none is passed over", () => {
  const random = "11".repeat(32);
  const log = new KeyLog(`# comment\n\nSERVER_TRAFFIC_SECRET_0 ${random.toUpperCase()} ABCD\r\nnonsense 1 2\n`);
  expect(log.size).toBe(1);
  expect(hex(log.secret("SERVER_TRAFFIC_SECRET_0", bytes(random))!)).toBe("abcd");
  expect(log.secret("CLIENT_TRAFFIC_SECRET_0", bytes(random))).toBeUndefined();
});
