/** How many bytes each principal's calls keep in the store. Counted at start, then kept up to date. */
import type { Store } from "../log/index.ts";
import { Fault } from "../log/index.ts";
import { callLog, inputLog } from "./context.ts";

export class Usage {
  readonly #bytes = new Map<string, number>();
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  add(owner: string, bytes: number): void {
    const now = this.of(owner) + bytes;
    if (now <= 0) this.#bytes.delete(owner);
    else this.#bytes.set(owner, now);
  }

  /** @throws Fault `resource_exhausted` when the principal has no room for another call. */
  check(owner: string): void {
    if (this.of(owner) < this.#most) return;
    throw new Fault("resource_exhausted", `the calls of this caller keep ${this.#most} bytes already`, {
      limit: "storedBytesPerPrincipal",
      retryable: false,
      hint: "wait until older calls are removed, shorten the retention, or raise storedBytesPerPrincipal",
    });
  }

  /** How many bytes the calls of this principal keep. */
  of(owner: string): number {
    return this.#bytes.get(owner) ?? 0;
  }

  /** What the calls that are in the store keep: their own logs, and those of their callers' items. */
  async count(store: Store): Promise<void> {
    this.#bytes.clear();
    for (const prefix of [callLog(""), inputLog("")]) {
      let after: string | undefined;
      do {
        const page = await store.list({ prefix, limit: 1000, ...(after !== undefined && { after }) });
        for (const info of page.logs) this.add(info.labels["owner"] ?? "", info.bytes);
        after = page.next;
      } while (after !== undefined);
    }
  }
}
