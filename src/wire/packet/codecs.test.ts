import { describe, expect, test } from "bun:test";
import { seeded } from "../seed.ts";
import { hex } from "./cursor.ts";
import { readArp, readEthernet } from "./ethernet.ts";
import { HpackReader } from "./hpack.ts";
import { content, numberOf, readHttp2, readSettings } from "./http2.ts";
import { readHttp3, readHttp3Settings } from "./http3.ts";
import { readHuffman } from "./huffman.ts";
import { readIp, readTcp, readUdp } from "./ip.ts";
import { readQpack } from "./qpack.ts";
import { isQuic, readQuic } from "./quic.ts";
import { readFrames } from "./quic-frames.ts";
import { Reassembly } from "./reassembly.ts";
import { SAMPLES } from "./testing-samples.ts";
import { isTls, readAlert, readHandshake, readRecords } from "./tls.ts";
import {
  readCertificate,
  readClientHello,
  readEncryptedExtensions,
  readNewSessionTicket,
  readServerHello,
  readServerKeyExchange,
} from "./tls-hello.ts";
import { groupName, isGrease, suiteName, versionName } from "./tls-names.ts";
import { readWebSocket, unmasked } from "./websocket.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (of: string) => Uint8Array.from(Buffer.from(of.replaceAll(/\s/g, ""), "hex"));
const messagesOf = (stream: Uint8Array) => readRecords(stream).records.flatMap(({ payload }) => readHandshake(payload));
const clientHello = (stream: Uint8Array) => readClientHello(messagesOf(stream)[0]!.body)!;

describe("Ethernet", () => {
  test("frames with and without a tag, and ARP", () => {
    const arp = "0001080006040001020000000001 0a000001 000000000000 0a000002";
    const frame = readEthernet(bytes(`ffffffffffff 020000000001 0806 ${arp}`))!;
    expect(frame).toMatchObject({ source: "02:00:00:00:00:01", type: 0x0806, headerBytes: 14 });
    expect(readArp(frame.payload)).toEqual({
      isRequest: true,
      senderMac: "02:00:00:00:00:01",
      sender: "10.0.0.1",
      target: "10.0.0.2",
    });
    expect(readEthernet(bytes(`ffffffffffff 020000000001 8100 0064 0800 00`))).toMatchObject({
      vlan: 100,
      type: 0x800,
    });
    expect(readEthernet(bytes("ffffffffffff 020000000001 08"))).toBeUndefined();
    expect(readEthernet(bytes("ffffffffffff 020000000001 0026 00"))).toBeUndefined();
  });
});

describe("TLS", () => {
  test("the hello of a client of TLS 1.2, and one of 1.3 that is cut", () => {
    expect(clientHello(SAMPLES.CLIENT_HELLO_12)).toMatchObject({
      versions: [0x0303],
      serverName: "server",
      alpn: [],
      sessionTicketBytes: 0,
      keyShares: [],
      hasEarlyData: false,
    });
    const hello = clientHello(SAMPLES.CLIENT_HELLO_13);
    expect(hello.versions.map(versionName).slice(0, 2)).toEqual(["TLS 1.3", "TLS 1.2"]);
    expect(hello.alpn).toEqual(["http/1.1"]);
    expect(hello.keyShares).toEqual([{ group: 0x1d, bytes: 32 }]);
    expect(hello.groups.map(groupName).slice(0, 3)).toEqual(["X25519", "P-256", "X448"]);
    expect(messagesOf(SAMPLES.CLIENT_HELLO_13)[0]!.isWhole).toBe(false);
  });

  test("a flight of TLS 1.2 and its ticket", () => {
    const messages = messagesOf(SAMPLES.SERVER_FLIGHT_12);
    expect(messages.map(({ name }) => name)).toEqual([
      "ServerHello",
      "Certificate",
      "ServerKeyExchange",
      "ServerHelloDone",
    ]);
    const [hello, certificate, exchange] = messages.map(({ body }) => body);
    expect(readServerHello(hello!)).toMatchObject({ version: 0x0303, willSendTicket: true, isRetryRequest: false });
    expect(suiteName(readServerHello(hello!)!.cipherSuite)).toBe("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
    expect(readCertificate(certificate!)!.map(({ length }) => length)).toEqual([464]);
    expect(readServerKeyExchange(exchange!)).toEqual({ group: 0x1d, bytes: 32 });
    expect(readNewSessionTicket(messagesOf(SAMPLES.TICKET_12)[0]!.body)).toEqual({
      lifetimeSeconds: 7_200,
      bytes: 160,
    });
  });

  test("the hello of a server of TLS 1.3, and one that asks for another", () => {
    const body = messagesOf(SAMPLES.SERVER_HELLO_13)[0]!.body;
    expect(readServerHello(body)).toMatchObject({ version: 0x0304, group: 0x1d, isRetryRequest: false });
    const retry = body.slice();
    retry.set(bytes("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c"), 2);
    expect(readServerHello(retry)!.isRetryRequest).toBe(true);
  });

  test("early data, tickets, GREASE", () => {
    // supported_versions, early_data, psk_key_exchange_modes, pre_shared_key with a ticket of 4 bytes.
    const extensions =
      "0a0a0000 002b0005040a0a0304 002a0000 002d00020101 0029000f 000a00040102030400000000 0001 00".replaceAll(" ", "");
    const hello = bytes(
      `0303${"11".repeat(32)}00 0004 1a1a1301 0100 ${(extensions.length / 2).toString(16).padStart(4, "0")}${extensions}`,
    );
    expect(readClientHello(hello)).toMatchObject({
      cipherSuites: [0x1301],
      versions: [0x0304],
      hasEarlyData: true,
      pskIdentities: [4],
    });
    expect(isGrease(0x0a0a)).toBe(true);
    expect(isGrease(0x0a1a)).toBe(false);
    expect(readNewSessionTicket(bytes("00001c20 00000001 0100 0002abcd 0008 002a0004 00004000"), true)).toEqual({
      lifetimeSeconds: 7_200,
      bytes: 2,
      maxEarlyData: 16_384,
    });
  });

  test("alerts, and what is none because it is encrypted", () => {
    const [close, sealed] = readRecords(bytes(`15030300020100 150303001a${"00".repeat(26)}`)).records;
    expect(readAlert(close!)).toEqual({ isFatal: false, description: 0 });
    expect(readAlert(sealed!)).toBeUndefined();
  });

  test("what is no TLS ends the records", () => {
    expect(isTls(Buffer.from("GET / HTTP/1.1\r\n"))).toBe(false);
    expect(readRecords(Buffer.concat([bytes("15030300020100"), Buffer.from("GET /")]))).toMatchObject({ end: 7 });
  });
});

describe("QUIC", () => {
  const ids = "08 8394c8f03e515708 04 f067a502";

  test("packets that share a datagram, in both versions", () => {
    const initial = (first: string, version: string) =>
      bytes(`${first} ${version} ${ids} 02 aabb 4014 ${"00".repeat(20)}`);
    const datagram = Buffer.concat([
      initial("c0", "00000001"),
      bytes(`e0 00000001 ${ids} 4016 ${"00".repeat(22)}`),
      bytes("40 f067a502 0000000000"),
    ]);
    expect(readQuic(datagram, 4).map(({ type, size }) => [type, size])).toEqual([
      ["Initial", 44],
      ["Handshake", 43],
      ["1-RTT", 10],
    ]);
    const [first] = readQuic(initial("d0", "6b3343cf"));
    expect(first).toMatchObject({ type: "Initial", version: 0x6b3343cf, at: 0, size: 44, numberAt: 24 });
    expect([hex(first!.destinationId), hex(first!.sourceId), hex(first!.token)]).toEqual([
      "8394c8f03e515708",
      "f067a502",
      "aabb",
    ]);
    expect(readQuic(initial("c0", "6b3343cf"))[0]!.type).toBe("Retry");
  });

  test("Retry, Version Negotiation, and a version that nobody knows", () => {
    const [retry] = readQuic(bytes(`f0 00000001 ${ids} aabbcc ${"ee".repeat(16)}`));
    expect([retry!.type, hex(retry!.token)]).toEqual(["Retry", "aabbcc"]);
    expect(readQuic(bytes(`80 00000000 ${ids} 00000001 6b3343cf`))[0]).toMatchObject({
      type: "Version Negotiation",
      versions: [1, 0x6b3343cf],
    });
    expect(readQuic(bytes(`c0 0a0a0a0a ${ids} 00`))[0]!.type).toBe("long");
    expect(isQuic(bytes(`c0 0a0a0a0a ${ids} 00`))).toBe(false);
    expect(isQuic(Buffer.from("hello"))).toBe(false);
  });

  test("frames", () => {
    const frames = readFrames(bytes("02 05 00 00 01  06 00 02 abcd  0b 04 01 21  1c 0a 06 00  1e 000000"))!;
    expect(frames.map(({ name, size }) => [name, size])).toEqual([
      ["ACK", 5],
      ["CRYPTO", 5],
      ["STREAM", 4],
      ["CONNECTION_CLOSE", 4],
      ["HANDSHAKE_DONE", 1],
      ["PADDING", 3],
    ]);
    expect(frames[0]!.largest).toBe(5);
    expect(frames[2]).toMatchObject({ stream: 4, offset: 0, isLast: true });
    expect(readFrames(bytes("3f"))).toBeUndefined();
    expect(readFrames(bytes("06 00 05 ab"))).toBeUndefined();
  });

  test("pieces in any order, twice, and with a gap", () => {
    const whole = new Reassembly();
    whole.add(3, bytes("dd"));
    whole.add(1, bytes("bbcc"));
    whole.add(6, bytes("ff"));
    expect(hex(whole.bytes)).toBe("");
    whole.add(0, bytes("aabb"));
    whole.add(0, bytes("aa"));
    expect(hex(whole.bytes)).toBe("aabbccdd");
  });
});

describe("HTTP/2", () => {
  test("the frames of a POST and of its response", () => {
    const client = readHttp2(SAMPLES.H2_CLIENT);
    expect(client.map(({ name, stream }) => `${name} ${stream}`)).toEqual([
      "SETTINGS 0",
      "WINDOW_UPDATE 0",
      "HEADERS 1",
      "DATA 1",
    ]);
    expect(readSettings(client[0]!)).toContainEqual({ name: "INITIAL_WINDOW_SIZE", value: 33_554_432 });
    expect(numberOf(client[1]!)).toBe(33_488_897);
    expect(text(content(client[3]!)!)).toBe('{"text":"hello"}');
    const server = readHttp2(SAMPLES.H2_SERVER);
    expect(server.map(({ name }) => name)).toEqual([
      "SETTINGS",
      "WINDOW_UPDATE",
      "SETTINGS",
      "WINDOW_UPDATE",
      "HEADERS",
      "DATA",
    ]);
    expect(text(content(server[5]!)!)).toBe('{"read":16}');
  });

  test("header blocks", () => {
    const block = content(readHttp2(SAMPLES.H2_CLIENT)[2]!)!;
    const reader = new HpackReader();
    const first = reader.read(block)!;
    expect(first.map(({ name, value }) => `${name}: ${value}`)).toEqual([
      ":method: POST",
      ":path: /notes",
      ":scheme: http",
      ":authority: 10.0.0.2:33261",
      "user-agent: curl/7.88.1",
      "accept: */*",
      "content-type: application/json",
      "content-length: 16",
    ]);
    expect(first.reduce((sum, field) => sum + field.bytes, 0)).toBe(block.length);
    expect(first[0]).toMatchObject({ how: "indexed", bytes: 1, isDynamic: false });
    expect(first[1]!.how).toBe("literal");
    expect(first[3]!.how).toBe("literal, remembered");
    // RFC 7541 §2.3.3: the newest entry of the dynamic table has the first index after the static one.
    expect(reader.read(bytes("be"))).toEqual([
      { name: "content-type", value: "application/json", how: "indexed", bytes: 1, isDynamic: true },
    ]);
    expect(reader.read(bytes("ff00"))).toBeUndefined();
    // RFC 7541 §4.3: a table of no size forgets all.
    expect(reader.read(bytes("20"))).toEqual([]);
    expect(reader.remembered).toBe(0);
  });

  test("padding does not count, and padding that is larger than its frame is refused", () => {
    const padded = (length: string) => readHttp2(bytes(`000005 00 08 00000001 ${length} 6869 0000`))[0]!;
    expect(text(content(padded("02"))!)).toBe("hi");
    expect(content(padded("09"))).toBeUndefined();
  });

  // RFC 7541 §C.4.1, §C.6.1
  test.each([
    ["f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"],
    ["aec3771a4b", "private"],
    ["d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["9d29ad171863c78f0b97c8e9ae82ae43d3", "https://www.example.com"],
  ])("Huffman's code: %s", (code, plain) => {
    expect(readHuffman(bytes(code))).toBe(plain);
  });

  test("Huffman's code: a wrong padding is refused", () => {
    // Padding with zeros, and of more than seven bits (RFC 7541 §5.2).
    expect(readHuffman(bytes("00"))).toBeUndefined();
    expect(readHuffman(bytes("ffff"))).toBeUndefined();
  });
});

describe("HTTP/3", () => {
  test("streams, frames and settings", () => {
    const control = readHttp3(3, bytes("00 04 08 01 40aa 06 4100 21 00"));
    expect(control.kind).toBe("control");
    expect(readHttp3Settings(control.frames[0]!)).toEqual([
      { name: "QPACK_MAX_TABLE_CAPACITY", value: 0xaa },
      { name: "MAX_FIELD_SECTION_SIZE", value: 0x100 },
    ]);
    expect(readHttp3(2, bytes("02")).kind).toBe("QPACK encoder");
    expect(readHttp3(6, bytes("21")).kind).toBe("reserved");
    expect(readHttp3(0, bytes("01 02 0000 00 03 616263")).frames.map(({ name }) => name)).toEqual(["HEADERS", "DATA"]);
  });

  test("header blocks", () => {
    // POST, https, /notes by the name of entry 1, x: y in words.
    const fields = readQpack(bytes("0000 d4 d7 51 06 2f6e6f746573 21 78 01 79 80"))!;
    expect(fields.map(({ name, value, how }) => [name, value, how])).toEqual([
      [":method", "POST", "indexed"],
      [":scheme", "https", "indexed"],
      [":path", "/notes", "literal"],
      ["x", "y", "literal"],
      ["dynamic entry 0", "", "indexed"],
    ]);
    expect(readQpack(bytes("0000 ff"))).toBeUndefined();
  });
});

describe("WebSocket", () => {
  test("frames of both sides, and a header of each size", () => {
    const [message, close] = readWebSocket(SAMPLES.WEBSOCKET_CLIENT);
    expect([message!.name, text(unmasked(message!)), message!.headerBytes]).toEqual(["text", "hello", 6]);
    expect([close!.name, hex(unmasked(close!))]).toEqual(["close", "03e8"]);
    expect(readWebSocket(SAMPLES.WEBSOCKET_SERVER).map(({ mask, headerBytes }) => [mask, headerBytes])).toEqual([
      [undefined, 2],
      [undefined, 2],
    ]);
    expect(readWebSocket(bytes("827e0100"))[0]).toMatchObject({ length: 256, headerBytes: 4, isWhole: false });
    expect(readWebSocket(bytes("82ff 0000000100000000 01020304"))[0]).toMatchObject({
      length: 2 ** 32,
      headerBytes: 14,
    });
    expect(readWebSocket(bytes("8300"))).toEqual([]);
    expect(readWebSocket(bytes("0900"))).toEqual([]);
  });
});

/** Everything that reads bytes, one into the other as an analysis does it. */
const READERS: readonly ((bytes: Uint8Array) => unknown)[] = [
  readEthernet,
  readArp,
  readIp,
  readTcp,
  readUdp,
  (given) => readRecords(given).records.map((record) => [readAlert(record), readHandshake(record.payload)]),
  (given) => {
    return messagesOf(given).map(({ body }) => [
      readClientHello(body),
      readServerHello(body),
      readCertificate(body),
      readCertificate(body, true),
      readServerKeyExchange(body),
      readNewSessionTicket(body),
      readNewSessionTicket(body, true),
      readEncryptedExtensions(body),
    ]);
  },
  (given) => readQuic(given, 8),
  readFrames,
  (given) => {
    const reader = new HpackReader();
    return readHttp2(given).map((frame) => [
      reader.read(content(frame) ?? frame.payload),
      readSettings(frame),
      numberOf(frame),
    ]);
  },
  (given) => readHttp3(0, given).frames.map((frame) => [readHttp3Settings(frame), readQpack(frame.payload)]),
  (given) => readHttp3(3, given).frames.map(readHttp3Settings),
  readQpack,
  readHuffman,
  (given) => readWebSocket(given).map(unmasked),
];

test("what is cut or changed is read or left out, by seed, and nothing is thrown", () => {
  const random = seeded(5);
  const whole = Object.values(SAMPLES);
  const began = performance.now();
  for (let n = 0; n < 6_000; n++) {
    const sample = whole[n % whole.length]!;
    const from = random() < 0.5 ? 0 : Math.floor(random() * sample.length);
    const changed = sample.slice(from, from + Math.floor(random() * (sample.length - from + 1)));
    for (let flips = Math.floor(random() * 6); flips > 0 && changed.length > 0; flips--) {
      changed[Math.floor(random() * changed.length)] = Math.floor(random() * 256);
    }
    for (const read of READERS) read(changed);
  }
  for (let n = 0; n < 2_000; n++) {
    const noise = Uint8Array.from({ length: Math.floor(random() * 200) }, () => Math.floor(random() * 256));
    for (const read of READERS) read(noise);
  }
  // Nothing goes on for longer than its bytes: all of it is a matter of a second or two.
  expect(performance.now() - began).toBeLessThan(20_000);
});
