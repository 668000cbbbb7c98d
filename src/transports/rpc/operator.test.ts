/** Health and reflection, as operators and tools use them. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createFileRegistry, fromBinary, type Message } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Control, suiteService } from "../../../suites/transport/service.ts";
import { describeProto } from "../../describe/proto/index.ts";
import { type Core, createCore, memoryStore } from "../../server.ts";
import { builtinService } from "./builtin.ts";
import { healthFile } from "./health.ts";
import { reflectionFiles } from "./reflection.ts";
import { type GrpcListener, grpcListener, rpcHandlers } from "./server.ts";

let core: Core;
let listener: GrpcListener;
const reasons: string[] = [];
// biome-ignore lint/suspicious/noExplicitAny: the messages are made while the tests run
type Any = any;
const transport = () => createGrpcTransport({ baseUrl: listener.url });

beforeAll(async () => {
  core = createCore(suiteService(new Control()), {
    store: memoryStore(),
    drainMs: 0,
    unready: () => reasons,
    // Neither health nor reflection asks who calls.
    authenticate: () => {
      throw new Error("nobody is asked");
    },
  });
  await core.start();
  const handlers = rpcHandlers(core, describeProto(core.contract));
  listener = await grpcListener({ hostname: "127.0.0.1", port: 0, handlers, limits: core.limits });
});

afterAll(async () => {
  await core.close();
  await listener.stop();
});

describe("health", () => {
  const SERVING = 1;
  const NOT_SERVING = 2;
  const SERVICE_UNKNOWN = 3;

  test("check and list follow readiness, per service and overall", async () => {
    const health: Any = createClient(healthFile().services[0]!, transport());
    for (const service of ["", "t.T", "backtalk.v1.Backtalk"])
      expect((await health.check({ service })).status).toBe(SERVING);
    reasons.push("the broker is away");
    expect((await health.check({ service: "t.T" })).status).toBe(NOT_SERVING);
    expect((await health.list({})).statuses["t.T"].status).toBe(NOT_SERVING);
    reasons.pop();
    const unknown = await health.check({ service: "no.Such" }).catch((thrown: unknown) => thrown);
    expect(unknown).toBeInstanceOf(ConnectError);
    expect(unknown.code).toBe(Code.NotFound);
  });

  test("watch tells each change, the drain at once", async () => {
    const health: Any = createClient(healthFile().services[0]!, transport());
    const stop = new AbortController();
    const unknown = health.watch({ service: "no.Such" }, { signal: stop.signal })[Symbol.asyncIterator]();
    expect((await unknown.next()).value.status).toBe(SERVICE_UNKNOWN);
    stop.abort();
    const own = createCore(suiteService(new Control()), { store: memoryStore(), drainMs: 0 });
    await own.start();
    const other = await grpcListener({
      hostname: "127.0.0.1",
      port: 0,
      handlers: rpcHandlers(own, describeProto(own.contract)),
      limits: own.limits,
    });
    const watched: Any = createClient(healthFile().services[0]!, createGrpcTransport({ baseUrl: other.url }));
    const watch = watched.watch({ service: "" })[Symbol.asyncIterator]();
    expect((await watch.next()).value.status).toBe(SERVING);
    const draining = own.drain();
    expect((await watch.next()).value.status).toBe(NOT_SERVING);
    const end = await watch.next().catch((thrown: unknown) => thrown);
    expect((end as ConnectError).code).toBe(Code.Unavailable);
    await draining;
    await other.stop();
  });
});

describe("reflection", () => {
  for (const file of reflectionFiles()) {
    test(`${file.proto.package}: lists, and gives files with all that they import`, async () => {
      const reflection: Any = createClient(file.services[0]!, transport());
      const asks = [
        { case: "listServices", value: "" },
        { case: "fileContainingSymbol", value: "t.T.Double" },
        { case: "fileContainingSymbol", value: "t.DoubleRequest.n" },
        { case: "fileByFilename", value: "backtalk/v1/backtalk.proto" },
        { case: "fileContainingSymbol", value: "google.rpc.BadRequest.FieldViolation" },
        { case: "fileContainingSymbol", value: "no.Such" },
        { case: "allExtensionNumbersOfType", value: "t.DoubleRequest" },
        { case: "fileContainingExtension", value: { containingType: "t.DoubleRequest", extensionNumber: 7 } },
        { case: undefined },
      ];
      const answers: Any[] = [];
      const input = (async function* () {
        for (const messageRequest of asks) yield { host: "h", messageRequest };
      })();
      for await (const answer of reflection.serverReflectionInfo(input)) answers.push(answer.messageResponse);
      expect(answers).toHaveLength(asks.length);
      const services = answers[0].value.service.map(({ name }: { name: string }) => name);
      expect(services).toContain("t.T");
      for (const n of [1, 2, 3, 4]) {
        const files = answers[n].value.fileDescriptorProto.map((bytes: Uint8Array) =>
          fromBinary(FileDescriptorProtoSchema, bytes),
        );
        const set = { $typeName: "google.protobuf.FileDescriptorSet", file: [...files].reverse() } as never;
        expect([...createFileRegistry(set).files].length).toBe(files.length);
      }
      expect(answers[5]).toMatchObject({ case: "errorResponse", value: { errorCode: Code.NotFound } });
      expect(answers[6]).toMatchObject({
        case: "allExtensionNumbersResponse",
        value: { baseTypeName: "t.DoubleRequest" },
      });
      expect(answers[7].value.errorCode).toBe(Code.NotFound);
      expect(answers[8].value.errorCode).toBe(Code.InvalidArgument);
    });
  }

  test("Describe gives the same in one answer, without credentials", async () => {
    const backtalk: Any = createClient(builtinService, transport());
    const { fileDescriptorSet } = (await backtalk.describe({})) as Message & { fileDescriptorSet: Uint8Array };
    const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, fileDescriptorSet));
    expect(registry.getService("t.T")!.methods.length).toBeGreaterThan(10);
    expect(registry.getService("backtalk.v1.Backtalk")!.methods.map(({ name }) => name)).toEqual(
      builtinService.methods.map(({ name }) => name),
    );
  });
});
