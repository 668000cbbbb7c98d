import { describe, expect, test } from "bun:test";
import { makeCertificate } from "../../src/net/certificate.ts";
import { EARLY_SECRET } from "../capture/keys.ts";
import { TlsEnd } from "./connection.ts";
import { readMessages, writeMessage } from "./http.ts";
import { openOpenssl, TlsContext } from "./openssl.ts";

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
    expect(again.keyLog.some((line) => line.startsWith(EARLY_SECRET))).toBe(true);
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
