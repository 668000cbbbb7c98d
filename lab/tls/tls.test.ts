import { describe, expect, test } from "bun:test";
import { makeCertificate } from "../../src/net/certificate.ts";
import { seeded } from "../../src/wire/seed.ts";
import type { Seen } from "../wire/index.ts";
import { udpFrame } from "../wire/testing.ts";
import { TlsEnd } from "./connection.ts";
import { readHandshake } from "./handshake.ts";
import { readMessages, writeMessage } from "./http.ts";
import { openOpenssl, TlsContext } from "./openssl.ts";
import { quicStory } from "./quic.ts";
import { readFrames } from "./quic-frames.ts";
import { tcpStory } from "./records.ts";
import { initialSecrets, Opener, SECRET, secretsOf } from "./secrets.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const { cert, key } = makeCertificate(["localhost"], Date.now());
const hasOpenssl = (() => {
  try {
    openOpenssl();
    return true;
  } catch (thrown) {
    if (process.env["CI"]) throw thrown;
    console.log(`skipped: ${(thrown as Error).message}`);
    return false;
  }
})();

describe("secrets", () => {
  test("are those of the examples of RFC 9001 §A.1 and §A.2, RFC 9369 §A.1", () => {
    const id = Buffer.from("8394c8f03e515708", "hex");
    const { client, server } = initialSecrets(id, 1);
    expect(hex(client)).toBe("c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea");
    expect(hex(server)).toBe("3c199828fd139efd216c155ad844cc81fb82fa8d7446fa7d78be803acdda951b");
    const opener = new Opener(client, undefined, "quic ");
    expect(hex(opener.mask(Buffer.from("d1b1c98dd7689fb8ec11d242b123dc9b", "hex")))).toBe("437b9aec36");
    expect(hex(initialSecrets(id, 2).client)).toBe("14ec9d6eb9fd7af83bf5a668bc17a7e283766aade7ecd0891f70f9ff7f4bf47b");
  });

  test("what another key has sealed stays shut", () => {
    const opener = new Opener(initialSecrets(Buffer.alloc(8), 1).client, undefined, "quic ");
    expect(opener.open(0, Buffer.alloc(5), Buffer.alloc(40))).toBeUndefined();
    expect(opener.open(0, Buffer.alloc(5), Buffer.alloc(3))).toBeUndefined();
  });
});

/** Two ends without a network: what the server got, and whether as early data. */
function talk(server: TlsContext, session?: Uint8Array, forgeEarlyData = false) {
  const client = new TlsContext(openOpenssl(), { isServer: false, version: "1.3" });
  const ends = {
    client: new TlsEnd(client, { ...(session && { session }), forgeEarlyData }),
    server: new TlsEnd(server),
  };
  const got: { text: string; isEarly: boolean }[] = [];
  if (session) ends.client.writeEarly(Buffer.from("early"));
  const flights: Uint8Array[] = [];
  const turn = () => {
    ends.client.handshake();
    const out = ends.client.take();
    flights.push(out);
    ends.server.feed(out);
    for (let read = ends.server.read(); read; read = ends.server.read()) {
      got.push({ text: Buffer.from(read.bytes).toString(), isEarly: read.isEarly });
    }
    ends.client.feed(ends.server.take());
  };
  for (let n = 0; n < 3; n++) turn();
  ends.client.write(Buffer.from("late"));
  turn();
  ends.server.write(Buffer.from("answer"));
  ends.client.feed(ends.server.take());
  const answer = Buffer.from(ends.client.read()?.bytes ?? []).toString();
  const { isEarlyAccepted, isResumed } = ends.client;
  const saved = ends.client.session()!;
  for (const each of [ends.client, ends.server]) each.free();
  const keyLog = [...client.keyLog];
  client.free();
  return { got, answer, isEarlyAccepted, isResumed, saved, first: flights[0]!, keyLog };
}

describe.skipIf(!hasOpenssl)("TLS of the system", () => {
  const options = { isServer: true, version: "1.3", certificates: [cert], key } as const;

  test("resumes with early data, once with each ticket", () => {
    const server = new TlsContext(openOpenssl(), { ...options, maxEarlyData: 16_384 });
    const first = talk(server);
    expect(first).toMatchObject({ isResumed: false, answer: "answer", got: [{ text: "late", isEarly: false }] });
    const again = talk(server, first.saved.bytes);
    expect(again).toMatchObject({ isResumed: true, isEarlyAccepted: true, answer: "answer" });
    expect(again.got[0]).toEqual({ text: "early", isEarly: true });
    expect(secretsOf(again.keyLog).has(SECRET.early)).toBe(true);
    const third = talk(server, first.saved.bytes);
    expect(third).toMatchObject({ isEarlyAccepted: false, got: [{ text: "late", isEarly: false }] });
    server.free();
  });

  test("takes a ticket again where replay is allowed", () => {
    const server = new TlsContext(openOpenssl(), { ...options, maxEarlyData: 16_384, allowReplay: true });
    const { saved } = talk(server);
    for (let n = 0; n < 3; n++) expect(talk(server, saved.bytes).isEarlyAccepted).toBe(true);
    server.free();
  });

  test("a ticket that does not allow early data sends none, and a forged one is refused", () => {
    const server = new TlsContext(openOpenssl(), options);
    const { saved } = talk(server);
    expect(saved.maxEarlyData).toBe(0);
    expect(() => talk(server, saved.bytes)).toThrow("TLS failed");
    expect(talk(server, saved.bytes, true)).toMatchObject({ isEarlyAccepted: false, got: [{ isEarly: false }] });
    server.free();
  });

  test("what is no session, no TLS and no certificate is an error", () => {
    const server = new TlsContext(openOpenssl(), options);
    expect(() => talk(server, Buffer.from("nothing"))).toThrow("not a session");
    const end = new TlsEnd(server);
    end.feed(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
    expect(() => end.read()).toThrow("TLS failed");
    end.free();
    server.free();
    expect(() => new TlsContext(openOpenssl(), { isServer: true, version: "1.3" })).toThrow("needs a certificate");
    expect(() => new TlsContext(openOpenssl(), { ...options, groups: "none" })).toThrow("the groups none");
  });
});

test("messages of HTTP are read when they are whole", () => {
  const message = { start: "POST /a HTTP/1.1", fields: { host: "localhost" }, body: "text" };
  const bytes = writeMessage(message);
  for (let cut = 0; cut < bytes.length; cut++) expect(readMessages(bytes.subarray(0, cut)).messages).toEqual([]);
  const { messages, rest } = readMessages(Buffer.concat([bytes, bytes, bytes.subarray(0, 9)]));
  expect(messages).toMatchObject([message, message]);
  expect(rest.length).toBe(9);
});

test("bytes without sense are read without an error", () => {
  for (let seed = 1; seed <= 2_000; seed++) {
    const random = seeded(seed);
    const bytes = Uint8Array.from({ length: Math.floor(random() * 200) }, () => Math.floor(random() * 256));
    // Half of them begin as an Initial.
    if (seed % 2 === 0) bytes.set([0xc0, 0, 0, 0, 1, 8].slice(0, bytes.length));
    readHandshake(bytes);
    readFrames(bytes);
    const frame = udpFrame("10.0.0.1", 1, "10.0.0.2", 2, "x".repeat(bytes.length));
    frame.set(bytes, 42);
    const seen: Seen[] = [{ at: 1, leftAt: 2, from: 0, to: 1, size: frame.length, bytes: frame }];
    quicStory(seen, 0, ["nonsense", `${SECRET.early} 00 ${"00".repeat(32)}`]);
    const tcp = frame.slice();
    tcp[23] = 6;
    tcpStory([{ ...seen[0]!, bytes: tcp }], 0, []);
  }
});
