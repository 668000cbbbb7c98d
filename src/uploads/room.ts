/** How much uploads may take: in number and bytes, for each principal and in all. What is announced is taken at once. */
import type { Limits } from "../contract/index.ts";
import { Fault } from "../log/index.ts";

export class Room {
  readonly #limits: Limits;
  readonly #owners = new Map<string, { uploads: number; bytes: number }>();
  #bytes = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** @throws Fault `resource_exhausted` when the owner has too many uploads */
  enter(owner: string): void {
    const own = this.#of(owner);
    const { uploadsPerPrincipal } = this.#limits;
    if (own.uploads >= uploadsPerPrincipal) {
      throw new Fault("resource_exhausted", `${uploadsPerPrincipal} uploads of this caller are kept already`, {
        limit: "uploadsPerPrincipal",
        hint: "finish or delete some, or raise the limit uploadsPerPrincipal of the server",
        retryAfterMs: 60_000,
      });
    }
    own.uploads++;
  }

  /** One that an earlier process has let in. */
  found(owner: string, bytes: number): void {
    this.#of(owner).uploads++;
    this.add(owner, bytes);
  }

  leave(owner: string, bytes: number): void {
    const own = this.#of(owner);
    own.uploads--;
    this.add(owner, -bytes);
    if (own.uploads <= 0) this.#owners.delete(owner);
  }

  /** @throws Fault `resource_exhausted` when there is no room for so many more; gives nothing back when it throws */
  take(owner: string, bytes: number): void {
    const { uploadBytesPerPrincipal, uploadBytesTotal } = this.#limits;
    if (this.#of(owner).bytes + bytes > uploadBytesPerPrincipal) {
      throw full("uploadBytesPerPrincipal", uploadBytesPerPrincipal, "the uploads of this caller");
    }
    if (this.#bytes + bytes > uploadBytesTotal) throw full("uploadBytesTotal", uploadBytesTotal, "all uploads");
    this.add(owner, bytes);
  }

  /** Of what is there already. */
  add(owner: string, bytes: number): void {
    this.#of(owner).bytes += bytes;
    this.#bytes += bytes;
  }

  #of(owner: string) {
    let own = this.#owners.get(owner);
    if (!own) {
      own = { uploads: 0, bytes: 0 };
      this.#owners.set(owner, own);
    }
    return own;
  }
}

function full(limit: string, bytes: number, whose: string): Fault {
  return new Fault(
    "resource_exhausted",
    `${whose} may have ${bytes} bytes together, and there is no room for this one`,
    {
      limit,
      retryable: false,
      hint: `delete uploads that are not needed, or raise the limit ${limit} of the server`,
    },
  );
}
