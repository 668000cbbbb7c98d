import { expect, test } from "bun:test";
import { REASONS, reasonOf } from "./reason.ts";
import { parseTarget } from "./target.ts";

test.each([
  ["localhost:4400", undefined, "localhost", 4400, "/", "localhost:4400", "localhost"],
  [":4400/a?b=c", undefined, "localhost", 4400, "/a?b=c", "localhost:4400", "localhost"],
  ["example.org", "https", "example.org", 443, "/", "example.org", "example.org"],
  ["https://example.org:443/x", "https", "example.org", 443, "/x", "example.org", "example.org"],
  ["https://example.org:80", "https", "example.org", 80, "/", "example.org:80", "example.org"],
  ["http://example.org", "http", "example.org", 80, "/", "example.org", "example.org"],
  ["http://example.org:443", "http", "example.org", 443, "/", "example.org:443", "example.org"],
  ["wss://h/ws", "https", "h", 443, "/ws", "h", "h"],
  ["grpc://127.0.0.1:4450", "http", "127.0.0.1", 4450, "/", "127.0.0.1:4450", undefined],
  ["https://[::1]:4443", "https", "::1", 4443, "/", "[::1]:4443", undefined],
] as const)("%s", (text, scheme, host, port, path, authority, serverName) => {
  expect(parseTarget(text)).toMatchObject({ scheme, host, port, path, authority, serverName });
});

test.each(["", "ftp://x", "http://", "https://u:p@x", "x:99999", "x:0", "a b:80"])("not %j", (text) => {
  expect(() => parseTarget(text)).toThrow(RangeError);
});

test("what systems and libraries say is one of the reasons", () => {
  const error = (code: string, message = "") => Object.assign(new Error(message), { code });
  expect(reasonOf(error("ECONNREFUSED"))).toEqual({ code: "refused" });
  expect(reasonOf(error("ENOTFOUND"))).toEqual({ code: "dns_failed" });
  expect(reasonOf(error("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION")).code).toBe("tls_alert");
  expect(
    reasonOf(error("ERR_SSL_WRONG_VERSION_NUMBER", "error:1:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER")),
  ).toEqual({ code: "tls_failed", detail: "wrong_version_number" });
  expect(Object.keys(REASONS)).toContain(reasonOf("anything").code);
});
