/** The descriptions, as the tools of others see them. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { contractOf as contractOfServices } from "../../cli/pins.ts";
import studio from "../../examples/studio/service.ts";
import { bidi, type Contract, type Service, service, topic, unary } from "../../src/contract/index.ts";
import { asyncapi } from "../../src/describe/asyncapi.ts";
import { openapi } from "../../src/describe/openapi.ts";
import { BACKTALK_FILE, BACKTALK_PROTO, describeProto, draftProto } from "../../src/describe/proto/index.ts";
import { CHANGES } from "../../src/describe/proto/testing/changes.ts";
import { contractOf, method, randomCase } from "../../src/describe/proto/testing/contracts.ts";
import { seeded } from "../../src/wire/seed.ts";
import { Control, suiteService } from "../transport/service.ts";
import { installed } from "./installed.ts";

/** Schemas that contain themselves, definitions, and what Protocol Buffers have no word for. */
function knots(): Service {
  const node: z.ZodType = z.object({
    name: z.string(),
    get children() {
      return z.array(node).optional();
    },
  });
  const photo = z.object({ width: z.int(), "content-type": z.enum(["a", "b"]).nullable() }).meta({ id: "Photo" });
  const anything = z.object({ photo, more: z.array(photo), x: z.unknown(), pair: z.tuple([z.string(), z.number()]) });
  return service("knots", {
    tree: unary({ input: node, output: z.array(node), safe: true }, () => []),
    photo: unary({ input: anything, output: z.record(z.string(), photo) }, () => ({})),
    nothing: unary({ input: z.void(), output: z.void() }, () => undefined),
    grow: bidi({ input: node, item: node, progress: node }, async function* () {}),
    trees: topic({ description: "two\nlines */ and more", event: z.object({ tree: node }) }),
  });
}

const contracts: readonly (readonly [name: string, contract: Contract])[] = [
  ["the studio", contractOfServices([studio])],
  ["the suite's service", contractOfServices([suiteService(new Control())])],
  ["a knotty service", contractOfServices([knots()])],
];
const about = { title: "test", version: "1.0.0" };

const redocly = installed("@redocly/openapi-core");
describe.skipIf(redocly === undefined)("OpenAPI, by @redocly/openapi-core", () => {
  test.each(contracts)(
    "%s",
    async (_, contract) => {
      const { createConfig, lintFromString } = await import(redocly!);
      for (const isAnonymous of [true, false]) {
        const source = JSON.stringify(openapi(contract, { ...about, isAnonymous }));
        const config = await createConfig({ extends: ["spec"] });
        const problems: { message: string; location: { pointer?: string }[] }[] = await lintFromString({
          source,
          config,
        });
        expect(problems.map(({ message, location }) => `${location[0]?.pointer}: ${message}`)).toEqual([]);
      }
    },
    60_000,
  );
});

const parser = installed("@asyncapi/parser");
describe.skipIf(parser === undefined)("AsyncAPI, by @asyncapi/parser", () => {
  test.each(contracts)(
    "%s",
    async (_, contract) => {
      const { Parser } = await import(parser!);
      for (const broker of [undefined, { prefix: "other" }]) {
        const options = { ...about, isAnonymous: broker === undefined, broker };
        const { diagnostics, document } = await new Parser().parse(asyncapi(contract, options));
        const told = diagnostics.filter(({ code }: { code: string }) => code !== "asyncapi-latest-version");
        expect(
          told.map(({ path, message }: { path: string[]; message: string }) => `${path.join("/")}: ${message}`),
        ).toEqual([]);
        expect(document).toBeDefined();
      }
    },
    60_000,
  );
});

const buf = installed("buf");
describe.skipIf(buf === undefined)(".proto, by buf", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "backtalk-buf-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function place(name: string, files: ReadonlyMap<string, string>, more = ""): Promise<string> {
    const directory = join(folder, name);
    mkdirSync(directory, { recursive: true });
    await Bun.write(join(directory, BACKTALK_FILE), BACKTALK_PROTO);
    for (const [service, text] of files) await Bun.write(join(directory, `${service}.proto`), text);
    await Bun.write(join(directory, "buf.yaml"), `version: v2\n${more}`);
    return directory;
  }

  async function run(cwd: string, ...args: readonly string[]): Promise<string> {
    const child = Bun.spawn([buf!, ...args], { cwd, stdout: "pipe", stderr: "pipe" });
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return code === 0 ? out : `${out}${err}` || `exit code ${code}`;
  }

  /**
   * Backtalk's services have the name that their contract has, without `Service` and a version; topics of all
   * services share the messages of `backtalk.v1`, and what is published is what is read.
   */
  const lint = `lint:
  use: [STANDARD]
  except:
    - DIRECTORY_SAME_PACKAGE
    - PACKAGE_DIRECTORY_MATCH
    - PACKAGE_VERSION_SUFFIX
    - RPC_REQUEST_RESPONSE_UNIQUE
    - RPC_REQUEST_STANDARD_NAME
    - RPC_RESPONSE_STANDARD_NAME
    - SERVICE_SUFFIX
`;

  test.each(contracts)(
    "%s: builds, is in the style, and is formatted",
    async (name, contract) => {
      const { files } = describeProto(contract);
      const directory = await place(name.replaceAll(/\W/g, ""), files, lint);
      expect(await run(directory, "build", "-o", "/dev/null")).toBe("");
      expect(await run(directory, "lint")).toBe("");
      expect(await run(directory, "format", "--diff")).toBe("");
    },
    60_000,
  );

  test("descriptors are those that it makes", async () => {
    for (const [name, contract] of contracts) {
      const { files, registry } = describeProto(contract);
      const directory = await place(`d-${name.replaceAll(/\W/g, "")}`, files);
      const set = join(directory, "set.json");
      expect(await run(directory, "build", "--as-file-descriptor-set", "--exclude-source-info", "-o", set)).toBe("");
      const { file } = (await Bun.file(set).json()) as { file: { name: string }[] };
      const { toJson } = await import("@bufbuild/protobuf");
      const { FileDescriptorProtoSchema } = await import("@bufbuild/protobuf/wkt");
      for (const each of registry.files) {
        if (each.name.startsWith("google/")) continue;
        const theirs = file.find((other) => other.name === `${each.name}.proto`);
        expect(toJson(FileDescriptorProtoSchema, each.proto) as object).toEqual(theirs as object);
      }
    }
  }, 60_000);

  test("whatever the schema, the text is right", async () => {
    const files = new Map<string, string>();
    for (let seed = 1; seed <= 60; seed++) {
      const { schema } = randomCase(seeded(seed));
      const name = `s${seed}`;
      const members = { m: method(schema, schema), n: method(schema, schema, "bidi") };
      files.set(name, describeProto(contractOf(name, members)).files.get(name)!);
    }
    const directory = await place("random", files);
    expect(await run(directory, "build", "-o", "/dev/null")).toBe("");
    expect(await run(directory, "format", "--diff")).toBe("");
  }, 60_000);

  test("whatever the names", async () => {
    const names = ["message", "google", "string", "rpc", "stream", "reserved", "Upper", "x_y", "a1b", "v1", "syntax"];
    const files = new Map<string, string>();
    for (const name of names) {
      const object = { type: "object", properties: Object.fromEntries(names.map((each) => [each, {}])) };
      const inner = {
        type: "object",
        properties: { ...object.properties, inner: object, list: { type: "array", items: object } },
      };
      const members = Object.fromEntries(names.map((each) => [each, method(inner, { ...inner, title: each })]));
      files.set(name, describeProto(contractOf(name, members)).files.get(name)!);
    }
    const directory = await place("names", files);
    expect(await run(directory, "build", "-o", "/dev/null")).toBe("");
  }, 60_000);

  test("breaking changes are those that it sees, and those that only callers feel", async () => {
    const wrong: string[] = [];
    for (const [index, { name, before, after, breaks, bufDiffers }] of CHANGES.entries()) {
      const pins = describeProto(contractOf("s", before)).files;
      const { text } = draftProto(contractOf("s", after), pins).get("s")!;
      const old = await place(`before${index}`, pins);
      const now = await place(
        `after${index}`,
        new Map([["s", text]]),
        "breaking:\n  use: [WIRE_JSON, RPC_NO_DELETE]\n",
      );
      const told = await run(now, "breaking", "--against", old);
      const agrees = (told !== "") === (breaks !== undefined);
      if (agrees !== (bufDiffers === undefined)) wrong.push(`${name}: ours ${breaks ?? "none"}; buf ${told || "none"}`);
    }
    expect(wrong).toEqual([]);
  }, 120_000);
});
