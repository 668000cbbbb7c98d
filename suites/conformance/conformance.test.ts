/**
 * The protocols as others have written them down: the suite of Connect's authors for all three, and the
 * interoperability client of gRPC. Both call our listeners from Go.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GrpcListener } from "../../src/transports/rpc/host/listener.ts";
import { interopListener } from "./interop.ts";
import { findTools, run, type Tools } from "./tools.ts";

const tools: Tools | Error = await findTools().catch((thrown: Error) => thrown);
const isMissing = tools instanceof Error;
if (isMissing) console.log(`not run: ${tools.message}`);

test("the programs are there, or this is a machine that may lack them", () => {
  expect(isMissing && process.env["CI"] !== undefined).toBe(false);
});

describe.skipIf(isMissing)("connectconformance", () => {
  const folder = mkdtempSync(join(tmpdir(), "conformance-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** At least so many cases: fewer would be a run that left some out. */
  const RUNS: readonly (readonly [protocol: string, version: 1 | 2 | 3, where: "mount" | "listener", cases: number])[] =
    [
      ["CONNECT", 1, "mount", 1136],
      ["CONNECT", 2, "mount", 1256],
      ["CONNECT", 3, "mount", 628],
      ["GRPC_WEB", 1, "mount", 912],
      ["GRPC_WEB", 2, "mount", 1020],
      ["GRPC_WEB", 3, "mount", 510],
      ["GRPC", 2, "listener", 1200],
      ["CONNECT", 2, "listener", 1256],
      ["GRPC_WEB", 2, "listener", 1020],
    ];
  for (const [protocol, version, where, cases] of RUNS) {
    test(`${protocol} over HTTP/${version} on the ${where}: all of ${cases} cases`, async () => {
      const { connectconformance, protos } = tools as Tools;
      const features = join(folder, `${protocol}-${version}-${where}.yaml`);
      writeFileSync(features, featuresOf(protocol, version));
      const { code, text, more } = await run(
        [
          connectconformance,
          ...["--mode", "server", "--conf", features, "--max-servers", "2"],
          ...["--known-failing", `@${join(import.meta.dirname, "known.txt")}`],
          "--",
          ...[process.execPath, join(import.meta.dirname, "server.ts"), protos, where],
        ],
        100_000,
      );
      const [, passed, failed] = /(\d+) passed, (\d+) failed/.exec(text + more) ?? [];
      if (code !== 0) console.log(text.slice(-5_000), more.slice(-5_000));
      expect({ code, failed, cases: Number(passed) >= cases }).toEqual({ code: 0, failed: "0", cases: true });
    }, 110_000);
  }
});

/** Everything but certificates of clients, which Backtalk does not ask for. */
function featuresOf(protocol: string, version: number): string {
  return [
    "features:",
    `  versions: [HTTP_VERSION_${version}]`,
    `  protocols: [PROTOCOL_${protocol}]`,
    "  codecs: [CODEC_PROTO, CODEC_JSON]",
    "  compressions: [COMPRESSION_IDENTITY, COMPRESSION_GZIP, COMPRESSION_BR]",
    `  supportsH2c: ${version === 2}`,
    "  supportsTls: true",
    "  supportsConnectGet: true",
    "  supportsHalfDuplexBidiOverHttp1: true",
    "  supportsMessageReceiveLimit: true",
    "",
  ].join("\n");
}

describe.skipIf(isMissing)("the interoperability client of grpc-go", () => {
  let listener: GrpcListener;
  beforeAll(async () => {
    listener = await interopListener();
  });
  afterAll(() => listener.stop());

  const CASES = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
    "custom_metadata",
    "pick_first_unary",
  ];
  for (const name of CASES) {
    test(name, async () => {
      const where = ["--server_host=127.0.0.1", `--server_port=${listener.port}`];
      const { code, more } = await run([(tools as Tools).interop, ...where, `--test_case=${name}`], 50_000);
      if (code !== 0) console.log(more.slice(-2_000));
      expect(code).toBe(0);
    }, 60_000);
  }
});
