/** A headless Chromium on a host of the wire, which opens one page and is ended. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spkiHash } from "../src/net/certificate.ts";
import type { Host } from "./wire/index.ts";

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
}

/** @throws Error when there is none */
export async function openPage(
  host: Host,
  url: string,
  options: { cert?: string; args?: readonly string[] } = {},
): Promise<Browser> {
  const path = chromiumPath();
  if (path === undefined) throw new Error("Chromium is not installed: install chromium and try again");
  const profile = mkdtempSync(join(tmpdir(), "backtalk-browser-"));
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
      `--user-data-dir=${profile}`,
      ...spki,
      ...(options.args ?? []),
      url,
    ]),
    { stdin: "ignore", stdout: "ignore", stderr: "ignore" },
  );
  return {
    version: version.trim(),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      // Its helpers write until they notice.
      for (let tries = 0; tries < 50; tries++) {
        try {
          rmSync(profile, { recursive: true, force: true });
          return;
        } catch {
          await Bun.sleep(20);
        }
      }
    },
  };
}
