import { describe, expect, test } from "bun:test";
import { quicChoice } from "./quic-seen.ts";

/** RFC 9001 §A.3: a server's Initial with its ServerHello; the client had made up the id 8394c8f03e515708. */
const SERVER_INITIAL = Buffer.from(
  "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee",
  "hex",
);
const ID = "8394c8f03e515708";

/** A client's Initial as far as its header: what is in it does not matter. */
function clientInitial(id: string): Buffer {
  return Buffer.from(`c00000000108${id}00004014${"00".repeat(20)}`, "hex");
}

/** RFC 9000 §17.2.5 */
function retry(sourceId: string): Buffer {
  return Buffer.from(`f0000000010008${sourceId}${"aa".repeat(8)}${"bb".repeat(16)}`, "hex");
}

describe("the choice of a server over QUIC", () => {
  const ours = (bytes: Buffer) => ({ isOurs: true, bytes });
  const theirs = (bytes: Buffer) => ({ isOurs: false, bytes });

  test("is read from its Initial packet", () => {
    expect(quicChoice([ours(clientInitial(ID)), theirs(SERVER_INITIAL)])).toEqual({
      version: "TLS 1.3",
      cipher: "TLS_AES_128_GCM_SHA256",
      group: "X25519",
      isRetried: false,
      isResumed: false,
      quic: 1,
      hasRetry: false,
    });
  });

  test("after a Retry, whose id makes the keys then", () => {
    const seen = [
      ours(clientInitial("0102030405060708")),
      theirs(retry(ID)),
      ours(clientInitial(ID)),
      theirs(SERVER_INITIAL),
    ];
    expect(quicChoice(seen)).toMatchObject({ hasRetry: true, group: "X25519" });
  });

  test("is not known from packets of somebody else, or of nobody", () => {
    expect(quicChoice([ours(clientInitial("0102030405060708")), theirs(SERVER_INITIAL)])).toBeUndefined();
    expect(quicChoice([theirs(SERVER_INITIAL)])).toBeUndefined();
    expect(quicChoice([])).toBeUndefined();
    for (let at = 0; at < SERVER_INITIAL.length; at++) {
      const bytes = Buffer.from(SERVER_INITIAL);
      bytes[at]! ^= 0x55;
      expect(() => quicChoice([ours(clientInitial(ID)), theirs(bytes)])).not.toThrow();
      expect(() => quicChoice([ours(clientInitial(ID)), theirs(bytes.subarray(0, at))])).not.toThrow();
    }
  });
});
