/**
 * The server half of UDP (PROTOCOL.md §6): datagrams become calls of a peer. What decides is done in this order,
 * the cheapest first: the form of the datagram, the address (a token), the rate, the memory of answers, the JSON.
 */
import type { Host } from "../../contract/index.ts";
import { Fault, toFault } from "../../log/index.ts";
import { listenFault } from "../../net/faults.ts";
import { DATAGRAM, type Datagram, encodeDatagram, jsonBytes, parseDatagram } from "../../wire/datagram.ts";
import { ANSWER_MS, Answers, type Entry } from "./answers.ts";
import { faultDatagram } from "./fit.ts";
import { Meter } from "./meter.ts";
import { parseQuestion, type Question } from "./question.ts";
import { run } from "./run.ts";
import { Tokens } from "./tokens.ts";

export interface UdpOptions {
  readonly hostname: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Takes credentials from other machines too, in the clear (default false). */
  readonly credentials?: boolean;
  /** Milliseconds that never go back (default `performance.now`). */
  readonly now?: () => number;
}

export interface UdpListener {
  readonly hostname: string;
  readonly port: number;
  /** `udp://HOST:PORT`. */
  readonly url: string;
  /** Questions that run or are remembered, and the bytes of their answers. */
  readonly memory: { readonly records: number; readonly bytes: number };
  /** Answers what runs, then closes. Drain the core before: what runs without an end holds this up. */
  stop(): Promise<void>;
}

/** After this a call that runs is told of, so that its caller does not ask again; in milliseconds. */
const RUNNING_MS = 100;
const SWEEP_MS = 10_000;
/** How many times its own bytes an address that has shown nothing gets at most (RFC 9000 §8.1). */
const AMPLIFICATION = 3;

/** @throws Fault when the port cannot be opened, with `detail.port` when it is taken */
export async function udpListener(host: Host, options: UdpOptions): Promise<UdpListener> {
  const { hostname, port } = options;
  const server = new UdpServer(host, options);
  let socket: Bun.udp.Socket<"buffer">;
  try {
    socket = await Bun.udpSocket({
      hostname,
      port,
      socket: {
        data: (_socket, bytes, from, address) => server.received(bytes, address, from),
        // ICMP about a client that has gone: its datagrams are lost like others.
        error() {},
      },
    });
  } catch (thrown) {
    throw listenFault(thrown, { hostname, port, option: "--udp-port" });
  }
  server.open(socket);
  const literal = hostname.includes(":") ? `[${hostname}]` : hostname;
  return {
    hostname,
    port: socket.port,
    url: `udp://${literal}:${socket.port}`,
    get memory() {
      return server.memory;
    },
    stop: () => server.stop(),
  };
}

class UdpServer {
  readonly #host: Host;
  readonly #isOpen: boolean;
  readonly #now: () => number;
  readonly #startedAt: number;
  readonly #tokens: Tokens;
  readonly #answers: Answers;
  readonly #proven: Meter;
  readonly #unproven: Meter;
  readonly #running = new Set<Promise<void>>();
  #socket: Bun.udp.Socket<"buffer"> | undefined;
  #sweep: ReturnType<typeof setInterval> | undefined;

  constructor(host: Host, options: UdpOptions) {
    const { limits, random } = host;
    this.#host = host;
    this.#isOpen = options.credentials === true;
    this.#now = options.now ?? (() => performance.now());
    this.#startedAt = this.#now();
    this.#tokens = new Tokens(this.#now);
    this.#answers = new Answers(limits, this.#now);
    this.#proven = new Meter(limits.datagramsPerAddress, limits.datagramsPerSecond, this.#now, random);
    this.#unproven = new Meter(limits.retriesPerAddress, limits.retriesPerSecond, this.#now, random);
  }

  get memory() {
    return { records: this.#answers.size, bytes: this.#answers.bytes };
  }

  open(socket: Bun.udp.Socket<"buffer">): void {
    this.#socket = socket;
    this.#sweep = setInterval(() => this.#answers.sweep(), SWEEP_MS);
    this.#sweep.unref();
  }

  async stop(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
    clearInterval(this.#sweep);
    this.#socket?.close();
    this.#socket = undefined;
  }

  received(bytes: Uint8Array, address: string, port: number): void {
    try {
      this.#count(this.#taken(bytes, address, port));
    } catch {
      // A defect of ours must not end the process; the client asks again, or gives up.
      this.#count("defect");
    }
  }

  /** What became of it, for the metrics. */
  #taken(bytes: Uint8Array, address: string, port: number): string {
    const datagram = parseDatagram(bytes);
    if (!datagram || (datagram.type !== DATAGRAM.ask && datagram.type !== DATAGRAM.stop)) return "garbage";
    const shown = this.#tokens.check(datagram.token, address, port);
    const isProven = shown !== undefined && shown.is !== "moved";
    if (!isProven) return this.#retry(datagram, bytes.length, address, port, shown?.client);
    if (!this.#proven.takes(address)) return "limited";
    const entry = this.#answers.find(shown.client + datagram.id);
    if (datagram.type === DATAGRAM.stop) {
      entry?.gone?.abort();
      return "stop";
    }
    if (entry) return this.#repeated(entry, datagram, address, port);
    if (shown.is === "old") return this.#retry(datagram, bytes.length, address, port, shown.client);
    if (bytes.length > this.#host.limits.datagramBytes) {
      this.#refuse(datagram.id, address, port, tooLarge(bytes.length, this.#host.limits.datagramBytes));
      return "refused";
    }
    this.#asked(datagram, shown.client, address, port);
    return "asked";
  }

  /** Nothing runs for an address that has shown nothing, and it gets no more than three times what it sent. */
  #retry({ id, type }: Datagram, length: number, address: string, port: number, client: string | undefined): string {
    if (type !== DATAGRAM.ask) return "unproven";
    if (!this.#unproven.takes(address)) return "limited";
    const sinceMs = Math.floor(Math.min(this.#now() - this.#startedAt, ANSWER_MS));
    const token = this.#tokens.issue(address, port, client);
    const answer = encodeDatagram(DATAGRAM.retry, id, jsonBytes({ sinceMs }), token);
    if (answer.length > AMPLIFICATION * length) return "unproven";
    this.#send(answer, address, port);
    return "retry";
  }

  #repeated(entry: Entry, { id, body }: Datagram, address: string, port: number): string {
    if (entry.fingerprint !== fingerprint(body)) {
      this.#refuse(id, address, port, new Fault("invalid_argument", "this id was used for another question"));
      return "refused";
    }
    // After a change of the address: where its client is now.
    entry.address = address;
    entry.port = port;
    entry.heardAt = this.#now();
    if (!entry.answer) this.#send(encodeDatagram(DATAGRAM.running, id), address, port);
    else if (entry.answer.length > 0) this.#send(entry.answer, address, port);
    else {
      const fault = new Fault("data_loss", "this was answered, and there was no room to keep the answer", {
        limit: "datagramRecordBytes",
        hint: "use a key: then the record in the store answers",
      });
      this.#refuse(id, address, port, fault);
    }
    return "repeated";
  }

  #asked({ id, body }: Datagram, client: string, address: string, port: number): void {
    let question: Question;
    let entry: Entry | undefined;
    try {
      question = parseQuestion(body, this.#host);
      // The others change nothing when they run again.
      if ("method" in question) entry = this.#answers.open(client + id, fingerprint(body), address, port);
    } catch (thrown) {
      this.#refuse(id, address, port, thrown);
      return;
    }
    const gone = entry?.gone ?? new AbortController();
    const told = setTimeout(() => {
      const { address: to = address, port: at = port } = entry ?? {};
      this.#send(encodeDatagram(DATAGRAM.running, id), to, at);
    }, RUNNING_MS);
    const running = run(this.#host, question, { id, address, isOpen: this.#isOpen, signal: gone.signal }).then(
      (answer) => {
        clearTimeout(told);
        this.#running.delete(running);
        if (entry) this.#answers.answered(entry, answer);
        this.#send(answer, entry?.address ?? address, entry?.port ?? port);
      },
    );
    this.#running.add(running);
  }

  #refuse(id: string, address: string, port: number, thrown: unknown): void {
    const fault = toFault(thrown);
    this.#host.metrics.add("backtalk_faults_total", `transport="udp",code="${fault.code}"`, 1);
    this.#send(faultDatagram(id, fault, this.#host.limits.datagramBytes), address, port);
  }

  /** A datagram that the system has no room for is lost like others: the client asks again. */
  #send(bytes: Uint8Array<ArrayBuffer>, address: string, port: number): void {
    try {
      this.#socket?.send(bytes, port, address);
    } catch {
      // Bun 1.4.5: ICMP about another client fails the next send once, whomever it is to.
      try {
        this.#socket?.send(bytes, port, address);
      } catch {
        // Nobody can be reached there.
      }
    }
  }

  #count(outcome: string): void {
    this.#host.metrics.add("backtalk_datagrams_total", `outcome="${outcome}"`, 1);
  }
}

function tooLarge(bytes: number, most: number): Fault {
  return new Fault("resource_exhausted", `the datagram has ${bytes} bytes, and may have ${most}`, {
    limit: "datagramBytes",
    retryable: false,
    hint: "use another transport, such as http1 or tcp",
  });
}

function fingerprint(body: Uint8Array): bigint {
  return Bun.hash.wyhash(body);
}
