/**
 * A RabbitMQ of one's own: its files in a folder for the time being, its ports free ones, its processes
 * children of the test. Debian's package is enough; nothing of the system's own broker is touched. However the test
 * ends, a watchdog ends what is left of it.
 */
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TestBroker {
  readonly url: string;
  readonly port: number;
  /** With `tls`. */
  readonly tlsPort: number;
  /** Of the virtual machine that it runs in. */
  readonly pid: number;
  /** A folder for the test's own files, removed with the broker. */
  readonly folder: string;
  /** In the environment of a process this makes it end with the broker. */
  readonly mark: Readonly<Record<string, string>>;
  /** SIGKILL: as when the machine loses its power. */
  kill(): Promise<void>;
  /** Again, with the same files and ports. */
  start(): Promise<void>;
  /**
   * Ends it in order, and starts it again. A broker of this version writes the names of quorum queues to its disk
   * seconds after it has made them: one that is killed before that never brings them up again.
   */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export interface TestBrokerOptions {
  /** PEM files for a listener with TLS. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** The script that starts a node, wherever the package has put it. */
const SCRIPT = globSync("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server").at(-1);

/** Why there can be no broker here; in CI that is a failure. */
export function noBroker(): string | undefined {
  if (SCRIPT && Bun.which("erl") && Bun.which("epmd")) return undefined;
  const why = "rabbitmq-server is not installed (apt-get install rabbitmq-server)";
  if (process.env["CI"]) throw new Error(why);
  return why;
}

export async function startBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const home = mkdtempSync(join(tmpdir(), "backtalk-broker-"));
  const watchdog = watch(home);
  try {
    return await startIn(home, watchdog, options);
  } catch (thrown) {
    await watchdog.tidy();
    throw thrown;
  }
}

async function startIn(home: string, watchdog: Watchdog, options: TestBrokerOptions): Promise<TestBroker> {
  const [port, tlsPort, distribution, epmdPort] = (await freePorts(4)) as [number, number, number, number];
  const config = [
    `listeners.tcp.1 = 127.0.0.1:${port}`,
    "loopback_users = none",
    "log.console = true",
    "log.console.level = error",
    "log.file = false",
    "vm_memory_high_watermark.absolute = 1GB",
    "disk_free_limit.absolute = 1MB",
  ];
  if (options.tls) {
    writeFileSync(join(home, "cert.pem"), options.tls.cert);
    writeFileSync(join(home, "key.pem"), options.tls.key);
    config.push(
      `listeners.ssl.1 = 127.0.0.1:${tlsPort}`,
      `ssl_options.cacertfile = ${join(home, "cert.pem")}`,
      `ssl_options.certfile = ${join(home, "cert.pem")}`,
      `ssl_options.keyfile = ${join(home, "key.pem")}`,
      "ssl_options.verify = verify_none",
    );
  }
  writeFileSync(join(home, "rabbitmq.conf"), `${config.join("\n")}\n`);
  writeFileSync(join(home, "enabled_plugins"), "[].\n");
  const folder = join(home, "test");
  mkdirSync(folder);
  const env = {
    ...watchdog.mark,
    PATH: process.env["PATH"] ?? "/usr/bin:/bin",
    HOME: home,
    LANG: "C.UTF-8",
    // The name of the node is in its files: it must stay the same.
    RABBITMQ_NODENAME: `backtalk${port}@localhost`,
    RABBITMQ_MNESIA_BASE: join(home, "mnesia"),
    RABBITMQ_LOG_BASE: join(home, "log"),
    RABBITMQ_CONFIG_FILE: join(home, "rabbitmq.conf"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(home, "enabled_plugins"),
    RABBITMQ_CONF_ENV_FILE: "/dev/null",
    RABBITMQ_PID_FILE: join(home, "pid"),
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: "127.0.0.1",
  };
  // In the foreground, so that it ends with the test: the broker would start one that stays.
  const epmd = Bun.spawn(["epmd", "-port", String(epmdPort), "-address", "127.0.0.1"], {
    env,
    stdout: "ignore",
    stderr: "ignore",
  });
  await until(() => isOpen(epmdPort), 10_000, "epmd");
  let pid = 0;
  let child: Bun.Subprocess | undefined;
  const start = async (): Promise<void> => {
    rmSync(join(home, "pid"), { force: true });
    child = Bun.spawn(["sh", SCRIPT!], { env, cwd: home, stdout: Bun.file(join(home, "out")), stderr: "ignore" });
    const { exited } = child;
    let isOver = false;
    void exited.then(() => {
      isOver = true;
    });
    await until(
      () => {
        if (isOver) throw new Error(`the broker ended: ${readFileSync(join(home, "out"), "utf8").slice(-2_000)}`);
        return isOpen(port);
      },
      60_000,
      "the broker",
    );
    pid = Number(readFileSync(join(home, "pid"), "utf8"));
  };
  const end = async (signal: "SIGKILL" | "SIGTERM"): Promise<void> => {
    if (!child) return;
    try {
      if (pid > 0) process.kill(pid, signal);
    } catch {
      // It has ended.
    }
    await until(() => pid === 0 || !isAlive(pid), 30_000, "the broker's end");
    await child.exited;
    child = undefined;
    pid = 0;
  };
  await start();
  return {
    url: `amqp://guest:guest@127.0.0.1:${port}`,
    port,
    tlsPort,
    get pid() {
      return pid;
    },
    folder,
    mark: watchdog.mark,
    kill: () => end("SIGKILL"),
    start,
    async restart() {
      await end("SIGTERM");
      await start();
    },
    async stop() {
      await watchdog.tidy();
      await Promise.all([child?.exited, epmd.exited]);
    },
  };
}

/** What a process of the broker has in its environment, with the broker's folder. */
export const MARK = "BACKTALK_TEST_BROKER";

interface Watchdog {
  readonly mark: Readonly<Record<string, string>>;
  /** Resolves when nothing is left. */
  tidy(): Promise<void>;
}

/**
 * Waits for the pipe to it to close, which it does however this process ends. Then it ends all that has the mark:
 * whatever the broker has started by then, though it has no pid file yet. It is its own session, so that a signal to
 * the test's group does not end it first. What grep finds counts, not its exit code: that is of an error when any
 * process has ended while it looked.
 */
const WATCHDOG = `
trap '' HUP INT TERM
read -r _
while found=$(grep -lszFx "${MARK}=$1" /proc/[0-9]*/environ); [ -n "$found" ]; do
  for file in $found; do
    pid=\${file#/proc/}
    kill -9 "\${pid%/environ}"
  done
  sleep 0.05
done
rm -rf "$1"`;

function watch(home: string): Watchdog {
  const child = Bun.spawn(["sh", "-c", WATCHDOG, "sh", home], {
    stdin: "pipe",
    stdout: "ignore",
    stderr: "ignore",
    detached: true,
  });
  // It waits for this process, which must not wait for it.
  child.unref();
  return {
    mark: { [MARK]: home },
    async tidy() {
      child.ref();
      await child.stdin.end();
      await child.exited;
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !existsSync(`/proc/${pid}/stat`) || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

/** Whether AMQP is spoken there, or anything listens. */
function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

/**
 * Below the ports that the kernel gives to whoever asks for any: the broker listens seconds later, and again after it
 * was killed, and nobody else may have got them meanwhile.
 */
const PORTS = { first: 20_000, count: 12_000 } as const;

async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().listen(port, "127.0.0.1");
    server.once("error", () => resolve(false));
    server.once("listening", () => server.close(() => resolve(true)));
  });
}

async function until(condition: () => boolean | Promise<boolean>, ms: number, what: string): Promise<void> {
  const limit = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > limit) throw new Error(`waited ${ms} ms in vain for ${what}`);
    await Bun.sleep(50);
  }
}
