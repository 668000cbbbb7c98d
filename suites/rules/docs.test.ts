/** What the documents say: their links, their code, their commands. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { Place, type Server, serveIn } from "../../cli/testing.ts";
import { filesOf, read, root } from "./sources.ts";

const documents = filesOf("*.md", "examples/**/*.md", "bench/*.md");

interface Block {
  readonly path: string;
  readonly language: string;
  readonly text: string;
}

function blocksOf(path: string): Block[] {
  return [...read(path).matchAll(/^```(\w*)[^\n]*\n([\s\S]*?)^```$/gm)].map(([, language, text]) => ({
    path,
    language: language!,
    text: text!,
  }));
}

const blocks = documents.flatMap(blocksOf);
/** Lines that a shell would run: after `$ ` where a block shows answers too, else all. */
const commands = blocks
  .filter(({ language }) => language === "sh" || language === "console" || language === "bash")
  .flatMap(({ path, text }) => {
    const lines = text.replace(/\\\n\s*/g, "").split("\n");
    const marked = lines.filter((line) => line.startsWith("$ "));
    const taken = marked.length > 0 ? marked.map((line) => line.slice(2)) : lines;
    return taken.filter((line) => line.trim() !== "" && !line.startsWith("#")).map((line) => ({ path, line }));
  });

test("links to files of the repository lead somewhere", () => {
  const wrong: string[] = [];
  for (const path of documents) {
    for (const [, target] of read(path).matchAll(/\]\((?!https?:|#|mailto:)([^)\s#]+)[^)]*\)/g)) {
      if (!existsSync(join(root, dirname(path), target!))) wrong.push(`${path}: ${target}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("JSON in documents is JSON, or lines of it", () => {
  for (const { path, text } of blocks.filter(({ language }) => language === "json")) {
    expect(() => JSON.parse(text), `${path}: ${text}`).not.toThrow();
  }
});

test("TypeScript in documents can be read, and imports what there is", async () => {
  const modules: Readonly<Record<string, string>> = {
    backtalk: "src/index.ts",
    "backtalk/client": "src/client/index.ts",
    "backtalk/server": "src/server.ts",
    "backtalk/connect": "src/transports/rpc/client.ts",
    "backtalk/grpc": "src/transports/rpc/client-grpc.ts",
    "backtalk/tcp": "src/transports/tcp/client.ts",
    "backtalk/upload": "src/uploads/client.ts",
  };
  for (const { path, text } of blocks.filter(({ language }) => language === "ts" || language === "js")) {
    // An ellipsis stands for what is left out.
    const whole = text.replaceAll("...)", ")").replaceAll("{ ... }", "{}");
    expect(() => new Bun.Transpiler({ loader: "ts" }).transformSync(whole), `${path}:\n${text}`).not.toThrow();
    for (const [, isType, names, from] of text.matchAll(/import (type )?\{([^}]*)\} from "(backtalk[^"]*)"/g)) {
      const file = modules[from!];
      expect([path, from, file !== undefined]).toEqual([path, from, true]);
      const exported = (await import(join(root, file!))) as Record<string, unknown>;
      for (const name of names!
        .split(",")
        .map((each) => each.trim())
        .filter((each) => each !== "")) {
        if (isType || name.startsWith("type ")) continue;
        const own = name.split(" as ")[0]!;
        expect([path, own, own in exported]).toEqual([path, own, true]);
      }
    }
  }
});

test("scripts and commands in documents exist", () => {
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  const known = new Set(filesOf("cli/commands/*.ts").map((path) => path.split("/").at(-1)!.replace(/\.ts$/, "")));
  const wrong: string[] = [];
  for (const { path, line } of commands) {
    const script = /\bnpm (?:run )?(start|test|(?<=run )[\w:-]+)/.exec(line)?.[1];
    if (script !== undefined && scripts[script] === undefined) wrong.push(`${path}: ${line}`);
    const command = /(?:^|\s)(?:\.\/|npx )?backtalk ([a-z]+)\b/.exec(line)?.[1];
    if (command !== undefined && !known.has(command) && command !== "help") wrong.push(`${path}: ${line}`);
  }
  expect(wrong).toEqual([]);
});

describe("commands in the README", () => {
  // The server is another one than the reader's: its address is put in the place of the default one.
  const place = new Place();
  let server: Server;
  const runnable = commands.filter(
    ({ path, line }) =>
      path === "README.md" &&
      /^(curl|\.\/backtalk (call|calls|contract|publish|transports)) ?/.test(line) &&
      !line.includes("<"),
  );
  beforeAll(async () => {
    if (runnable.length > 0) server = await serveIn(place);
  }, 60_000);
  afterAll(() => {
    server.child.kill("SIGKILL");
    place.remove();
  });

  for (const { line } of runnable) {
    test(line, async () => {
      const command = line
        .replaceAll("https://localhost:4443", server.https)
        .replaceAll("localhost:4400", server.http.replace("http://", ""))
        .replaceAll("127.0.0.1:4400", server.http.replace("http://", ""))
        .replaceAll(/\bcurl /g, "curl -k --max-time 10 ");
      const child = Bun.spawn(["sh", "-c", `${command} </dev/null`], { cwd: root, stdout: "pipe", stderr: "pipe" });
      const timer = setTimeout(() => child.kill(), 20_000);
      const [out, error] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
      clearTimeout(timer);
      const code = await child.exited;
      // A stream without an end is cut off by us: then it must have said something.
      const isCut = code === 28 || child.signalCode !== null;
      expect({ line, code: isCut && out !== "" ? 0 : code, error: code === 0 ? "" : error }).toEqual({
        line,
        code: 0,
        error: "",
      });
    }, 60_000);
  }
});
