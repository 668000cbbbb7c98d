/** Faults as statuses and back. */
import { expect, test } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { toolsOf } from "../../../suites/store/case.ts";
import { CODES, Fault } from "../../log/index.ts";
import { fromStatus, isOurs, toStatus } from "./faults.ts";

test("each code is its number, and comes back", () => {
  for (const [i, code] of CODES.entries()) {
    const status = toStatus(new Fault(code, "m"));
    expect([code, status.code]).toEqual([code, i + 1]);
    expect(fromStatus(status).toJSON()).toEqual(new Fault(code, "m").toJSON());
    expect(isOurs(status)).toBe(true);
  }
});

test("faults of all kinds come back as they were, and bounded they fit", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const { pick } = toolsOf(seed);
    const text = () =>
      Array.from({ length: pick(pick(4) === 0 ? 3_000 : 30) }, () => 'aä世👩 \n%\\"'[pick(8)] ?? "x")
        .join("")
        .toWellFormed();
    const maybe = <T>(value: T): T | undefined => (pick(2) === 0 ? value : undefined);
    const options = {
      retryable: pick(2) === 0,
      retryAfterMs: maybe(pick(10_000_000) / 8),
      hint: maybe(text()),
      limit: maybe("someLimit"),
      fields: maybe(Array.from({ length: pick(40) }, () => ({ path: text(), message: text() }))),
      detail: maybe({ a: pick(100) / 7, b: text(), c: true }),
    };
    const fault = new Fault(CODES[pick(16)]!, text(), JSON.parse(JSON.stringify(options)));
    expect([seed, fromStatus(toStatus(fault)).toJSON()]).toEqual([seed, fault.toJSON()]);
    const bounded = toStatus(fault, true);
    const bytes = bounded.details.reduce((sum, each) => sum + ((each as { value: Uint8Array }).value.length ?? 0), 0);
    expect(bytes).toBeLessThanOrEqual(2_048);
    expect(Buffer.byteLength(bounded.rawMessage)).toBeLessThanOrEqual(1_024);
    const back = fromStatus(bounded);
    expect([back.code, back.retryable, back.retryAfterMs, back.limit]).toEqual([
      fault.code,
      fault.retryable,
      fault.retryAfterMs,
      fault.limit,
    ]);
  }
});

test("what is no fault", () => {
  expect(toStatus(new Error("secret"))).toMatchObject({ code: Code.Internal, rawMessage: "the handler failed" });
  const own = new ConnectError("of the protocol", Code.Unimplemented);
  expect(toStatus(own)).toBe(own);
  expect(isOurs(own)).toBe(false);
  expect(fromStatus(own)).toMatchObject({ code: "unimplemented", message: "of the protocol" });
  // Details that cannot be read say nothing.
  own.details = [{ type: "google.rpc.ErrorInfo", value: new Uint8Array([255, 255]) }];
  expect(fromStatus(own)).toMatchObject({ code: "unimplemented", retryable: false });
});
