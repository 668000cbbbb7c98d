/** What was measured on, for the output. */
import { cpus, release, totalmem } from "node:os";
import { output } from "./proc.ts";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
}

export function machine(): Machine {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${release()} ${process.arch}`,
  };
}

/** Of what takes part; what is not installed is left out. */
export async function versions(): Promise<Record<string, string>> {
  const { dependencies } = (await Bun.file(new URL("../package.json", import.meta.url)).json()) as {
    dependencies: Record<string, string>;
  };
  const node = Bun.which("node") ? (await output(["node", "--version"])).trim().slice(1) : undefined;
  const h2load = Bun.which("h2load") ? /nghttp2\/(\S+)/.exec(await output(["h2load", "--version"]))?.[1] : undefined;
  return {
    bun: Bun.version,
    ...(node !== undefined && { node }),
    ...(h2load !== undefined && { h2load }),
    ...dependencies,
  };
}
