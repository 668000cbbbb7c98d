/** A headless Chromium on a host of the wire, which opens one page and is ended. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { spkiHash } from "../src/net/certificate.ts";
import type { Host } from "./wire/index.ts";
import { scratch } from "./wire/scratch.ts";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

/** Where it is, if it is installed. */
export function chromiumPath(): string | undefined {
  for (const name of NAMES) {
    const path = Bun.which(name);
    if (path !== null) return path;
  }
  return undefined;
}

export interface Browser extends AsyncDisposable {
  readonly version: string;
  /** The secrets of its TLS and QUIC connections so far, as lines of NSS; empty when it had none. */
  keyLog(): string;
}

/** @throws Error when there is none */
export async function openPage(
  host: Host,
  url: string,
  options: { cert?: string; args?: readonly string[] } = {},
): Promise<Browser> {
  const path = chromiumPath();
  if (path === undefined) throw new Error("Chromium is not installed: install chromium and try again");
  const profile = scratch("browser");
  const keys = join(profile.path, "keys.log");
  const version = await new Response(
    Bun.spawn([path, "--version"], { stdout: "pipe", stderr: "ignore" }).stdout,
  ).text();
  const spki = options.cert === undefined ? [] : [`--ignore-certificate-errors-spki-list=${spkiHash(options.cert)}`];
  const child = Bun.spawn(
    host.command([
      path,
      "--headless=new",
      // In namespaces of its own it cannot make further ones for its sandbox; it opens nothing but our page.
      "--no-sandbox",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--disable-default-apps",
      "--disable-features=OptimizationHints,MediaRouter",
      `--user-data-dir=${profile.path}`,
      ...spki,
      ...(options.args ?? []),
      url,
    ]),
    // What it leaves among the temporary files goes with the profile.
    {
      env: { ...process.env, TMPDIR: profile.path, SSLKEYLOGFILE: keys },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
    },
  );
  return {
    version: version.trim(),
    keyLog: () => (existsSync(keys) ? readFileSync(keys, "utf8") : ""),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      profile[Symbol.dispose]();
    },
  };
}
