/**
 * Files as the input of a method. The caller sends the bytes first, by an address of their own and resumable, or
 * together with the call; the input has their name, `uploads/ID`, and the handler gets an `Upload`.
 */
import type { StandardJSONSchemaV1, StandardSchemaV1 } from "@standard-schema/spec";
import { Fault } from "../log/fault.ts";
import { HEAD_BYTES, isTypeOf, typeOf } from "./media.ts";
import type { AnySchema, InputOf, OutputOf } from "./schema.ts";

/** What a handler gets. It can be read as often as is wanted, until the call has ended. */
export interface Upload {
  /** Empty for one that was sent in the input itself. */
  readonly id: string;
  /** Bytes. */
  readonly size: number;
  /** Media type, such as `image/jpeg`: as declared, and not contradicted by the first bytes. */
  readonly type: string;
  /** What the caller calls it: for people. Never a path to write to. */
  readonly name: string | undefined;
  /** In hexadecimal; of one that was sent in the input itself undefined. */
  readonly sha256: string | undefined;
  stream(): ReadableStream<Uint8Array<ArrayBuffer>>;
  /** All of it. @param limit most bytes (default 64 MiB) @throws Fault `resource_exhausted` when it is larger */
  bytes(limit?: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** What a caller gives: `uploads/ID`; base64, where the method takes it; a Blob, through the layer of `backtalk/upload`. */
export type UploadInput = string | Blob;

export interface UploadOptions {
  /** Media types that are taken, such as `image/jpeg` or `image/*` (default any). */
  readonly types?: readonly string[];
  /** Most bytes (default: the server's limit `uploadBytes`). */
  readonly maxBytes?: number;
  /** Whether a small file may also be in the input itself, as base64 (default false). */
  readonly inline?: boolean;
  readonly description?: string;
}

/** A Standard Schema: `input: upload(...)` for a method that takes a file and nothing else. */
export type UploadSchema = StandardSchemaV1<UploadInput, Upload> & UploadMembers;

/** The uploads of an input by their member; under "" when the whole input is one. */
export interface UploadMembers {
  readonly uploads: Readonly<Record<string, UploadOptions>>;
}

type WithUpload<S extends AnySchema, U extends Record<string, UploadSchema>> = StandardSchemaV1<
  Omit<InputOf<S>, keyof U> & { readonly [K in keyof U]: UploadInput },
  Omit<OutputOf<S>, keyof U> & { readonly [K in keyof U]: Upload }
> &
  UploadMembers;

const MiB = 1024 * 1024;
/** `uploads/` and an id: never a multiple of four characters, so it cannot be taken for base64. */
export const UPLOAD_NAME: RegExp = /^uploads\/(u[0-9a-z]{26})$/;

/** A file. @throws Fault `invalid_argument` for options that make no sense */
export function upload(options: UploadOptions = {}): UploadSchema {
  for (const type of options.types ?? []) {
    if (/^[\w!#$&^.+-]+\/([\w!#$&^.+-]+|\*)$/.test(type) && type === type.toLowerCase()) continue;
    throw new Fault("invalid_argument", `not a media type: ${JSON.stringify(type)}`, {
      hint: "such as image/jpeg or image/*",
    });
  }
  const { maxBytes } = options;
  if (maxBytes !== undefined && !(Number.isSafeInteger(maxBytes) && maxBytes > 0)) {
    throw new Fault("invalid_argument", "maxBytes of an upload is a whole number above 0");
  }
  const json = () => jsonSchemaOf(options);
  return {
    uploads: { "": options },
    "~standard": {
      version: 1,
      vendor: "backtalk",
      validate: (value: unknown) => read(options, value),
      jsonSchema: { input: json, output: json },
    } as UploadSchema["~standard"] & StandardJSONSchemaV1.Props,
  };
}

/**
 * An object with files: `withUpload(z.object({ width: z.int() }), { image: upload() })`. What is no upload is left
 * to the schema, of whatever library.
 */
export function withUpload<S extends AnySchema, U extends Record<string, UploadSchema>>(
  rest: S,
  uploads: U,
): WithUpload<S, U> {
  const members = Object.entries(uploads);
  const validate = (value: unknown): StandardSchemaV1.Result<unknown> | Promise<StandardSchemaV1.Result<unknown>> => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return { issues: [{ message: "must be an object" }] };
    }
    const others: Record<string, unknown> = { ...value };
    const files: Record<string, unknown> = {};
    const issues: StandardSchemaV1.Issue[] = [];
    for (const [name, { uploads }] of members) {
      const result = read(uploads[""]!, Object.hasOwn(value, name) ? others[name] : undefined);
      delete others[name];
      if (result.issues) issues.push(...result.issues.map(({ message }) => ({ message, path: [name] })));
      else files[name] = result.value;
    }
    const join = (result: StandardSchemaV1.Result<unknown>): StandardSchemaV1.Result<unknown> => {
      if (result.issues || issues.length > 0) return { issues: [...issues, ...(result.issues ?? [])] };
      return { value: { ...(result.value as object), ...files } };
    };
    const result = rest["~standard"].validate(others);
    return result instanceof Promise ? result.then(join) : join(result);
  };
  const json = (side: "input" | "output") => (options: StandardJSONSchemaV1.Options) => {
    const own = rest["~standard"] as Partial<StandardJSONSchemaV1.Props>;
    const { properties, required, ...other } = own.jsonSchema?.[side](options) ?? { type: "object" };
    const files = Object.fromEntries(members.map(([name, { uploads }]) => [name, jsonSchemaOf(uploads[""]!)]));
    return {
      ...other,
      properties: { ...files, ...(properties as object | undefined) },
      required: [...Object.keys(files), ...((required as readonly string[] | undefined) ?? [])],
    };
  };
  return {
    uploads: Object.fromEntries(members.map(([name, { uploads }]) => [name, uploads[""]!])),
    "~standard": {
      version: 1,
      vendor: "backtalk",
      validate,
      jsonSchema: { input: json("input"), output: json("output") },
    } as WithUpload<S, U>["~standard"] & StandardJSONSchemaV1.Props,
  };
}

/** The uploads that a schema has, by their member. */
export function uploadsOf(schema: AnySchema): Readonly<Record<string, UploadOptions>> | undefined {
  return (schema as Partial<UploadMembers>).uploads;
}

/** What is wrong with a file for these options; undefined when nothing is. */
export function uploadIssue(
  { types, maxBytes }: UploadOptions,
  { size, type }: { readonly size?: number | undefined; readonly type?: string | undefined },
): string | undefined {
  if (maxBytes !== undefined && size !== undefined && size > maxBytes) return `has more than ${maxBytes} bytes`;
  if (type !== undefined && !isTypeOf(types, type)) return `is ${type}, and must be ${types!.join(" or ")}`;
  return undefined;
}

/** Where the bytes of an upload are: given by the server to what validation has left. */
export type UploadSource = Omit<Upload, "id" | "bytes">;

/** The same in every copy of this module, as for faults. */
const BIND = Symbol.for("backtalk.upload.bind");

/** Gives the uploads of a validated input their bytes. `find` may reject with a fault. */
export async function bindUploads(
  input: unknown,
  members: Iterable<string>,
  find: (id: string) => Promise<UploadSource>,
): Promise<void> {
  for (const member of members) {
    const value = member === "" ? input : (input as Record<string, unknown>)[member];
    const bind = (value as Partial<Reference> | undefined)?.[BIND];
    if (bind) bind.call(value as Reference, await find((value as Reference).id));
  }
}

/** An upload by its name, without its bytes until the server has found them. */
class Reference implements Upload {
  readonly id: string;
  #source: UploadSource | undefined;

  constructor(id: string) {
    this.id = id;
  }

  [BIND](source: UploadSource): void {
    this.#source = source;
  }

  get size(): number {
    return this.#found.size;
  }

  get type(): string {
    return this.#found.type;
  }

  get name(): string | undefined {
    return this.#found.name;
  }

  get sha256(): string | undefined {
    return this.#found.sha256;
  }

  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#found.stream();
  }

  async bytes(limit?: number): Promise<Uint8Array<ArrayBuffer>> {
    return await allOf(this, limit);
  }

  get #found(): UploadSource {
    if (this.#source) return this.#source;
    throw new Fault("unimplemented", "uploads are not served here", {
      hint: "`backtalk serve` serves them; a program of one's own gives `uploads(...)` to the parts of its server",
    });
  }
}

/** A small file that came in the input. */
class Inline implements Upload {
  readonly id = "";
  readonly name = undefined;
  readonly sha256 = undefined;
  readonly type: string;
  readonly #bytes: Uint8Array<ArrayBuffer>;

  constructor(type: string, bytes: Uint8Array<ArrayBuffer>) {
    this.type = type;
    this.#bytes = bytes;
  }

  get size(): number {
    return this.#bytes.length;
  }

  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return new Blob([this.#bytes]).stream();
  }

  async bytes(limit?: number): Promise<Uint8Array<ArrayBuffer>> {
    return await allOf(this, limit);
  }
}

async function allOf(upload: Upload, limit = 64 * MiB): Promise<Uint8Array<ArrayBuffer>> {
  if (upload.size > limit) {
    throw new Fault(
      "resource_exhausted",
      `the upload has ${upload.size} bytes, and at most ${limit} are read at once`,
      {
        retryable: false,
        hint: "send a smaller file; a method reads larger ones with `stream`",
      },
    );
  }
  return new Uint8Array(await new Response(upload.stream()).arrayBuffer());
}

function read(options: UploadOptions, value: unknown): StandardSchemaV1.Result<Upload> {
  if (typeof value === "string") {
    const id = UPLOAD_NAME.exec(value)?.[1];
    if (id !== undefined) return { value: new Reference(id) };
    if (options.inline) return readInline(options, value);
  }
  const message = options.inline
    ? 'must be the name of an upload, such as "uploads/ID", or base64'
    : 'must be the name of an upload, such as "uploads/ID"';
  return { issues: [{ message }] };
}

function readInline(options: UploadOptions, base64: string): StandardSchemaV1.Result<Upload> {
  let text: string;
  try {
    if (base64.length % 4 !== 0 || base64 === "") throw new Error();
    text = atob(base64);
  } catch {
    return { issues: [{ message: 'must be base64, or the name of an upload, such as "uploads/ID"' }] };
  }
  const bytes = Uint8Array.from(text, (char) => char.charCodeAt(0));
  const type = typeOf(undefined, bytes.subarray(0, HEAD_BYTES))!;
  const message = uploadIssue(options, { size: bytes.length, type });
  return message === undefined ? { value: new Inline(type, bytes) } : { issues: [{ message }] };
}

/** One plain string in any case: what is made of a schema elsewhere (protobuf, forms) has no alternatives. */
function jsonSchemaOf({ description, types, inline }: UploadOptions): Record<string, unknown> {
  const about =
    description ?? `a file${types ? ` (${types.join(", ")})` : ""}: uploads/ID${inline ? ", or base64" : ""}`;
  return { type: "string", ...(!inline && { pattern: "^uploads/u[0-9a-z]{26}$" }), description: about };
}
