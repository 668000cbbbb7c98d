/** What the documents say: their links, their code, the names of their commands. readme.test.ts runs them. */
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { spec } from "../../cli/commands/serve.ts";
import { blocks, commands, documents, modules } from "./documents.ts";
import { filesOf, read, root } from "./sources.ts";

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

test("a service file that a document shows is that file", () => {
  const shown = blocks.flatMap(({ text }) => {
    const [, path, code] = /^\/\/ (examples\/\S+)\n([\s\S]*)$/.exec(text) ?? [];
    return path === undefined ? [] : [{ path, code }];
  });
  expect(shown.map(({ path }) => path)).toEqual(["examples/first/service.ts", "examples/shop/service.ts"]);
  // But for the comment at its beginning.
  for (const { path, code } of shown) expect([path, read(path).replace(/^\/\*\*.*\*\/\n/, "")]).toEqual([path, code!]);
});

test("the table of ports has the ports of serve", () => {
  const rows = read("README.md").matchAll(/^\| (4[\d, ]+) \| .* \| (`--[^|]*) \|$/gm);
  const told = [...rows].flatMap(([, ports, names]) => {
    const all = names!.match(/[a-z-]+port/g)!;
    return ports!.split(", ").map((port, at) => [all[at]!.replace(/^--/, ""), port]);
  });
  const real = Object.entries(spec.options).flatMap(([name, { what }]) => {
    const port = /\(default (4\d{3})\b/.exec(what)?.[1];
    return port === undefined ? [] : [[name, port]];
  });
  expect(told.sort()).toEqual(real.sort());
});
