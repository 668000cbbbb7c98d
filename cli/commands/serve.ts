/** `backtalk serve`: serves a file. */
import { readFileSync } from "node:fs";
import type { AnyService } from "../../src/core/core.ts";
import { type Certificate, developmentCertificate } from "../../src/net/certificate.ts";
import { type Port, type Running, startServer } from "../../src/start.ts";
import { loadDriver } from "../../src/transports/amqp/driver.ts";
import { type Args, grouped, type Spec } from "../args.ts";
import { authOf } from "../auth.ts";
import { banner, friendly } from "../banner.ts";
import { type CommandContext, command } from "../command.ts";
import { OK, UsageError } from "../exit.ts";
import { limitsOf } from "../limits.ts";
import { loadServices } from "../load.ts";
import { LOGS, type LogWhat, logger } from "../log.ts";
import { makeOwn } from "../own.ts";
import { jobsText } from "../parts/amqp.ts";
import { hasPage } from "../parts/describe.ts";
import { PART_OPTIONS, partsOf } from "../parts/index.ts";
import { HTTP_PORT, portOf, portOption } from "../parts/ports.ts";
import { DEFAULT_STORE, openStore } from "../store.ts";
import { commandLines, type Style, wrap } from "../table.ts";
import { versionOf } from "../version.ts";

const TLS_PORT = 4443;

export const spec: Spec = {
  name: "serve",
  summary: "serve the service of a file over every transport",
  positionals: [{ name: "FILE", what: "exports a service by default, or an array of them" }],
  options: {
    json: { what: "say the addresses as a line of JSON" },
    ...grouped("HTTP", {
      port: portOption("without TLS", HTTP_PORT),
      "tls-port": portOption("with TLS: HTTP/1.1, 2 and 3", TLS_PORT),
      "no-tls": { what: "no listener with TLS" },
      cert: { value: "FILE", what: "certificate as PEM (default: one for development is made)" },
      key: { value: "FILE", what: "its key as PEM" },
      host: { value: "ADDRESS", what: "to listen on (default 127.0.0.1; 0.0.0.0 for all)" },
      name: { value: "NAME", what: "it answers to this name besides those of this machine", multiple: true },
      origin: { value: "ORIGIN", what: "pages of this origin may call, or * (default: its own)", multiple: true },
    }),
    ...grouped("what is kept", {
      store: { value: "STORE", what: `memory: or sqlite:PATH (default ${DEFAULT_STORE})` },
      sync: {
        value: "MODE",
        what: "full: acknowledged is on disk (default); normal: faster, a power cut may take the newest events",
        choices: ["full", "normal"],
      },
      keep: { value: "SECONDS", what: "calls are kept so long after their end (default 86400)", number: {} },
      drain: { value: "SECONDS", what: "running calls may take so long at the end (default 10)", number: {} },
    }),
    ...grouped("callers", {
      "api-keys": { value: "FILE", what: 'callers show a key of this JSON file: {"key": "name", ...}' },
      jwks: { value: "URL", what: "callers show a JWT that is signed by one of these keys" },
      issuer: { value: "NAME", what: "of the JWT" },
      audience: { value: "NAME", what: "of the JWT" },
    }),
    ...grouped("limits and log", {
      limit: { value: "NAME=VALUE", what: "such as bodyBytes=1M; may be given more than once", multiple: true },
      log: { value: "WHICH", what: "calls that get a line: all, recorded (default), defects, none", choices: LOGS },
      "log-format": {
        value: "FORMAT",
        what: "text or json (default: text on a terminal)",
        choices: ["text", "json"],
      },
    }),
    ...PART_OPTIONS,
  },
  examples: [
    "backtalk serve examples/studio/service.ts",
    "backtalk serve service.ts --host 0.0.0.0 --tls-port 443 --cert cert.pem --key key.pem",
  ],
  notes: [
    "The other ports move with --port, unless it is below 1024. A default port that is in use is an error, unless another port was asked for: then a free one is taken, and told.",
    "Ctrl-C or SIGTERM drains: running calls finish, readers are told to come back. The second one ends it at once.",
  ],
};

export async function run({ args, screen, interrupt }: CommandContext): Promise<number> {
  const authenticate = authOf(args);
  const limits = limitsOf(args.texts("limit"));
  const ports = portsOf(args);
  const hostname = args.text("host") ?? "127.0.0.1";
  const given = certificateOf(args);
  const origins = originsOf(args);
  // What is missing is said before anything is opened.
  if (args.has("amqp")) await loadDriver();
  const services = await loadServices(args.positionals[0]!);
  const store = await openStore(
    args.text("store") ?? DEFAULT_STORE,
    args.text("sync") === "normal" ? "normal" : "full",
  );
  let running: Running;
  let certificate: (Certificate & { readonly path?: string }) | undefined;
  try {
    if (ports.tls && !given) makeOwn(".backtalk");
    certificate = ports.tls && (given ?? (await developmentCertificate({ names: namesOf(hostname) })));
    const isJson = (args.text("log-format") ?? (screen.canDraw ? "text" : "json")) === "json";
    running = await startServer({
      services,
      store,
      hostname,
      plain: ports.plain,
      tls: ports.tls && certificate && { ...ports.tls, ...certificate },
      origins,
      hosts: hostsOf(hostname, args.texts("name")),
      authenticate,
      limits,
      logger: logger((args.text("log") ?? "recorded") as LogWhat, isJson, (line) => screen.note(line)),
      drainMs: seconds(args, "drain"),
      keepMs: seconds(args, "keep"),
      version: versionOf(args.positionals[0]!),
      parts: partsOf({ args, hostname, file: args.positionals[0]!, certificate, screen, store }),
    });
  } catch (thrown) {
    await store.close();
    throw thrown;
  }
  for (const line of running.moved) screen.note(line);
  if (!isLoopback(hostname) && !authenticate) {
    screen.explain(["Whoever reaches this machine may call: --api-keys or --jwks asks who they are."]);
  }
  for (const { url, missing } of running.listeners) {
    if (missing.length > 0) screen.explain([`${url} does not speak ${missing.join(", ")} on this machine`]);
  }
  if (args.has("json")) {
    await screen.print(
      JSON.stringify({
        listeners: running.listeners,
        addresses: running.addresses,
        pid: process.pid,
        store: store.name,
        ...running.recovered,
      }),
    );
  } else {
    const about = {
      running,
      services,
      store,
      certificate: certificate?.path,
      hasAuth: authenticate !== undefined,
      jobs: jobsText(services, args),
    };
    await screen.printAll([...banner(about, screen.style), ...tries(running, services, args, screen.style)]);
  }
  await aborted(interrupt);
  screen.explain(["Stopping: running calls may finish, readers are told to come back. Once more ends it at once."]);
  await running.stop();
  return OK;
}

/** What can be done now. */
function tries({ listeners }: Running, services: readonly AnyService[], args: Args, style: Style): string[] {
  const url = friendly(listeners[0]!.url);
  const methods = services.flatMap(({ name, members }) =>
    Object.keys(members).flatMap((key) => (members[key]!.type === "method" ? [`${name}.${key}`] : [])),
  );
  const call = `${command()} call ${url.replace("http://", "")} ${methods[0]} INPUT`;
  return [
    "",
    ...(methods.length === 0 ? [] : ["In another terminal:", ...commandLines(call, style.width)]),
    ...(hasPage(args) ? wrap(`In a browser, to try every method: ${url}/docs`, style.width) : []),
  ];
}

export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || hostname.startsWith("127.");
}

/** A server for this machine alone answers to its names alone: a page elsewhere must not reach it by a name of its own. */
function hostsOf(hostname: string, names: readonly string[]): readonly string[] | undefined {
  if (!isLoopback(hostname) && names.length === 0) return undefined;
  const literal = hostname.includes(":") ? `[${hostname}]` : hostname;
  return ["localhost", "127.0.0.1", "[::1]", literal, ...names];
}

function portsOf(args: Args): { plain: Port; tls: Port | undefined } {
  const plain = portOf(args, "port", HTTP_PORT);
  if (!args.has("no-tls")) return { plain, tls: portOf(args, "tls-port", TLS_PORT) };
  for (const name of ["tls-port", "cert", "key"]) {
    if (args.has(name)) throw new UsageError(`--no-tls and --${name} cannot be used together`);
  }
  return { plain, tls: undefined };
}

/** @throws UsageError */
function certificateOf(args: Args): Certificate | undefined {
  const [cert, key] = [args.text("cert"), args.text("key")];
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new UsageError("--cert and --key are given together");
  return { cert: read("--cert", cert), key: read("--key", key) };
}

function read(option: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (thrown) {
    throw new UsageError(`${option} ${file} cannot be read: ${(thrown as Error).message}`);
  }
}

function originsOf(args: Args): readonly string[] | "*" {
  const origins = args.texts("origin");
  if (origins.includes("*")) return "*";
  for (const origin of origins) {
    if (URL.canParse(origin) && new URL(origin).origin === origin) continue;
    throw new UsageError(
      `--origin ${origin} is not an origin`,
      "give scheme, host and port, such as https://app.example",
    );
  }
  return origins;
}

/** Names that the development certificate is to be for, besides those of this machine. */
function namesOf(hostname: string): string[] {
  return hostname === "0.0.0.0" || hostname === "::" ? [] : [hostname];
}

function seconds(args: Args, name: string): number | undefined {
  const value = args.number(name);
  return value === undefined ? undefined : value * 1000;
}
