/** What the parts of this transport share; made once for each handler. */
import type { Host } from "../../contract/index.ts";
import type { Ask } from "./ask.ts";
import { readText } from "./body.ts";
import { tooSlow } from "./fault.ts";
import { Held } from "./held.ts";
import { Streams } from "./stream.ts";
import { Watch } from "./watch.ts";

export class Web {
  readonly host: Host;
  /** The listener's idle timeout in seconds: connections get it back after a stream or a held request. */
  readonly idleSeconds: number;
  readonly streams: Streams;
  readonly held: Held;
  readonly watch: Watch;

  constructor(host: Host, idleSeconds: number) {
    this.host = host;
    this.idleSeconds = idleSeconds;
    this.streams = new Streams(host, idleSeconds);
    this.held = new Held(host, idleSeconds);
    this.watch = new Watch(host.limits.bodyMs, idleSeconds, host.now);
  }

  /** The whole body. Rejects with a Fault when it is too large or too slow. */
  readBody(ask: Ask, maxBytes: number): Promise<string> {
    return this.within(ask, readText(ask.request, maxBytes));
  }

  /** What is made of a body, within the time that a body may take. */
  within<T>(ask: Ask, made: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const watched = this.watch.add(ask.request, ask.server, () => reject(tooSlow(this.host.limits.bodyMs)));
      made.then(resolve, reject).finally(() => this.watch.delete(watched));
    });
  }
}
