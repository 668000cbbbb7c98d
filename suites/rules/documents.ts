/** What the documents of the repository show: blocks of code, and commands among them. */
import { filesOf, read } from "./sources.ts";

export const documents = filesOf("*.md", "examples/**/*.md", "bench/*.md");

export interface Block {
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

export const blocks = documents.flatMap(blocksOf);
/** Lines that a shell would run: after `$ ` where a block shows answers too, else all. */
export const commands = blocks
  .filter(({ language }) => language === "sh" || language === "console" || language === "bash")
  .flatMap(({ path, text }) => {
    const lines = text.replace(/\\\n\s*/g, "").split("\n");
    const marked = lines.filter((line) => line.startsWith("$ "));
    const taken = marked.length > 0 ? marked.map((line) => line.slice(2)) : lines;
    return taken.filter((line) => line.trim() !== "" && !line.startsWith("#")).map((line) => ({ path, line }));
  });

/** What `backtalk` and its subpaths are in a checkout. */
export const modules: Readonly<Record<string, string>> = {
  backtalk: "src/index.ts",
  "backtalk/client": "src/client/index.ts",
  "backtalk/server": "src/server.ts",
  "backtalk/connect": "src/transports/rpc/client.ts",
  "backtalk/grpc": "src/transports/rpc/client-grpc.ts",
  "backtalk/tcp": "src/transports/tcp/client.ts",
  "backtalk/upload": "src/uploads/client.ts",
};
