/** The command line in a terminal: a pseudo-terminal of tmux, read back as a person sees it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { MAIN, Place, ROOT, type Server, STUDIO, serveIn } from "./testing.ts";

const tmux = Bun.which("tmux");
if (!tmux) console.log("skipped: no tmux here to look at a terminal with");
const place = new Place();
const socket = join(place.directory, "tmux");
let server: Server;

beforeAll(async () => {
  if (!tmux) return;
  server = await serveIn(place);
  const image = Buffer.from(await Bun.file(join(STUDIO, "../photo.jpg")).bytes()).toString("base64");
  await place.file("slow.json", JSON.stringify({ image, widths: [64, 32, 16], pauseMs: 600 }));
});

afterAll(async () => {
  if (tmux) {
    command("kill-server");
    server.child.kill("SIGKILL");
    await server.child.exited;
  }
  place.remove();
});

function command(...args: string[]): string {
  return Bun.spawnSync([tmux!, "-S", socket, "-f", "/dev/null", ...args]).stdout.toString();
}

/** Types a command line into a fresh terminal; gives what reads its screen. */
function terminal(width: number, args: string): { readonly screen: () => string; readonly key: (key: string) => void } {
  const name = `t${crypto.randomUUID().slice(0, 8)}`;
  // The shell stays when Ctrl-C comes, to tell the exit code.
  const line = `trap : INT; cd ${place.directory}; BACKTALK_COMMAND=backtalk ${process.execPath} ${MAIN} ${args}; echo "[code $?]"; cat`;
  command("new-session", "-d", "-s", name, "-x", `${width}`, "-y", "40", "sh", "-c", line);
  return {
    screen: () => command("capture-pane", "-p", "-t", name).trimEnd(),
    key: (key) => void command("send-keys", "-t", name, key),
  };
}

async function seen(screen: () => string, what: RegExp): Promise<string> {
  for (const until = Date.now() + 40_000; Date.now() < until; await Bun.sleep(30)) {
    const text = screen();
    if (what.test(text)) return text;
  }
  throw new Error(`never seen: ${what}, but\n${screen()}`);
}

const inTerminal = test.skipIf(!tmux);

inTerminal.each([80, 50, 30])(
  "a progress bar in %i columns, wiped before the result",
  async (width) => {
    const { screen } = terminal(width, `call ${server.http} studio.develop @slow.json`);
    const during = await seen(screen, /1\/3 resize/);
    const lines = during.split("\n").filter((line) => line !== "");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^█+░+ 1\/3 resize/);
    const after = await seen(screen, /\[code 0\]/);
    expect(after).not.toContain("█");
    expect(after).toContain('"photos"');
  },
  60_000,
);

inTerminal(
  "Ctrl-C detaches, and says how to come back",
  async () => {
    const { screen, key } = terminal(120, `call ${server.http} studio.develop @slow.json`);
    await seen(screen, /1\/3 resize/);
    key("C-c");
    const text = await seen(screen, /\[code 130\]/);
    expect(text).toMatch(
      /Detached: the call goes on\. Come back with\n {2}backtalk attach http:\S+\/calls\/\w+ --after \S+\n/,
    );
    expect(text).not.toContain("█");
  },
  60_000,
);

inTerminal(
  "a call that says nothing is told of, until it says something",
  async () => {
    const of = (path: string) => JSON.stringify(join(ROOT, path));
    const file = await place.file(
      "silent.ts",
      `import { service, unary } from ${of("src/index.ts")};
import { z } from ${of("node_modules/zod/index.js")};
const a = z.object({});
const until = async () => { while (!(await Bun.file("go").exists())) await Bun.sleep(20); };
export default service("silent", { run: unary({ input: a, output: a }, async () => (await until(), {})) });`,
    );
    const silent = await serveIn(place, file, ["--store", "memory:", "--no-udp", "--no-tcp", "--no-grpc"]);
    try {
      const { screen } = terminal(100, `call ${silent.http} silent.run`);
      await seen(screen, /^silent\.run: nothing yet \(a queued call waits for a worker\); Ctrl-C detaches$/);
      await place.file("go", "");
      expect(await seen(screen, /\[code 0\]/)).toBe("{}\n[code 0]");
    } finally {
      silent.child.kill("SIGKILL");
      await silent.child.exited;
    }
  },
  60_000,
);

inTerminal(
  "a list as a table, and as cards in a narrow window",
  async () => {
    await place.run(["call", server.http, "studio.isPrime", '{"n":5}']);
    const wide = terminal(80, `calls ${server.http} --limit 2`);
    expect(await seen(wide.screen, /\[code 0\]/)).toMatch(/^CALL +METHOD +STATE +SINCE +TOOK\n/);
    const json = terminal(200, `calls ${server.http} --limit 1 --json`);
    expect(await seen(json.screen, /\[code 0\]/)).toMatch(/^\{"id":"\w+","method":"studio\//);
    const narrow = terminal(40, `calls ${server.http} --limit 1`);
    expect(await seen(narrow.screen, /\[code 0\]/)).toMatch(/^CALL +\w+\nMETHOD +studio\./);
  },
  60_000,
);
