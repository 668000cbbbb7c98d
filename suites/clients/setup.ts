/** The studio example in a process of its own, with a file to come back to, and the tools that call it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeCertificate, spkiHash } from "../../src/net/certificate.ts";
import { type ServerProcess, startServer } from "../crash/process.ts";
import type { ServerArgs } from "../crash/server.ts";

export class Studio {
  readonly folder = mkdtempSync(join(tmpdir(), "backtalk-clients-"));
  readonly #certificate = makeCertificate(["localhost"], Date.now());
  #pages: NonNullable<ServerArgs["pages"]> = {};
  #server: ServerProcess | undefined;

  get url(): string {
    return `http://127.0.0.1:${this.#server!.port}`;
  }

  get port(): number {
    return this.#server!.port;
  }

  get tlsPort(): number {
    return this.#server!.tlsPort;
  }

  /** What Chromium takes to trust the certificate. */
  get spki(): string {
    return spkiHash(this.#certificate.cert);
  }

  /** Serves pages too, for browsers. */
  async start(pages: NonNullable<ServerArgs["pages"]> = {}): Promise<this> {
    this.#pages = pages;
    await this.restart();
    return this;
  }

  /** Kills the process, if there is one, and starts the next one at the same ports. */
  async restart(): Promise<void> {
    await this.#server?.kill();
    this.#server = await startServer({
      service: fileURLToPath(new URL("../../examples/studio/service.ts", import.meta.url)),
      store: join(this.folder, "studio.sqlite"),
      port: this.#server?.port ?? 0,
      tlsPort: this.#server?.tlsPort ?? 0,
      certificate: this.#certificate,
      pages: this.#pages,
      timing: { retryMs: 100 },
    });
  }

  async stop(): Promise<void> {
    await this.#server?.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/**
 * The path of a tool that a test needs; undefined when it is missing, which is told in a line, and fails in CI:
 * there a test that was left out would look like one that passed.
 */
export function tool(name: string, ...paths: readonly string[]): string | undefined {
  const found = Bun.which(name) ?? paths.find((path) => Bun.which(path) !== null);
  if (found !== undefined) return found;
  if (process.env["CI"] === "true") throw new Error(`${name} is missing, and CI must not leave tests out`);
  console.log(`${name} is not installed: its tests are left out`);
  return undefined;
}
