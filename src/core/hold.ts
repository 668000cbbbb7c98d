/** Long polling: waits until a log has something new. */
import type { Wait } from "../contract/index.ts";
import type { LogInfo, Page, Store } from "../log/index.ts";
import { after, onAbort } from "./util.ts";

/** Returns when a page after the head of `info` is what is waited for, after `waitMs`, or when the signal aborts. */
export async function hold(store: Store, info: LogInfo, wait: Wait, isNew: (page: Page) => boolean): Promise<void> {
  const controller = new AbortController();
  const stop = () => controller.abort();
  const untime = after(wait.waitMs ?? 0, stop);
  const unhook = wait.signal ? onAbort(wait.signal, stop) : undefined;
  try {
    const at = { from: info.head, follow: true, signal: controller.signal };
    for await (const page of store.read(info.log, at)) if (isNew(page)) return;
  } finally {
    untime();
    unhook?.();
  }
}
