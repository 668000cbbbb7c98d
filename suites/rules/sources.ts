/** The files of the repository, and what they import. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

export interface Source {
  /** From the root: `src/log/cursor.ts`. */
  readonly path: string;
  readonly text: string;
  /** What is loaded at run time, and what is only looked at by the compiler: paths from the root, or names of packages. */
  readonly imports: readonly { readonly to: string; readonly isType: boolean }[];
}

export function filesOf(...patterns: readonly string[]): string[] {
  const found = patterns.flatMap((pattern) => [...new Bun.Glob(pattern).scanSync({ cwd: root })]);
  return [...new Set(found)].filter((path) => !/(^|\/)(node_modules|dist)\//.test(path)).sort();
}

export function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

const aliases: Readonly<Record<string, string>> = {
  backtalk: "src/index.ts",
  "backtalk/client": "src/client/index.ts",
  "backtalk/server": "src/server.ts",
};

/** `import ... from "x"`, `export ... from "x"`, `import "x"`, `import("x")`. */
const IMPORT =
  /(?:^|\n)\s*(import|export)(\s+type)?\s[^"';]*?from\s+"([^"]+)"|(?:^|\n)\s*import\s+"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/g;

/** The name of a file beside, to be run as a process or a thread. */
const NAMED = /"([\w./-]+\.(?:ts|mjs))"/g;

export function sources(...patterns: readonly string[]): Source[] {
  return filesOf(...patterns).map((path) => {
    const text = read(path);
    const code = withoutComments(text);
    const imports = [...code.matchAll(IMPORT)].map((match) => ({
      to: resolveImport(path, (match[3] ?? match[4] ?? match[5])!),
      isType: match[2] !== undefined,
    }));
    for (const [, name] of code.matchAll(NAMED)) {
      const to = relative(root, resolve(root, dirname(path), name!));
      if (existsSync(join(root, to))) imports.push({ to, isType: false });
    }
    return { path, text, imports };
  });
}

function resolveImport(from: string, to: string): string {
  if (to.startsWith(".") || /^[\w-]+\.(ts|mjs)$/.test(to)) return relative(root, resolve(root, dirname(from), to));
  return aliases[to] ?? to;
}

export function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

/** All that is loaded with these files, themselves included. */
export function reachable(from: readonly string[], all: ReadonlyMap<string, Source>, withTypes = true): Set<string> {
  const seen = new Set<string>();
  const open = [...from];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    for (const { to, isType } of all.get(path)?.imports ?? []) if (withTypes || !isType) open.push(to);
  }
  return seen;
}

/** Tests, and what only tests use. */
export function isTest(path: string): boolean {
  return /\.(test|fixture)\.ts$|\.test-[\w-]+\.ts$|(^|\/)test(ing)?(-\w+)?\.ts$|\/testing\/|seed\.ts$/.test(path);
}
