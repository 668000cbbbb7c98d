/** `--file MEMBER=@PATH`: files are sent first, over HTTP, and the input gets their names. */
import { statSync } from "node:fs";
import { hostname } from "node:os";
import { basename, resolve } from "node:path";
import { sendFile } from "../src/uploads/client.ts";
import type { Args, Option } from "./args.ts";
import { UsageError } from "./exit.ts";
import { progressLine } from "./progress.ts";
import type { Screen } from "./screen.ts";
import { trustOf } from "./trust.ts";
import { durationText } from "./values.ts";

export const FILE_OPTIONS: Readonly<Record<string, Option>> = {
  file: {
    value: "NAME=@PATH",
    what: "send a file as this member of the input (=@PATH: as the whole input); goes on after a break",
    multiple: true,
  },
  "upload-url": { value: "URL", what: "files go there, over HTTP (default: the server)" },
};

export interface FileArg {
  /** "" for the whole input. */
  readonly member: string;
  readonly path: string;
}

/** @throws UsageError */
export function filesOf(args: Args): FileArg[] {
  return args.texts("file").map((text) => {
    const at = text.indexOf("=@");
    const file = { member: text.slice(0, Math.max(0, at)), path: text.slice(at + 2) };
    if (at < 0 || file.path === "") {
      throw new UsageError(`--file ${text} names no file`, "write it as NAME=@PATH, such as --file image=@photo.jpg");
    }
    check(file.path);
    return file;
  });
}

/** The input with the names of the files. @throws UsageError; Fault when the server refuses one */
export async function sendFiles(
  files: readonly FileArg[],
  input: unknown,
  { url: server, args, screen, signal }: { url: string; args: Args; screen: Screen; signal: AbortSignal },
): Promise<unknown> {
  const url = args.text("upload-url") ?? server;
  if (!/^https?:/.test(url)) {
    throw new UsageError(
      `files are not sent to ${url}`,
      "say where the server speaks HTTP: --upload-url http://host:port",
    );
  }
  const names: Record<string, string> = {};
  for (const { member, path } of files) names[member] = await send(url, path, args, screen, signal);
  return "" in names ? names[""] : { ...(input as object | undefined), ...names };
}

async function send(url: string, path: string, args: Args, screen: Screen, signal: AbortSignal): Promise<string> {
  const { size, mtimeMs } = check(path);
  const name = basename(path);
  const apiKey = args.text("api-key") ?? process.env["BACKTALK_API_KEY"];
  const token = args.text("token") ?? process.env["BACKTALK_TOKEN"];
  const tls = trustOf(url, { cacert: args.text("cacert"), isInsecure: args.has("insecure") }).tls(false);
  // The same file again, also by the next command, goes on where this one ends.
  const key = new Bun.CryptoHasher("sha256").update(JSON.stringify([hostname(), resolve(path), size, mtimeMs]));
  let sent = 0;
  try {
    return await sendFile(url, Bun.file(path), {
      name,
      key: key.digest("hex"),
      signal,
      ...(token !== undefined && { token }),
      ...(apiKey !== undefined && { headers: { "x-api-key": apiKey } }),
      ...(tls && { fetch: fetchWith(tls) }),
      onProgress(progress) {
        sent = progress.sent;
        const [done, of] = [progress.sent, progress.of].map((bytes) => Math.round(bytes / 1e5) / 10) as [
          number,
          number,
        ];
        if (!args.has("quiet")) screen.status((width) => progressLine({ step: `MB of ${name}`, done, of }, width));
      },
      onRetry: ({ fault, delayMs }) =>
        screen.note(`${name}: ${fault.message}; trying again in ${durationText(delayMs)}`),
    });
  } catch (thrown) {
    if (signal.aborted && sent > 0)
      screen.explain([`${sent} of ${size} bytes of ${name} are there: the same command goes on`]);
    throw thrown;
  } finally {
    screen.status(undefined);
  }
}

function fetchWith(tls: object): typeof fetch {
  const trusting = (input: string | URL | Request, init?: RequestInit) =>
    fetch(input, { ...init, tls } as unknown as RequestInit);
  return trusting as typeof fetch;
}

function check(path: string): { size: number; mtimeMs: number } {
  try {
    const found = statSync(path);
    if (found.isFile()) return found;
  } catch (thrown) {
    const { code, message } = thrown as { code?: string; message: string };
    throw new UsageError(code === "ENOENT" ? `there is no file ${path}` : `${path} cannot be read: ${message}`);
  }
  throw new UsageError(`${path} is not a file`);
}
