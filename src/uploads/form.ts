/** `multipart/form-data` (RFC 7578) as it comes: files are handed on in pieces, other parts are small and kept. */
import { Readable } from "node:stream";
import { Busboy } from "@fastify/busboy";
import type { Limits } from "../contract/index.ts";
import { mediaType } from "../contract/media.ts";
import { Fault, toFault } from "../log/index.ts";
import type { Source } from "./append.ts";
import { brokenOff } from "./faults.ts";
import { nameOf } from "./fields.ts";
import type { Taker } from "./takers.ts";
import { parseInput } from "./target.ts";

export interface FilePart {
  /** The part's name: undefined when the whole input is the file, whatever the part is called. */
  readonly member: string | undefined;
  readonly type: string | undefined;
  readonly name: string | undefined;
  readonly source: Source;
}

/** @returns the parts that are no files, as the rest of an input. @throws Fault, also what `take` throws */
export async function readForm(
  request: Request,
  { uploads, texts }: Taker,
  { itemBytes, jsonDepth }: Limits,
  take: (part: FilePart) => Promise<void>,
): Promise<Record<string, unknown>> {
  const isWhole = Object.hasOwn(uploads, "");
  const input: Record<string, unknown> = {};
  let rest: Record<string, unknown> = {};
  const body = request.body === null ? Readable.from([]) : Readable.fromWeb(request.body as never);
  let taking: Promise<unknown> = Promise.resolve();
  let file: Readable | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const form = makeForm(request, Object.keys(uploads), itemBytes);
      const fail = (thrown: unknown): void => reject(thrown);
      form.on("file", (field, stream, filename, _encoding, type) => {
        file = stream;
        // Whoever reads it hears of an error; without a listener it would end the process.
        stream.on("error", () => {});
        // One after the other, as they come: the next part waits in the connection.
        taking = taking.then(() =>
          take({
            member: isWhole ? undefined : field,
            // Some clients say this of what they do not know.
            type: mediaType(type),
            name: nameOf(filename),
            source: sourceOf(stream),
          }),
        );
        taking.catch(fail);
      });
      form.on("field", (field, text, _name, isTruncated, _encoding, type) => {
        try {
          if (isTruncated) throw tooLong(field, itemBytes);
          if (field === "input") rest = parseInput(text, jsonDepth);
          else if (field !== "__proto__") {
            const isText = texts.has(field) && mediaType(type) !== "application/json";
            input[field] = isText ? text : jsonOrText(text);
          }
        } catch (thrown) {
          fail(thrown);
        }
      });
      for (const limit of ["fieldsLimit", "filesLimit", "partsLimit"] as const) {
        form.on(limit, () => fail(new Fault("invalid_argument", `the form has more than ${PARTS} parts`)));
      }
      form.on("error", (error) => fail(badForm(error)));
      form.on("finish", () => taking.then(() => resolve(), fail));
      body.on("error", () => fail(brokenOff()));
      body.on("close", () => {
        if (!body.readableEnded) fail(brokenOff());
      });
      body.pipe(form);
    });
  } catch (thrown) {
    body.destroy();
    // The form's reader does not tell its files that the body has ended.
    file?.destroy(brokenOff());
    // What is still written is removed by whoever takes the parts, once it has heard of the end.
    await taking.catch(() => {});
    throw toFault(thrown);
  }
  return { ...rest, ...input };
}

/** More parts than any input has members. */
const PARTS = 256;

function makeForm(request: Request, members: readonly string[], fieldSize: number) {
  const type = request.headers.get("content-type")!;
  try {
    return new Busboy({
      headers: { "content-type": type },
      isPartAFile: (field, _type, filename) => filename !== undefined || members.includes(field ?? ""),
      limits: {
        fieldNameSize: 256,
        fieldSize,
        fields: PARTS,
        files: PARTS,
        parts: PARTS,
        headerPairs: 32,
        headerSize: 8192,
      },
    });
  } catch (thrown) {
    throw badForm(thrown);
  }
}

function sourceOf(stream: Readable): Source {
  const pieces = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  return {
    read: async () => {
      const { done, value } = await pieces.next();
      return { done: done === true, value: value as Uint8Array | undefined };
    },
    cancel: async () => {
      stream.destroy();
    },
  };
}

/** Text that is JSON is that value; any other is text. */
function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function badForm(cause: unknown): Fault {
  return new Fault("invalid_argument", `the form cannot be read: ${(cause as Error).message}`, {
    hint: "send multipart/form-data with its boundary, as curl -F does",
    cause,
  });
}

function tooLong(field: string, itemBytes: number): Fault {
  return new Fault("resource_exhausted", `the part ${field} has more than ${itemBytes} bytes`, {
    limit: "itemBytes",
    retryable: false,
  });
}
