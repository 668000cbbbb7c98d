/** Servers of others for the tests of the probe, with certificates as they are in the wild. */
import { connect } from "node:net";
import { join } from "node:path";
import type { Place } from "./testing.ts";

/** Whether the program is here; without it the tests are skipped by its name, and fail where CI is set. */
export function has(program: string): boolean {
  if (Bun.which(program) !== null) return true;
  if (process.env["CI"]) throw new Error(`the tests of the probe need the program ${program}`);
  console.log(`skipped: no ${program} here to be probed`);
  return false;
}

export type Kind = "rsa" | "ec";

export interface Chain {
  /** Files: the leaf with the intermediate, the leaf alone, and the key. */
  readonly cert: string;
  readonly leaf: string;
  readonly key: string;
}

/** A root, an intermediate and leafs of one kind of key, by the program openssl. */
export class Authority {
  /** PEM of the root. */
  root = "";
  readonly #directory: string;
  readonly #kind: Kind;

  private constructor(place: Place, kind: Kind) {
    this.#directory = place.directory;
    this.#kind = kind;
  }

  static async of(place: Place, kind: Kind): Promise<Authority> {
    const authority = new Authority(place, kind);
    const at = (name: string): string => authority.#at(name);
    await authority.#key("root");
    const subject = ["-subj", `/CN=root ${kind}`, "-addext", CA];
    await openssl(["req", "-x509", "-new", "-key", at("root.key"), "-out", at("root.pem"), "-days", "90", ...subject]);
    await authority.#issue("middle", "root", CA, ["-days", "90"]);
    authority.root = await Bun.file(at("root.pem")).text();
    return authority;
  }

  /** `dates`: those of openssl ca, such as 20240101000000Z. */
  async chain(name: string, names = "DNS:localhost,IP:127.0.0.1", dates?: readonly [string, string]): Promise<Chain> {
    const extensions = `basicConstraints=CA:FALSE\nsubjectAltName=${names}`;
    const when = dates ? ["-startdate", dates[0], "-enddate", dates[1]] : ["-days", "30"];
    await this.#issue(name, "middle", extensions, when);
    const [leaf, middle] = await Promise.all([name, "middle"].map((each) => Bun.file(this.#at(`${each}.pem`)).text()));
    await Bun.write(this.#at(`${name}.chain`), `${leaf}${middle}`);
    return { cert: this.#at(`${name}.chain`), leaf: this.#at(`${name}.pem`), key: this.#at(`${name}.key`) };
  }

  async #key(name: string): Promise<void> {
    const how = this.#kind === "rsa" ? ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"] : ["EC", "-pkeyopt", P256];
    await openssl(["genpkey", "-out", this.#at(`${name}.key`), "-algorithm", ...how]);
  }

  async #issue(name: string, issuer: string, extensions: string, when: readonly string[]): Promise<void> {
    const at = (each: string): string => this.#at(each);
    await this.#key(name);
    await openssl(["req", "-new", "-key", at(`${name}.key`), "-out", at("request"), "-subj", `/CN=${name}`]);
    await Promise.all([
      Bun.write(at("index"), ""),
      Bun.write(
        at("ca.conf"),
        [
          `[ca]\ndefault_ca=d\n[d]\ndatabase=${at("index")}\nnew_certs_dir=${this.#directory}\nrand_serial=yes`,
          `default_md=sha256\npolicy=p\nx509_extensions=x\n[p]\ncommonName=supplied\n[x]\n${extensions}\n`,
        ].join("\n"),
      ),
    ]);
    const by = ["-cert", at(`${issuer}.pem`), "-keyfile", at(`${issuer}.key`)];
    const files = ["-config", at("ca.conf"), "-in", at("request"), "-out", at(`${name}.pem`)];
    await openssl(["ca", "-batch", "-notext", ...files, ...by, ...when]);
  }

  #at(name: string): string {
    return join(this.#directory, `${this.#kind}-${name}`);
  }
}

const CA = "basicConstraints=critical,CA:TRUE";
const P256 = "ec_paramgen_curve:P-256";

async function openssl(args: readonly string[]): Promise<void> {
  const child = Bun.spawn(["openssl", ...args], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const said = await new Response(child.stderr).text();
  if ((await child.exited) !== 0) throw new Error(`openssl ${args[0]}: ${said}`);
}

/**
 * nginx in one process; each text is a server, whose `PORT` is replaced. What it saw of early data is written to
 * `access.log` of the place. @returns the ports
 */
export async function nginx(place: Place, servers: readonly string[]): Promise<number[]> {
  const ports = await Promise.all(servers.map(() => place.closedPort()));
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${name};`);
  const config = `
    daemon off; master_process off; pid nginx.pid;
    events { worker_connections 128; }
    http {
      ${paths.join(" ")}
      log_format early "$server_port $status early=$ssl_early_data";
      access_log access.log early;
      default_type text/html;
      ssl_session_cache shared:all:1m;
      ${servers.map((text, at) => `server { ${text.replaceAll("PORT", `127.0.0.1:${ports[at]}`)} }`).join("\n")}
    }`;
  const file = join(place.directory, "nginx.conf");
  await Bun.write(file, config);
  await run(place, ["nginx", "-p", place.directory, "-c", file, "-e", "stderr"], ports);
  return ports;
}

/** Caddy; in the text `PORT0`, `PORT1`... are replaced. @returns the ports */
export async function caddy(place: Place, count: number, text: string): Promise<number[]> {
  const ports = await Promise.all(Array.from({ length: count }, () => place.closedPort()));
  const file = join(place.directory, "Caddyfile");
  await Bun.write(
    file,
    text.replaceAll(/PORT(\d)/g, (_, at: string) => String(ports[Number(at)])),
  );
  await run(place, ["caddy", "run", "--config", file, "--adapter", "caddyfile"], ports);
  return ports;
}

/** Until all of its ports take connections. */
async function run(place: Place, command: readonly string[], ports: readonly number[]): Promise<void> {
  const home = { HOME: place.directory, XDG_CONFIG_HOME: place.directory, XDG_DATA_HOME: place.directory };
  const child = Bun.spawn([...command], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: Bun.file(join(place.directory, `${command[0]}.log`)),
    env: { ...process.env, ...home },
  });
  place.onClose(async () => {
    child.kill();
    await child.exited;
  });
  for (const port of ports) {
    while (!(await takes(port))) {
      if (child.exitCode !== null) {
        throw new Error(await Bun.file(join(place.directory, `${command[0]}.log`)).text());
      }
      await Bun.sleep(20);
    }
  }
}

function takes(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("close", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
