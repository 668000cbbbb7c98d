import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { faultOf } from "../../suites/transport/world.ts";
import {
  type InputOf,
  jsonSchema,
  type OutputOf,
  type Upload,
  upload,
  uploadIssue,
  validate,
  withUpload,
} from "./index.ts";
import { isTypeOf, mediaType, typeOf } from "./media.ts";

const NAME = `uploads/u${"0".repeat(26)}`;
const schema = withUpload(z.strictObject({ width: z.int().default(3), tags: z.array(z.string()).optional() }), {
  image: upload({ types: ["image/*"], maxBytes: 100 }),
  small: upload({ inline: true }),
});

describe("withUpload", () => {
  test("gives files and the rest, with their types", () => {
    const input: InputOf<typeof schema> = { image: NAME, small: btoa("abcdef") };
    const output = validate(schema, input, "input") as OutputOf<typeof schema>;
    const image: Upload = output.image;
    const width: number = output.width;
    expect([image.id, width, output.small.size]).toEqual([NAME.slice(8), 3, 6]);
    // @ts-expect-error a width is a number
    const wrong: InputOf<typeof schema> = { image: NAME, small: "", width: "3" };
    expect(() => validate(schema, wrong, "input")).toThrow();
  });

  test("says each thing that is wrong, of files and of the rest", async () => {
    const fault = await faultOf(() => validate(schema, { image: 5, width: "x", more: 1 }, "input"), "invalid_argument");
    expect(fault.fields!.map(({ path }) => path).sort()).toEqual(["", "image", "small", "width"]);
    for (const input of [null, [], "x", 5]) await faultOf(() => validate(schema, input, "input"), "invalid_argument");
  });

  test("has one JSON schema", () => {
    const json = jsonSchema(schema, "input") as { properties: Record<string, { type: string }>; required: string[] };
    expect(Object.keys(json.properties).sort()).toEqual(["image", "small", "tags", "width"]);
    expect(json.required).toEqual(["image", "small"]);
    expect(json.properties["image"]).toMatchObject({ type: "string", pattern: "^uploads/u[0-9a-z]{26}$" });
    expect(jsonSchema(upload(), "input")).toMatchObject({ type: "string" });
  });

  test("leaves an asynchronous schema so", async () => {
    const slow = withUpload(z.object({ n: z.int().refine(async (n) => n > 1) }), { file: upload() });
    expect(await validate(slow, { n: 2, file: NAME }, "input")).toMatchObject({ n: 2 });
    expect((await faultOf(async () => validate(slow, { n: 0, file: "x" }, "input"))).fields).toHaveLength(2);
  });
});

describe("upload", () => {
  test("a name is never base64, and base64 never a name", async () => {
    const inline = upload({ inline: true, types: ["text/plain", "application/octet-stream"], maxBytes: 5 });
    expect(NAME.length % 4).not.toBe(0);
    expect((validate(inline, NAME, "input") as Upload).id).toBe(NAME.slice(8));
    const small = validate(inline, btoa("abc"), "input") as Upload;
    expect(await new Response(small.stream()).text()).toBe("abc");
    await faultOf(() => small.bytes(2), "resource_exhausted");
    for (const text of ["", "a", "====", "uploads/x", "ä", btoa("123456"), btoa("%PDF-")]) {
      await faultOf(() => validate(inline, text, "input"), "invalid_argument");
    }
  });

  test("without a server that has uploads, its bytes are not there, and it says why", async () => {
    const reference = validate(upload(), NAME, "input") as Upload;
    const fault = await faultOf(() => reference.bytes(), "unimplemented");
    expect(fault.hint).toContain("uploads");
  });

  test("options that make no sense", async () => {
    for (const options of [{ types: ["jpeg"] }, { types: ["Image/JPEG"] }, { maxBytes: 0 }, { maxBytes: 1.5 }]) {
      await faultOf(() => upload(options), "invalid_argument");
    }
    expect(uploadIssue({ maxBytes: 5 }, { size: 6 })).toContain("5 bytes");
    expect(uploadIssue({ types: ["image/*"] }, { type: "image/png", size: 6 })).toBeUndefined();
  });
});

describe("types", () => {
  const bytes = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

  test("what is declared counts, unless the bytes are not that", () => {
    const cases: readonly [string | undefined, string, string | undefined][] = [
      [undefined, "\xff\xd8\xff\xe0", "image/jpeg"],
      ["application/octet-stream", "%PDF-1.7", "application/pdf"],
      [undefined, "hello", "application/octet-stream"],
      [undefined, "", "application/octet-stream"],
      ["image/jpeg", "\xff\xd8\xff\xdb", "image/jpeg"],
      ["image/jpeg", "\x89PNG\r\n\x1a\n", undefined],
      ["image/png", "", undefined],
      ["text/html", "\x89PNG\r\n\x1a\n", "text/html"],
      ["image/webp", "RIFF0000WEBP", "image/webp"],
      ["image/webp", "RIFF0000WAVE", undefined],
      ["image/avif", "\0\0\0\x1cftypavif", "image/avif"],
      ["video/mp4", "\0\0\0\x1cftypisom", "video/mp4"],
      ["audio/mpeg", "\xff\xfb", "audio/mpeg"],
    ];
    for (const [declared, head, type] of cases)
      expect([declared, head, typeOf(declared, bytes(head))]).toEqual([declared, head, type]);
  });

  test("are read without their parameters", () => {
    expect(mediaType("Text/Plain; charset=utf-8")).toBe("text/plain");
    for (const header of [null, undefined, "", "text", "a/b/c", "a /b", "..x"])
      expect(mediaType(header)).toBeUndefined();
    expect([
      isTypeOf(["image/*"], "image/png"),
      isTypeOf(["image/*"], "imagex/png"),
      isTypeOf(undefined, "a/b"),
    ]).toEqual([true, false, true]);
  });
});
