/** A server whose methods take files, and what is asked of it; for tests. */
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import {
  type Authenticate,
  type Authorize,
  type HandlerCall,
  type Limits,
  type Store,
  serverStream,
  service,
  unary,
  upload,
  withUpload,
} from "../index.ts";
import { type Running, startServer } from "../start.ts";
import { memoryStore } from "../stores/memory/store.ts";
import { uploads } from "./part.ts";

export const MiB = 1024 * 1024;

/** What the handlers have seen, and a gate that they wait at. */
export class Seen {
  calls = 0;
  gate: Promise<void> = Promise.resolve();
  open: () => void = () => {};
  last: HandlerCall | undefined;

  close(): void {
    this.gate = new Promise((resolve) => {
      this.open = resolve;
    });
  }
}

const JPEG = { types: ["image/jpeg"], maxBytes: 2 * MiB };

const found = z.object({
  size: z.int(),
  type: z.string(),
  name: z.string().optional(),
  sha256: z.string(),
  width: z.int(),
});

export function filesService(seen: Seen) {
  return service("files", {
    hash: unary(
      {
        input: withUpload(z.object({ width: z.int().default(7) }), { file: upload() }),
        output: found,
        onRestart: "retry",
      },
      async ({ file, width }, call) => {
        seen.calls++;
        seen.last = call;
        await seen.gate;
        call.signal.throwIfAborted();
        const hash = new Bun.CryptoHasher("sha256");
        for await (const piece of file.stream()) hash.update(piece);
        const sha256 = hash.digest("hex");
        if (file.sha256 !== undefined && file.sha256 !== sha256) throw new Error("the hash is another");
        return { size: file.size, type: file.type, sha256, width, ...(file.name !== undefined && { name: file.name }) };
      },
    ),
    photo: unary(
      { input: withUpload(z.strictObject({ title: z.string() }), { image: upload(JPEG) }), output: z.string() },
      ({ image, title }) => {
        seen.calls++;
        return `${title}: ${image.size}`;
      },
    ),
    whole: unary({ input: upload({ inline: true }), output: z.int() }, async (file) => (await file.bytes()).length),
    two: unary(
      {
        input: withUpload(z.object({ note: z.unknown().optional() }), { a: upload(), b: upload() }),
        output: z.string(),
      },
      ({ a, b, note }) => `${a.size} ${b.size} ${JSON.stringify(note)}`,
    ),
    pieces: serverStream(
      { input: withUpload(z.object({}), { file: upload() }), item: z.object({ bytes: z.int() }) },
      async function* ({ file }) {
        let bytes = 0;
        for await (const piece of file.stream()) bytes += piece.length;
        for (let part = 0; part < 3; part++) yield { bytes: bytes + part };
      },
    ),
    plain: unary({ input: z.object({ n: z.int() }), output: z.int() }, ({ n }) => n),
  });
}

export interface LabOptions {
  readonly limits?: Partial<Limits>;
  readonly users?: boolean;
  readonly authorize?: Authorize;
  readonly store?: Store;
  readonly folder?: string;
  readonly everyMs?: number;
  readonly origins?: readonly string[];
}

const userOf: Authenticate = ({ bearer }) => ({ id: bearer ?? "" });

export class Lab {
  readonly seen = new Seen();
  readonly folder: string;
  readonly #options: LabOptions;
  readonly #store: Store;
  /** Milliseconds that the server's clock is ahead. */
  ahead = 0;
  #running: Running | undefined;

  constructor(options: LabOptions = {}) {
    this.#options = options;
    this.folder = options.folder ?? mkdtempSync(join(tmpdir(), "backtalk-uploads-test-"));
    this.#store = options.store ?? memoryStore();
  }

  async start(): Promise<this> {
    const { limits, users, authorize, everyMs, origins } = this.#options;
    const store = this.#store;
    this.#running = await startServer({
      services: [filesService(this.seen)],
      // The same store through restarts.
      store: new Proxy(store, {
        get: (target, name) => {
          if (name === "close") return async () => {};
          const value = Reflect.get(target, name) as unknown;
          return typeof value === "function" ? value.bind(target) : value;
        },
      }),
      hostname: "127.0.0.1",
      plain: { port: this.#running ? this.port : 0, isAsked: true },
      drainMs: 0,
      version: "0",
      parts: [uploads({ directory: this.folder, everyMs: everyMs ?? 30_000, now: () => Date.now() + this.ahead })],
      ...(limits && { limits }),
      ...(users && { authenticate: userOf }),
      ...(authorize && { authorize }),
      ...(origins && { origins }),
    });
    return this;
  }

  get running(): Running {
    return this.#running!;
  }

  get port(): number {
    return this.running.listeners[0]!.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async restart(): Promise<void> {
    await this.running.stop();
    await this.start();
  }

  async close(): Promise<void> {
    await this.running.stop();
    await this.#store.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetch(this.url + path, init);
  }

  /** Bytes on the disk of the upload at this address. */
  sizeOf(path: string): number {
    return statSync(join(this.folder, `${path.slice("/uploads/".length)}.bin`)).size;
  }

  /** The files of uploads. */
  files(): string[] {
    if (!existsSync(this.folder)) return [];
    return readdirSync(this.folder).filter((name) => !name.startsWith("lock"));
  }
}

/** The same bytes for the same seed, which no compression makes smaller. */
export function bytesOf(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let state = seed * 2_654_435_761 + 1;
  for (let i = 0; i < size; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

/** Begins like a JPEG. */
export function jpegOf(size: number): Uint8Array<ArrayBuffer> {
  const bytes = bytesOf(size);
  bytes.set([0xff, 0xd8, 0xff, 0xe0]);
  return bytes;
}

export function sha256(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}
