/** The methods that take uploads: their handlers get them bound to bytes, and their calls are checked before they are opened. */
import {
  bindUploads,
  type Call,
  type Exchange,
  type HandlerCall,
  jsonSchema,
  type Layer,
  type Member,
  type Method,
  type Service,
  UPLOAD_NAME,
  type UploadOptions,
  type UploadSource,
  uploadIssue,
  uploadsOf,
} from "../contract/index.ts";
import { Fault, type FieldFault } from "../log/index.ts";
import type { Entry } from "./entry.ts";
import type { Uploads } from "./store.ts";

// biome-ignore lint/suspicious/noExplicitAny: services of all types
export type AnyService = Service<string, any>;

export interface Taker {
  readonly name: string;
  readonly method: Method;
  /** By member; "" for the whole input. */
  readonly uploads: Readonly<Record<string, UploadOptions>>;
  /** Members that are text and nothing else: in a form they stand as they are. */
  readonly texts: ReadonlySet<string>;
}

/** @throws Fault for a method that takes uploads in the items of a stream */
export function takersOf(services: readonly AnyService[]): Map<string, Taker> {
  const takers = new Map<string, Taker>();
  for (const { name: service, members } of services) {
    for (const [key, member] of Object.entries(members as Record<string, Member>)) {
      if (member.type !== "method") continue;
      const uploads = uploadsOf(member.input);
      if (!uploads) continue;
      const name = `${service}/${key}`;
      if (member.kind !== "unary" && member.kind !== "serverStream") {
        throw new Fault("invalid_argument", `${name} takes a stream of items: they cannot be uploads`, {
          hint: "take the upload as the input of a unary or server-streaming method",
        });
      }
      takers.set(name, { name, method: member, uploads, texts: textsOf(jsonSchema(member.input, "input")) });
    }
  }
  return takers;
}

function textsOf({ properties = {} }: { readonly properties?: object }): ReadonlySet<string> {
  const isText = (schema: { readonly type?: unknown } | null) => schema?.type === "string";
  return new Set(Object.entries(properties).flatMap(([name, schema]) => (isText(schema) ? [name] : [])));
}

/** The same services, whose handlers get uploads that can be read. */
export function bound(services: readonly AnyService[], uploads: () => Uploads): AnyService[] {
  return services.map((service) => ({
    ...service,
    members: Object.fromEntries(
      Object.entries(service.members as Record<string, Member>).map(([key, member]) => [
        key,
        member.type === "method" && uploadsOf(member.input) ? boundMethod(member, uploads) : member,
      ]),
    ),
  }));
}

function boundMethod(method: Method, uploads: () => Uploads): Method {
  const members = Object.keys(uploadsOf(method.input)!);
  const bind = async (input: unknown, call: HandlerCall): Promise<() => Promise<void>> => {
    const releases: (() => Promise<void>)[] = [];
    const release = async () => {
      for (const each of releases.splice(0)) await each();
    };
    try {
      const store = uploads();
      await store.ready();
      await bindUploads(input, members, async (id) => {
        const entry = store.get(id, call.principal.id);
        if (!entry?.isComplete || entry.record.spent !== undefined) {
          throw new Fault("failed_precondition", "an upload of the input is gone", { hint: "upload it again" });
        }
        releases.push(store.hold(entry));
        return sourceOf(store, entry);
      });
      return release;
    } catch (thrown) {
      await release();
      throw thrown;
    }
  };
  const { handler } = method;
  if (method.kind === "unary") {
    return {
      ...method,
      handler: async (input, call) => {
        const release = await bind(input, call);
        try {
          return await handler(input, call);
        } finally {
          await release();
        }
      },
    };
  }
  return {
    ...method,
    handler: async function* (input, call) {
      const release = await bind(input, call);
      try {
        yield* handler(input, call) as AsyncIterable<unknown>;
      } finally {
        await release();
      }
    },
  };
}

function sourceOf(store: Uploads, entry: Entry): UploadSource {
  const { type, name, sha256 } = entry.record;
  return {
    size: entry.size,
    type: type!,
    name,
    sha256,
    stream: () => Bun.file(store.path(entry)).stream() as ReadableStream<Uint8Array<ArrayBuffer>>,
  };
}

/** Checks the uploads of an input before its call is opened, and knows which call has them. */
export function uploadLayer(
  takers: ReadonlyMap<string, Taker>,
  uploads: () => Uploads,
  isClosing: () => boolean,
): Layer {
  return (next) => (call) => {
    const taker = takers.get(call.to);
    return taker ? checked(taker, call) : next(call);

    async function checked(taker: Taker, call: Call): Promise<Exchange> {
      const store = uploads();
      await store.ready();
      const entries = entriesOf(store, taker, call);
      const exchange = await next(call);
      if (exchange.id !== undefined) for (const entry of entries) await used(store, entry, call, exchange, isClosing);
      return exchange;
    }
  };
}

/** @throws Fault `invalid_argument` with each member that is not right */
function entriesOf(store: Uploads, { uploads }: Taker, call: Call): Entry[] {
  const entries: Entry[] = [];
  const fields: FieldFault[] = [];
  for (const [member, options] of Object.entries(uploads)) {
    const value = member === "" ? call.input : (call.input as Record<string, unknown> | null | undefined)?.[member];
    const id = typeof value === "string" ? UPLOAD_NAME.exec(value)?.[1] : undefined;
    // What is no name of an upload is left to the schema.
    if (id === undefined) continue;
    const entry = store.get(id, call.principal.id);
    const message = issueOf(entry, options, call);
    if (message !== undefined) fields.push({ path: member, message });
    else entries.push(entry!);
  }
  const [first] = fields;
  if (!first) return entries;
  throw new Fault("invalid_argument", `the input is not valid: ${first.path || "the upload"}: ${first.message}`, {
    fields,
    hint: "HEAD /uploads/ID tells how far an upload is",
  });
}

function issueOf(entry: Entry | undefined, options: UploadOptions, call: Call): string | undefined {
  if (!entry) return "there is no such upload";
  const { record } = entry;
  if (!entry.isComplete) {
    return `is not complete: ${entry.offset}${record.length === undefined ? "" : ` of ${record.length}`} bytes are there`;
  }
  if (record.target && !isItsCall(entry, call)) return "is for another call";
  if (record.spent !== undefined) return undefined;
  return uploadIssue(options, { size: entry.size, type: record.type });
}

function isItsCall({ record: { target } }: Entry, call: Call): boolean {
  return target !== undefined && target.method === call.to && target.key === call.key;
}

/** From here on the upload stays until the call has ended. */
export async function used(
  store: Uploads,
  entry: Entry,
  call: Call,
  exchange: Exchange,
  isClosing: () => boolean,
): Promise<void> {
  const { record } = entry;
  const id = exchange.id!;
  if (isItsCall(entry, call)) record.call = id;
  if (record.spent !== undefined || record.calls?.includes(id)) return;
  record.calls = [...(record.calls ?? []), id];
  await store.save(entry);
  void watch(store, entry, exchange, isClosing);
}

/** Waits for the end of a call that has the upload. */
export async function watch(store: Uploads, entry: Entry, exchange: Exchange, isClosing: () => boolean): Promise<void> {
  try {
    await exchange.result();
  } catch {
    // A fault is an end too; but a call that was left to the next process has none yet.
    if (isClosing()) return;
  }
  await ended(store, entry, exchange.id!).catch(() => {});
}

export async function ended(store: Uploads, entry: Entry, id: string): Promise<void> {
  const { record } = entry;
  record.calls = (record.calls ?? []).filter((each) => each !== id);
  if (record.target && record.call === id) await store.spend(entry);
  else await store.save(entry);
}
