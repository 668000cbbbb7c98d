/**
 * Requests that are not answered yet, looked at once a second: so a request costs a link in a list instead
 * of a timer. After a second its connection is freed from the listener's idle timeout, which would cut a
 * slow handler off; a body that takes longer than `bodyMs` is given up.
 */
import type { HttpServer } from "./server.ts";

export interface Watched {
  readonly request: Request;
  readonly server: HttpServer;
  /** Set while the body arrives: called when that took too long. */
  late: (() => void) | undefined;
  since: number;
  isFreed: boolean;
  next: Watched | undefined;
  previous: Watched | undefined;
}

export class Watch {
  readonly #now: () => number;
  readonly #bodyMs: number;
  readonly #idleSeconds: number;
  readonly #everyMs: number;
  #first: Watched | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** The time of the last look: exact enough, and for nothing. */
  #at: number;

  constructor(bodyMs: number, idleSeconds: number, now: () => number) {
    this.#bodyMs = bodyMs;
    this.#idleSeconds = idleSeconds;
    this.#now = now;
    this.#everyMs = Math.min(1000, Math.max(10, bodyMs / 4));
    this.#at = now();
  }

  add(request: Request, server: HttpServer, late: (() => void) | undefined): Watched {
    if (this.#timer === undefined) this.#start();
    const first = this.#first;
    const watched: Watched = {
      request,
      server,
      late,
      since: this.#at,
      isFreed: false,
      next: first,
      previous: undefined,
    };
    if (first) first.previous = watched;
    this.#first = watched;
    return watched;
  }

  /** The answer is ready. */
  delete(watched: Watched): void {
    const { previous, next } = watched;
    if (previous) previous.next = next;
    else this.#first = next;
    if (next) next.previous = previous;
    // The connection lives on with the listener's timeout.
    if (watched.isFreed) watched.server.timeout(watched.request, this.#idleSeconds);
  }

  #start(): void {
    this.#at = this.#now();
    this.#timer = setInterval(() => this.#look(), this.#everyMs);
    this.#timer.unref?.();
  }

  #look(): void {
    const now = this.#now();
    this.#at = now;
    if (!this.#first) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    for (let watched: Watched | undefined = this.#first; watched; ) {
      const { next } = watched as Watched;
      if (!watched.isFreed && now - watched.since >= this.#everyMs) {
        watched.isFreed = true;
        watched.server.timeout(watched.request, 0);
      }
      if (watched.late && now - watched.since > this.#bodyMs) watched.late();
      watched = next;
    }
  }
}
