/** Which certificates are trusted: the system's, those of --cacert, and for this machine the development one. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { UsageError } from "./exit.ts";

export interface Trust {
  /** TLS options of Bun's `fetch` and `WebSocket`; undefined for the defaults. @throws UsageError */
  tls(isHttp3: boolean): object | undefined;
  /** For the trace. */
  readonly notes: readonly string[];
}

export interface TrustOptions {
  readonly cacert?: string | undefined;
  readonly isInsecure?: boolean;
  /** Where a development certificate may lie. */
  readonly directories?: readonly string[];
}

/** @throws UsageError */
export function trustOf(url: string, options: TrustOptions): Trust {
  // What cannot be read as an address is told of by its transport.
  const { protocol = "", hostname = "" } = URL.parse(url) ?? {};
  if (!TLS.has(protocol)) return { tls: () => undefined, notes: [] };
  if (options.isInsecure) {
    return { tls: () => ({ rejectUnauthorized: false }), notes: ["--insecure: the certificate is not checked"] };
  }
  if (options.cacert !== undefined) return ofFile(options.cacert);
  const isHere = hostname === "localhost" || hostname === "[::1]" || /^127\./.test(hostname);
  const path = isHere ? developmentCertificate(options.directories ?? DIRECTORIES()) : undefined;
  if (path === undefined) return { tls: () => undefined, notes: [] };
  const ca = readFileSync(path, "utf8");
  return {
    // HTTP/3 of this platform takes no `ca`; nobody but this machine answers on its own addresses.
    tls: (isHttp3) => (isHttp3 ? { rejectUnauthorized: false } : { ca }),
    notes: [`trusting the development certificate ${path}`],
  };
}

const TLS: ReadonlySet<string> = new Set(["https:", "grpcs:", "tls:", "amqps:"]);

function ofFile(cacert: string): Trust {
  let ca: string;
  try {
    ca = readFileSync(cacert, "utf8");
  } catch (thrown) {
    throw new UsageError(`--cacert ${cacert} cannot be read: ${(thrown as Error).message}`);
  }
  if (!ca.includes(CERTIFICATE)) throw new UsageError(`--cacert ${cacert} holds no certificate`, "give a PEM file");
  const tls = (isHttp3: boolean) => {
    if (!isHttp3) return { ca };
    throw new UsageError(
      "HTTP/3 cannot be checked against --cacert here: Bun's fetch takes no certificates for it",
      "use another --via, or --insecure",
    );
  };
  return { tls, notes: [`trusting ${cacert}`] };
}

const CERTIFICATE = "-----BEGIN CERTIFICATE-----";

/** Here, and in this checkout. */
const DIRECTORIES = () => [join(process.cwd(), ".backtalk"), fileURLToPath(new URL("../.backtalk", import.meta.url))];

function developmentCertificate(directories: readonly string[]): string | undefined {
  return directories.map((directory) => join(directory, "certificate.pem")).find((path) => existsSync(path));
}
