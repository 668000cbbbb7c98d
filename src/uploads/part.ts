/** Uploads as a part of a server (PROTOCOL.md §7): `uploads({ directory })` in the parts of `startServer`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { CALLS, type Call, type Host, type Layer, uploadIssue } from "../contract/index.ts";
import { Fault, toFault } from "../log/index.ts";
import type { Mount } from "../net/mount.ts";
import type { Serving } from "./ask.ts";
import type { Entry } from "./entry.ts";
import { uploadMount } from "./mount.ts";
import { Uploads } from "./store.ts";
import { type AnyService, bound, type Taker, takersOf, uploadLayer, used, watch } from "./takers.ts";

export interface UploadsOptions {
  /** Where the bytes are kept; one server for each. Without it a temporary one, which is removed at the end. */
  readonly directory?: string | undefined;
  /** How often is looked for what has expired, in milliseconds (default 30 s). */
  readonly everyMs?: number;
  readonly now?: () => number;
  /** Told of what goes wrong where nobody waits for an answer. */
  readonly onError?: (error: unknown) => void;
}

export interface UploadsPart {
  services(services: readonly AnyService[]): readonly AnyService[];
  readonly layer: Layer;
  mounts(host: Host): readonly Mount[];
  start(host: Host): Promise<{
    readonly addresses: readonly [];
    stop(): Promise<void>;
  }>;
}

/** Does nothing for services whose methods take no uploads. */
export function uploads({ directory, everyMs = 30_000, now, onError = () => {} }: UploadsOptions = {}): UploadsPart {
  let takers: Map<string, Taker> = new Map();
  let store: Uploads | undefined;
  let isClosing = false;
  let temporary: string | undefined;
  const storeOf = (): Uploads => {
    if (store) return store;
    throw new Fault("unimplemented", "uploads are not served yet");
  };
  const closing = () => isClosing;
  return {
    services(services) {
      takers = takersOf(services);
      return takers.size === 0 ? services : bound(services, storeOf);
    },
    layer: (next) => {
      if (takers.size === 0) return next;
      return uploadLayer(takers, storeOf, closing)(next);
    },
    mounts(host) {
      if (takers.size === 0) return [];
      if (directory === undefined) temporary = mkdtempSync(join(tmpdir(), "backtalk-uploads-"));
      store = new Uploads(temporary ?? resolve(directory!), host.limits, now ?? host.now);
      host.draining.addEventListener("abort", () => {
        isClosing = true;
      });
      return [uploadMount({ host, uploads: store, takers, onError })];
    },
    async start(host) {
      if (!store) return { addresses: [], stop: async () => {} };
      const uploads = store;
      await uploads.ready();
      const serving = { host, uploads, takers, onError };
      let soon: ReturnType<typeof setTimeout> | undefined;
      // A client that asks how far it came holds its upload for a moment.
      const due = async () => {
        if ((await callDue(serving, closing)) || closing()) return;
        clearTimeout(soon);
        soon = setTimeout(() => void due().catch(onError), SOON_MS);
        soon.unref?.();
      };
      await goOn(serving, closing);
      await due();
      const timer = setInterval(() => void uploads.sweep().then(due).catch(onError), everyMs);
      timer.unref?.();
      return {
        addresses: [],
        async stop() {
          isClosing = true;
          clearInterval(timer);
          clearTimeout(soon);
          await uploads.close();
          if (temporary !== undefined) rmSync(temporary, { recursive: true, force: true });
        },
      };
    },
  };
}

/** What an earlier process has left: calls that use uploads, and uploads whose call was not made yet. */
async function goOn(serving: Serving, isClosing: () => boolean): Promise<void> {
  const { uploads, onError } = serving;
  for (const entry of uploads.entries()) {
    const { record } = entry;
    try {
      if (record.calls?.length) for (const id of record.calls) await attach(serving, entry, id, isClosing);
      else if (record.call !== undefined) await uploads.spend(entry);
      else if (entry.isComplete && record.isOneShot) await uploads.remove(entry);
    } catch (thrown) {
      onError(thrown);
    }
  }
}

const SOON_MS = 250;

/**
 * Makes the calls of uploads that are complete: the server ended before it could, or had no room for the call.
 * Returns whether that is all: not when somebody holds an upload that has all its bytes.
 */
async function callDue(serving: Serving, isClosing: () => boolean): Promise<boolean> {
  const { uploads, takers, onError } = serving;
  let isAll = true;
  for (const entry of uploads.entries()) {
    const { record } = entry;
    if (!record.target || record.isOneShot || record.call !== undefined || entry.finishing > 0 || isClosing()) continue;
    if (!entry.isComplete && entry.isFull && entry.isClaimed) isAll = false;
    if (!entry.isComplete && !(entry.isFull && !entry.isClaimed)) continue;
    const options = takers.get(record.target.method)?.uploads[record.target.member];
    try {
      await uploads.complete(entry, (found) => (options ? uploadIssue(options, found) : undefined));
      await call(serving, entry, isClosing);
    } catch (thrown) {
      onError(thrown);
    }
  }
  return isAll;
}

async function attach({ host, uploads }: Serving, entry: Entry, id: string, isClosing: () => boolean): Promise<void> {
  try {
    const principal = { id: entry.record.owner };
    const exchange = await host.peer({ to: CALLS + id, principal, counted: true, via: "uploads" });
    void watch(uploads, entry, exchange, isClosing);
  } catch (thrown) {
    // It was removed since, or its method keeps nothing: then nobody needs the upload any more.
    if (toFault(thrown).code !== "not_found") throw thrown;
    entry.record.calls = entry.record.calls!.filter((each) => each !== id);
    if (entry.record.call === id) await uploads.spend(entry);
    else await uploads.save(entry);
  }
}

/** The last byte had come, and the server ended before the call was made. Only the name of its caller is left, as of any restarted call. */
async function call({ host, uploads }: Serving, entry: Entry, isClosing: () => boolean): Promise<void> {
  const { target, owner, id } = entry.record;
  const { method, member, input, key } = target!;
  const name = `uploads/${id}`;
  const call: Call = {
    to: method,
    input: member === "" ? name : { ...(input as object | undefined), [member]: name },
    key,
    keep: true,
    principal: { id: owner },
    counted: true,
    via: "uploads",
  };
  try {
    const exchange = await host.peer(call);
    await used(uploads, entry, call, exchange, isClosing);
  } catch (thrown) {
    if (!toFault(thrown).retryable) await uploads.remove(entry);
    throw thrown;
  }
}
