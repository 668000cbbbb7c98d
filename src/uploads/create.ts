/** Making uploads: resumable ones, and those whose bytes come with the request that makes them. */
import { UNKNOWN_TYPE } from "../contract/media.ts";
import { senderOf } from "../contract/sender.ts";
import { Fault } from "../log/index.ts";
import type { Source } from "./append.ts";
import type { Ask, Serving } from "./ask.ts";
import type { Entry } from "./entry.ts";
import { complete } from "./finish.ts";
import { known } from "./known.ts";
import type { UploadTarget } from "./record.ts";
import { type NewUpload, Uploads } from "./store.ts";
import { checkAnnounced, optionsOf, permit } from "./target.ts";

/** An upload for no call yet. @throws Fault `permission_denied` to who may call no method that takes one */
export async function free(serving: Serving, ask: Ask): Promise<undefined> {
  await permit(serving, ask.principal, serving.takers.keys());
  return undefined;
}

/** How a caller's key tells its uploads from those of other keys. */
export function nameOf(ask: Ask, target: Omit<UploadTarget, "key"> | undefined, isOnly: boolean, key: string): string {
  const what = target === undefined ? "uploads" : isOnly ? target.method : `${target.method}#${target.member}`;
  return Uploads.idOf(ask.principal.id, what, key);
}

/** The same key and the same request: what is there (`known` first, for what no longer counts). @throws Fault `invalid_argument` when it was another request */
export function existing(serving: Serving, ask: Ask, id: string, draft: Draft): Entry | undefined {
  const entry = serving.uploads.get(id, ask.principal.id);
  if (!entry) return undefined;
  const { record } = entry;
  const isSame =
    JSON.stringify(record.target) === JSON.stringify(draft.target) &&
    (draft.length === undefined || record.length === undefined || record.length === draft.length);
  if (!isSame) throw reused();
  return entry;
}

/** What a request says of an upload, without whose it is. */
type Draft = Omit<NewUpload, "owner" | "sender">;

/** @throws Fault when it will not do, or there is no room */
export async function create(serving: Serving, ask: Ask, draft: Draft, id?: string): Promise<Entry> {
  const { type, ...rest } = draft;
  const { target, length } = rest;
  // This says only that nobody knows: then the bytes may.
  const declared = type === UNKNOWN_TYPE ? undefined : type;
  checkAnnounced(optionsOf(serving, target), target?.member ?? "", { size: length, type: declared });
  const { principal, address } = ask;
  const upload = {
    ...rest,
    ...(declared !== undefined && { type: declared }),
    owner: principal.id,
    ...(principal.id === "" && address !== undefined && { sender: senderOf(address) }),
  };
  return await serving.uploads.create(upload, id);
}

/**
 * An upload whose bytes come now or never: what breaks off is removed.
 * @param isNamed whether `id` comes of the caller's key: then the same bytes are the same upload
 */
export async function receive(
  serving: Serving,
  ask: Ask,
  source: Source | undefined,
  draft: Omit<Draft, "isOneShot">,
  id: string | undefined,
  isNamed: boolean,
): Promise<Entry> {
  const { uploads } = serving;
  // A name may be taken already: which bytes it stands for is known when they are here.
  const entry = await create(serving, ask, { ...draft, isOneShot: true }, isNamed ? undefined : id);
  try {
    const claim = await entry.claim();
    try {
      await uploads.append(entry, source, { claim, maxBytes: optionsOf(serving, draft.target)?.maxBytes });
      await complete(serving, ask, entry);
    } finally {
      claim.release();
    }
    return isNamed ? await named(serving, ask, entry, id!) : entry;
  } catch (thrown) {
    await uploads.remove(entry);
    throw thrown;
  }
}

async function named(serving: Serving, ask: Ask, entry: Entry, name: string): Promise<Entry> {
  const { uploads } = serving;
  await known(serving, name, ask.principal);
  const other = uploads.get(name, ask.principal.id);
  if (!other) return await uploads.renamed(entry, { ...entry.record, id: name, isNamed: true });
  await uploads.remove(entry);
  // Its files may be getting this name right now.
  (await other.claim()).release();
  const isSame = other.isComplete && other.record.sha256 === entry.record.sha256;
  if (isSame && JSON.stringify(other.record.target) === JSON.stringify(entry.record.target)) return other;
  throw reused();
}

function reused(): Fault {
  return new Fault("invalid_argument", "the key was used with other bytes or another input", {
    detail: { key: "reused" },
    hint: "give each upload a key of its own",
  });
}
