/** Five clients: each does something, and goes on after the server has been killed and started again. */
import { connect, type Socket } from "node:net";
import { createClient } from "../../../src/client/index.ts";
import { monotonic, openLibc } from "../../wire/libc.ts";
import { serveProgram } from "../../wire/program.ts";
import type { story } from "./story.ts";

const now = monotonic(openLibc());

/** What a client can say of it. */
export interface Told {
  /** When it noticed, in nanoseconds; never, when nothing showed. */
  readonly noticedAt?: number;
  /** What the program saw. */
  readonly saw: string;
  /** What it does not have any more. */
  readonly lost: string;
  readonly isLost: boolean;
}

const later: (() => Promise<Record<string, Told>>)[] = [];

serveProgram({
  async begin(address: string, ports: { tcp: number; web: number; backtalk: number }): Promise<void> {
    const web = `http://${address}:${ports.web}`;
    later.push(await rawSession(address, ports.tcp));
    later.push(await plainRequest(web));
    for (const kind of ["memory", "token", "store"]) later.push(await login(web, kind));
    later.push(await backtalk(`http://${address}:${ports.backtalk}`));
  },
  /** The server is there again. */
  async after(): Promise<Record<string, Told>> {
    return Object.assign({}, ...(await Promise.all(later.map((each) => each()))));
  },
});

async function rawSession(address: string, port: number) {
  const socket: Socket = connect(port, address);
  let answer = Promise.withResolvers<string>();
  let noticedAt: number | undefined;
  let how = "nothing";
  socket.on("data", (bytes) => answer.resolve(bytes.toString().trim()));
  socket.on("end", () => notice("the end of the stream (FIN)"));
  socket.on("error", (error) => notice(`an error (${(error as NodeJS.ErrnoException).code})`));
  const notice = (what: string) => {
    noticedAt ??= now();
    how = what;
    answer.resolve("");
  };
  const ask = () => {
    answer = Promise.withResolvers();
    socket.write("line\n");
    return answer.promise;
  };
  for (let n = 0; n < 3; n++) await ask();
  return async () => {
    const again = connect(port, address);
    const first = Promise.withResolvers<string>();
    again.on("data", (bytes) => first.resolve(bytes.toString().trim()));
    again.on("error", (error) => first.reject(error));
    again.write("line\n");
    const count = await first.promise;
    again.destroy();
    socket.destroy();
    return {
      "raw TCP session": {
        ...(noticedAt !== undefined && { noticedAt }),
        saw: how,
        lost: count === "4" ? "nothing" : `the session: the server counts from ${count} again`,
        isLost: count !== "4",
      },
    };
  };
}

async function plainRequest(web: string) {
  let noticedAt: number | undefined;
  const inFlight = fetch(`${web}/slow`).then(
    async (response) => `status ${response.status} ${await response.text()}`,
    (error) => {
      noticedAt = now();
      return `an error (${(error as { code?: string }).code ?? (error as Error).name})`;
    },
  );
  return async () => {
    const saw = await inFlight;
    const again = await fetch(`${web}/slow`);
    return {
      "plain HTTP, a request in flight": {
        ...(noticedAt !== undefined && { noticedAt }),
        saw,
        lost: noticedAt === undefined ? "nothing" : "the answer, and whether the server did it; the next request works",
        isLost: noticedAt !== undefined && again.ok,
      },
    };
  };
}

async function login(web: string, kind: string) {
  const shown = await (await fetch(`${web}/login/${kind}`)).text();
  const me = () => fetch(`${web}/me/${kind}`, { headers: { "x-session": shown } });
  if ((await me()).status !== 200) throw new Error(`no login by ${kind}`);
  return async () => {
    const { status } = await me();
    const names: Record<string, string> = {
      memory: "login kept in memory",
      token: "login by a signed token",
      store: "login kept in a store",
    };
    return {
      [names[kind]!]: {
        ...(status !== 200 && { noticedAt: now() }),
        saw: `status ${status}`,
        lost: status === 200 ? "nothing" : "the login: the user has to sign in again",
        isLost: status !== 200,
      },
    };
  };
}

async function backtalk(url: string) {
  let noticedAt: number | undefined;
  const client = createClient<typeof story>(url, {
    transport: "sse",
    onRetry: () => {
      noticedAt ??= now();
    },
  });
  const numbers: number[] = [];
  const started = Promise.withResolvers<void>();
  const reading = (async () => {
    for await (const { n } of client.story.tell({})) {
      numbers.push(n);
      if (numbers.length === 5) started.resolve();
    }
    client.close();
  })();
  reading.catch((error) => started.reject(error));
  await started.promise;
  const before = numbers.length;
  return async () => {
    await reading;
    const isWhole = numbers.every((n, index) => n === index) && numbers.length === 60;
    return {
      "Backtalk call": {
        ...(noticedAt !== undefined && { noticedAt }),
        saw: `${numbers.length} items, ${before} of them before; the client reconnected by itself`,
        lost: isWhole ? "nothing" : `its order: ${numbers.join(" ")}`,
        isLost: !isWhole,
      },
    };
  };
}
