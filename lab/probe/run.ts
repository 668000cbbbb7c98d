/** The order of a probe: what it finds out first decides what is tried then. What is timed is tried alone. */
import { certificateFinding } from "./certificate.ts";
import { backtalk, DESCRIPTION, isBacktalkFault, streamOf } from "./checks/backtalk.ts";
import { hsts, idle, reuse } from "./checks/content.ts";
import { connect, grpc } from "./checks/rpc.ts";
import { sse, websocket } from "./checks/streams.ts";
import { looksTls, resumption, versions, withoutTls } from "./checks/tls.ts";
import { altSvc, altSvcOf, h1, h2, h3, type QuicWay, quicAgain, wantsTls } from "./checks/ways.ts";
import { earlyData } from "./early.ts";
import { absent, type Finding, notTried, type TriedName } from "./finding.ts";
import { type Fields, field } from "./http1.ts";
import { type Reason, reasonOf } from "./reason.ts";
import { connectTcp, resolve } from "./resolve.ts";
import type { Address, Setting } from "./setting.ts";

export interface RunOptions {
  readonly idleMs?: number;
  readonly subprotocols?: readonly string[];
}

export class Run {
  readonly findings = new Map<TriedName, Finding>();
  addresses: readonly string[] = [];
  speaks: "tls" | "plain" | "nothing" = "nothing";
  readonly #setting: Setting;
  readonly #options: RunOptions;
  readonly #progress: (text: string) => void;
  /** Where server-sent events are asked for; null: nowhere without a call. Undefined: at the path of the target. */
  #stream: string | null | undefined;

  constructor(setting: Setting, options: RunOptions, progress: (text: string) => void) {
    this.#setting = setting;
    this.#options = options;
    this.#progress = progress;
  }

  async all(): Promise<void> {
    const setting = this.#setting;
    this.#progress("addresses");
    const { finding, addresses } = await resolve(setting);
    this.#add(finding);
    this.addresses = addresses;
    if (addresses.length === 0) return this.#silence(finding.reason!);
    const tcp = await connectTcp(setting, addresses);
    this.#add(tcp);
    if (tcp.isPresent) {
      this.addresses = [setting.address.host, ...addresses.filter((each) => each !== setting.address.host)];
      await this.#classify();
    } else {
      setting.address = { host: addresses[0]!, port: setting.target.port };
      this.#silence(tcp.reason!);
    }
    await this.#ways();
  }

  /** What is spoken over TCP. */
  async #classify(): Promise<void> {
    const { target } = this.#setting;
    this.#progress("what is spoken");
    if (target.scheme === "http") {
      this.speaks = "plain";
      return;
    }
    const [tls, plain] = await Promise.all([
      this.#fails(looksTls(this.#setting)),
      target.scheme === "https" ? undefined : this.#fails(this.#looksPlain()),
    ]);
    if (tls === undefined) this.speaks = "tls";
    else if (target.scheme === undefined && plain === undefined) this.speaks = "plain";
    else this.#silence(target.scheme === "https" || plain!.code === "malformed" ? (plain ?? tls) : worse(tls, plain!));
  }

  async #looksPlain(): Promise<void> {
    const [one, two] = await Promise.all([h1(this.#setting, false), h2(this.#setting, false)]);
    one.http?.close();
    if (one.answer && (two.answer || !wantsTls(one.answer))) return;
    if (!two.answer) throw Object.assign(new Error(), { reason: one.finding.reason ?? two.finding.reason });
  }

  async #fails(work: Promise<void>): Promise<Reason | undefined> {
    try {
      await work;
      return undefined;
    } catch (thrown) {
      return (thrown as { reason?: Reason }).reason ?? reasonOf(thrown);
    }
  }

  /** HTTP/1.1, 2 and 3, one after another; then all that follows from them. */
  async #ways(): Promise<void> {
    const setting = this.#setting;
    const { target } = setting;
    const isTls = this.speaks === "tls";
    this.#progress("HTTP/1.1");
    const one = this.speaks === "nothing" ? undefined : await this.#h1(isTls);
    this.#add(one?.finding);
    // On the connection of the first request, at once: a server that serves one at a time waits for its end.
    if (one?.answer) await this.#adds(reuse(setting, isTls, one.answer, one.http!));
    this.#progress("HTTP/2");
    const two = this.speaks === "nothing" ? undefined : await h2(setting, isTls);
    this.#add(two?.finding);
    if (isTls) this.#add(notTried("h2c", "TLS is spoken here"));
    else if (this.speaks === "plain") this.#add(notTried("h2", "no TLS is spoken here"));
    this.#progress("HTTP/3");
    const hosts = this.#quicAddresses();
    const three = target.scheme === "http" || hosts.length === 0 ? undefined : h3(setting, hosts);
    if (!three) this.#add(notTried("h3", target.scheme === "http" ? "the address is http://" : "there is no address"));
    // Alone, as long as it seems to come to something.
    if (three) await Promise.race([three, Bun.sleep(QUIC_ALONE_MS)]);
    this.#progress("what is offered over them");
    const quic = this.#overQuic(three, one?.answer ?? two?.answer);
    await (this.speaks === "nothing" ? quic : this.#overTcp(one!, two!, quic));
    this.#hsts(one?.answer ?? two?.answer ?? (await three)?.answer);
  }

  /** Of a Backtalk server, which has nothing at /, its description is asked for, and by all that follows. */
  async #h1(isTls: boolean): ReturnType<typeof h1> {
    const setting = this.#setting;
    const { target } = setting;
    const one = await h1(setting, isTls);
    if (target.path !== "/" || !one.answer || !isBacktalkFault(one.answer)) return one;
    one.http?.close();
    setting.target = { ...target, path: DESCRIPTION };
    const there = await h1(setting, isTls);
    if (there.answer?.status === 200) {
      this.#stream = streamOf(there.answer) ?? null;
      const text = `${there.finding.text}, at ${DESCRIPTION}: Backtalk has nothing at /`;
      return { ...there, finding: { ...there.finding, text } };
    }
    there.http?.close();
    setting.target = target;
    return await h1(setting, isTls);
  }

  /** What follows from a way that is spoken over TCP, with what follows from QUIC beside it. */
  async #overTcp(one: Awaited<ReturnType<typeof h1>>, two: Awaited<ReturnType<typeof h2>>, quic: Promise<void>) {
    const setting = this.#setting;
    const { idleMs = 0, subprotocols = [] } = this.#options;
    const isTls = this.speaks === "tls";
    const { answer } = one;
    const why = one.finding.reason;
    const spoken = (names: readonly TriedName[], work: () => Promise<Finding | Finding[]>) => async () => {
      if (answer) await this.#adds(work());
      else for (const name of names) this.#add(unspoken(name, "HTTP/1.1 is not spoken", why));
    };
    if (!answer) for (const name of REUSED) this.#add(unspoken(name, "HTTP/1.1 is not spoken", why));
    const idling = this.#adds(
      answer ? idle(setting, isTls, idleMs) : Promise.resolve(unspoken("idle", "HTTP/1.1 is not spoken", why)),
    );
    // TLS first, and the POST last: a server that serves one at a time may be held by what it does not understand.
    await this.#tls(why);
    await pool(
      [
        spoken(["websocket"], () => websocket(setting, isTls, subprotocols)),
        spoken(["sse"], async () =>
          this.#stream === null
            ? notTried("sse", "its events are those of calls, and none is made")
            : await sse(setting, isTls, this.#stream),
        ),
        spoken(["backtalk"], () => backtalk(setting, isTls)),
        async () => {
          if (two.answer) return await this.#adds(grpc(setting, isTls, two.answer.status));
          for (const name of ["grpc", "grpc-health", "grpc-reflection"] as const) {
            this.#add(unspoken(name, "HTTP/2 is not spoken, on which it rides", two.finding.reason));
          }
        },
      ],
      MOST_AT_ONCE,
    );
    await spoken(["connect"], () => connect(setting, isTls))();
    await quic;
    if (idleMs > 0) this.#progress("how long an idle connection is kept");
    await idling;
  }

  async #overQuic(three: Promise<QuicWay> | undefined, answer: { readonly fields: Fields } | undefined): Promise<void> {
    const setting = this.#setting;
    const visited = await three;
    this.#add(visited?.finding);
    if (visited?.certificates && this.speaks !== "tls") {
      this.#add(certificateFinding(visited.certificates, undefined, undefined, undefined));
    }
    if (answer) {
      const value = field(answer, "alt-svc");
      this.#add(altSvc(setting, altSvcOf(answer), value, this.findings.get("h3")!));
    } else if (this.speaks !== "nothing") this.#add(notTried("alt-svc", "there was no answer over TCP"));
    const { address = setting.address.host } = (visited?.finding.facts ?? {}) as { address?: string };
    await this.#adds(quicAgain(setting, visited?.answer, { host: address, port: setting.target.port }));
  }

  async #tls(why: Reason | undefined): Promise<void> {
    const setting = this.#setting;
    if (this.speaks === "plain") {
      for (const each of withoutTls(
        setting.target.scheme === "http" ? "the address is http://" : "no TLS is spoken here",
      )) {
        this.#add(each);
      }
      return;
    }
    if (this.speaks === "nothing") return;
    await this.#adds(versions(setting));
    const isH1 = this.findings.get("h1")!.isPresent;
    for (const version of ["1.2", "1.3"] as const) {
      const seen = this.findings.get(`tls${version}`)!;
      const name = `tls${version}-resumption` as const;
      await this.#adds(
        seen.isPresent ? resumption(setting, version, isH1) : Promise.resolve(absent(name, seen.reason!)),
      );
    }
    const seen = this.findings.get("tls1.3")!;
    if (!seen.isPresent) this.#add(absent("0rtt-tcp", seen.reason!));
    else if (why?.code === "certificate") this.#add(unspoken("0rtt-tcp", "", why));
    else if (!isH1) this.#add(notTried("0rtt-tcp", "it is tried with HTTP/1.1, which is not spoken"));
    else await this.#adds(earlyData(setting));
  }

  /** The one of TCP first, and one of the other family. */
  #quicAddresses(): Address[] {
    const [first, ...rest] = this.addresses;
    if (first === undefined) return [];
    const other = rest.find((each) => each.includes(":") !== first.includes(":"));
    return [first, ...(other === undefined ? [] : [other])].map((host) => ({ host, port: this.#setting.target.port }));
  }

  /** Of any way over TLS, HTTP/3 too; it means nothing without (RFC 6797 §7.2). */
  #hsts(answer: { readonly fields: Fields } | undefined): void {
    if (this.speaks === "plain") this.#add(notTried("hsts", "it means nothing without TLS"));
    else if (answer) this.#add(hsts(answer));
    else this.#add(unspoken("hsts", "HTTP is not spoken", this.findings.get("h1")?.reason));
  }

  /** Nothing of TCP is spoken. */
  #silence(reason: Reason): void {
    const { scheme } = this.#setting.target;
    for (const name of ["h1", "h2c"] as const) this.#add(absent(name, reason));
    for (const name of ["h2", ...TLS_NAMES] as const) this.#add(absent(name, reason));
    if (scheme === "https") this.#add(notTried("h2c", "the address is https://"));
    if (scheme === "http")
      for (const name of ["h2", ...TLS_NAMES] as const) this.#add(notTried(name, "the address is http://"));
    for (const name of OVER_TCP) this.#add(notTried(name, "nothing is spoken over TCP"));
    if (!this.findings.get("dns")?.isPresent) for (const name of OVER_UDP) this.#add(absent(name, reason));
  }

  #add(finding: Finding | undefined): void {
    if (finding) this.findings.set(finding.name, finding);
  }

  async #adds(work: Promise<Finding | Finding[]>): Promise<void> {
    for (const finding of [await work].flat()) this.#add(finding);
  }
}

/** For so long HTTP/3 is tried with nothing beside it, in milliseconds. */
const QUIC_ALONE_MS = 1_000;
/** Tries that are not there for their time. */
const MOST_AT_ONCE = 4;

const TLS_NAMES = ["tls1.0", "tls1.1", "tls1.2", "tls1.3"] as const;
const REUSED = ["keep-alive", "gzip", "br", "zstd"] as const;

const OVER_TCP = [
  "post-quantum",
  "certificate",
  "tls1.2-resumption",
  "tls1.3-resumption",
  "0rtt-tcp",
  "alt-svc",
  "keep-alive",
  "idle",
  "gzip",
  "br",
  "zstd",
  "websocket",
  "sse",
  "grpc",
  "grpc-health",
  "grpc-reflection",
  "connect",
  "backtalk",
] as const satisfies readonly TriedName[];
const OVER_UDP = ["tcp", "h3", "quic-resumption", "0rtt-quic"] as const satisfies readonly TriedName[];

function unspoken(name: TriedName, what: string, why: Reason | undefined): Finding {
  return notTried(name, why?.code === "certificate" ? "the certificate is not trusted (--insecure goes on)" : what);
}

/** Of two ways to get nothing, the one that says more. */
function worse(one: Reason, other: Reason): Reason {
  return one.code === "timeout" || one.code === "closed" ? other : one;
}

async function pool(work: readonly (() => Promise<void>)[], most: number): Promise<void> {
  const open = [...work];
  const one = async (): Promise<void> => {
    for (let next = open.shift(); next; next = open.shift()) await next();
  };
  await Promise.all(Array.from({ length: most }, one));
}
