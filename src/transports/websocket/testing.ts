/** The WebSocket transport as the suites use it: both halves, over a real socket of this machine. */
import type { Link } from "../../../suites/transport/world.ts";
import type { Host } from "../../contract/index.ts";
import { type WebSocketPeerOptions, websocketPeer } from "./client.ts";
import { type SocketData, type WebSocketHandlers, type WebSocketOptions, websocketHandler } from "./server.ts";

export interface Served {
  readonly server: Bun.Server<SocketData>;
  readonly handlers: WebSocketHandlers;
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** All that were opened. */
  readonly sockets: Bun.ServerWebSocket<SocketData>[];
}

export function serveWebSocket(host: Host, port = 0, options: WebSocketOptions = {}): Served {
  const handlers = websocketHandler(host, options);
  const sockets: Served["sockets"] = [];
  const server = Bun.serve<SocketData>({
    port,
    hostname: "127.0.0.1",
    fetch: (request, server) => handlers.upgrade(request, server),
    websocket: {
      ...handlers.websocket,
      open(ws) {
        sockets.push(ws);
        return handlers.websocket.open?.(ws);
      },
    },
  });
  return { server, handlers, url: `http://127.0.0.1:${server.port}`, sockets };
}

export function websocketLink(client: Partial<WebSocketPeerOptions> = {}): Link {
  let served: Served | undefined;
  let port = 0;
  return {
    async serve(host) {
      served = serveWebSocket(host, port);
      port = served.server.port!;
    },
    peer: (user) =>
      websocketPeer({ url: `http://127.0.0.1:${port}`, ...client, ...(user !== undefined && { token: user }) }),
    async stop() {
      await served?.server.stop(true);
      served = undefined;
    },
  };
}

/** What the server says, loosely. */
export interface Said {
  readonly type: string;
  readonly id?: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it, and compare
  readonly [member: string]: any;
}

/** A client that says what a test tells it to, and keeps all that it hears. */
export class Talker {
  readonly heard: Said[] = [];
  closed: { readonly code: number; readonly reason: string } | undefined;
  readonly #ws: WebSocket;
  #wake = (): void => {};

  constructor(url: string, options: { readonly headers?: Record<string, string>; readonly protocol?: string } = {}) {
    const { headers = {}, protocol = "backtalk.v1" } = options;
    this.#ws = new WebSocket(`${url.replace("http", "ws")}/ws`, { protocols: [protocol], headers } as never);
    this.#ws.onmessage = ({ data }) => {
      this.heard.push(JSON.parse(data as string) as Said);
      this.#wake();
    };
    this.#ws.onclose = ({ code, reason }) => {
      this.closed = { code, reason };
      this.#wake();
    };
    this.#ws.onerror = () => {};
  }

  static async open(url: string, options?: ConstructorParameters<typeof Talker>[1]): Promise<Talker> {
    const talker = new Talker(url, options);
    await talker.hears("welcome");
    return talker;
  }

  say(...messages: readonly (object | string | Uint8Array<ArrayBuffer>)[]): void {
    for (const message of messages) {
      this.#ws.send(typeof message === "string" || message instanceof Uint8Array ? message : JSON.stringify(message));
    }
  }

  /** The first message of this type, and this exchange, that has not been looked at; it is taken out. */
  async hears(type: string, id?: number): Promise<Said> {
    const at = await this.#until(
      () => {
        const found = this.heard.findIndex((each) => each.type === type && (id === undefined || each.id === id));
        return found === -1 ? undefined : found;
      },
      `${type} ${id ?? ""}`,
    );
    return this.heard.splice(at, 1)[0]!;
  }

  async isClosed(): Promise<{ readonly code: number; readonly reason: string }> {
    return this.#until(() => this.closed, "the close");
  }

  /** After this everything that was said before has been looked at. */
  async settles(): Promise<void> {
    const id = 900_000 + this.#settled++;
    this.say({ type: "leave", id: id }, { type: "items", id, items: [] });
    await this.hears("fault", id);
  }
  #settled = 0;

  close(): void {
    this.#ws.close();
  }

  async #until<T>(look: () => T | undefined, what: string): Promise<T> {
    const limit = AbortSignal.timeout(30_000);
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.closed || limit.aborted) {
        throw new Error(`waited in vain for ${what}: ${JSON.stringify(this.closed)} ${JSON.stringify(this.heard)}`);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        limit.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }
}
