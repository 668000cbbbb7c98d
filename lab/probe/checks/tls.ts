/** TLS: each version by a handshake of its own, what was chosen, and whether a session goes on elsewhere. */
import type { SecureVersion } from "node:tls";
import { type Certificates, certificateFinding, certificatesOf } from "../certificate.ts";
import { absent, type Finding, found, notTried, type TriedName } from "../finding.ts";
import { Http1 } from "../http1.ts";
import { Line } from "../line.ts";
import { Absent, reasonOf } from "../reason.ts";
import type { Setting } from "../setting.ts";
import type { Said } from "../tls-seen.ts";

const VERSIONS = [
  ["tls1.0", "TLSv1"],
  ["tls1.1", "TLSv1.1"],
  ["tls1.2", "TLSv1.2"],
  ["tls1.3", "TLSv1.3"],
] as const satisfies readonly (readonly [TriedName, SecureVersion])[];

/** Both, so that a server of either takes it. */
const ALPN = ["h2", "http/1.1"];

/** Whether TLS is spoken at all, of any version. @throws Absent */
export async function looksTls(setting: Setting): Promise<void> {
  const line = await Line.open(setting, { tls: { ALPNProtocols: ALPN, minVersion: "TLSv1" }, isForLooking: true });
  line.close();
}

/** The versions, the post-quantum group and the certificate, which are seen by the same handshakes. */
export async function versions(setting: Setting): Promise<Finding[]> {
  const all = await Promise.all(VERSIONS.map(([name, version]) => handshake(setting, name, version)));
  const findings = all.map(({ finding }) => finding);
  const newest = all.findLast(({ certificates }) => certificates !== undefined);
  if (!newest?.certificates) {
    const reason = findings.at(-1)!.reason!;
    return [...findings, absent("post-quantum", reason), absent("certificate", reason)];
  }
  const older = all[2]!.said?.certificates;
  const certificate = certificateFinding(newest.certificates, newest.said?.certificates, older, newest.flightBytes);
  return [...findings, postQuantum(all[3]!), certificate];
}

interface Handshake {
  readonly finding: Finding;
  readonly certificates?: Certificates;
  readonly said?: Said;
  readonly flightBytes: number;
}

async function handshake(setting: Setting, name: TriedName, version: SecureVersion): Promise<Handshake> {
  try {
    const line = await Line.open(setting, {
      tls: { ALPNProtocols: ALPN, minVersion: version, maxVersion: version },
      isForLooking: true,
    });
    const { flightBytes } = line;
    const said = await line.said();
    const { choice, asksCertificate } = said;
    const facts = {
      cipher: choice?.cipher,
      group: choice?.group,
      alpn: line.tls!.alpnProtocol || null,
      hasHelloRetry: choice?.isRetried ?? false,
      roundTrips: line.roundTrips - 1,
      asksClientCertificate: asksCertificate,
    };
    const text = [
      choice?.cipher ?? "",
      choice?.group ?? "a key of its certificate",
      line.tls!.alpnProtocol ? `ALPN ${line.tls!.alpnProtocol}` : "no ALPN",
      // RFC 8446 §4.1.4
      ...(choice?.isRetried ? ["HelloRetryRequest: +1 round trip"] : []),
      ...(asksCertificate ? ["asks for a client certificate"] : []),
    ].join(", ");
    // Of the platform's object, which has nothing any more when it is closed.
    const certificates = certificatesOf(setting, line.tls!);
    line.close();
    return { finding: found(name, text, { facts }), certificates, said, flightBytes };
  } catch (thrown) {
    const note = thrown instanceof Absent ? thrown.note : "";
    return { finding: absent(name, reasonOf(thrown), note), flightBytes: 0 };
  }
}

function postQuantum({ finding, said }: Handshake): Finding {
  const group = said?.choice?.group;
  if (finding.reason) return absent("post-quantum", finding.reason);
  if (group === "X25519MLKEM768")
    return found("post-quantum", `${group} was offered, and chosen`, { facts: { group } });
  return absent("post-quantum", { code: "not_offered" }, `offered, and ${group ?? "another"} was chosen`, {
    facts: { group },
  });
}

/**
 * A session of this version is taken by the server on another connection: seen in its ServerHello. `isH1`: a
 * request of HTTP/1.1 may go first, after which some servers give their tickets.
 */
export async function resumption(setting: Setting, version: "1.2" | "1.3", isH1: boolean): Promise<Finding> {
  const name = `tls${version}-resumption` as const;
  const tls = {
    minVersion: `TLSv${version}`,
    maxVersion: `TLSv${version}`,
    ALPNProtocols: isH1 ? ["http/1.1"] : ALPN,
  } as const;
  try {
    const given = await sessionOf(setting, tls, isH1);
    if (!given) {
      const text = version === "1.3" ? "no ticket came" : "neither a ticket nor a session id came";
      return absent(name, { code: "not_offered" }, text);
    }
    const { session, by } = given;
    const line = await Line.open(setting, { tls: { ...tls, session }, isForLooking: true });
    const { choice, certificates } = line.seen.read();
    // RFC 5246 §7.3: an abbreviated handshake is without Certificate; RFC 8446 §4.2.11: the key is chosen.
    const isTaken = version === "1.3" ? choice?.isResumed : certificates === undefined && line.tls!.isSessionReused();
    const [bytes, turns] = [line.flightBytes, line.roundTrips - 1];
    line.close();
    if (!isTaken) return absent(name, { code: "rejected" }, `a ${by} came, and was not taken on another connection`);
    const trips = `${turns} round trip${turns === 1 ? "" : "s"}`;
    const text = `a ${by}, taken on another connection: ${trips}, ${bytes.toLocaleString("en")} bytes from the server`;
    return found(name, text, { facts: { by, flightBytes: bytes, roundTrips: turns } });
  } catch (thrown) {
    return absent(name, reasonOf(thrown));
  }
}

type Offer = {
  readonly minVersion: SecureVersion;
  readonly maxVersion: SecureVersion;
  readonly ALPNProtocols: string[];
};

interface Given {
  readonly session: Buffer;
  readonly by: "ticket" | "session id";
}

/** Tickets of TLS 1.3 (RFC 8446 §4.6.1): some servers send them with the first flight, some with the first answer. */
async function sessionOf(setting: Setting, tls: Offer, isH1: boolean): Promise<Given | undefined> {
  const line = await Line.open(setting, { tls, isForLooking: true });
  try {
    if (tls.minVersion === "TLSv1.3") {
      const came = new Promise<void>((resolve) => line.tls!.once("session", () => resolve()));
      if (isH1) await new Http1(line).ask({ what: "a ticket" }).catch(() => undefined);
      else line.stream.resume();
      if (line.sessions.length === 0) {
        await setting.within(came, Math.min(line.deadline, performance.now() + TICKET_MS)).catch(() => undefined);
      }
      const session = line.sessions.at(-1);
      return session && { session, by: "ticket" };
    }
    const { session: by } = line.seen.read();
    const session = line.sessions.at(-1) ?? line.tls!.getSession();
    return by && session && session.length > 0 ? { session, by } : undefined;
  } finally {
    line.close();
  }
}

/** How long a ticket is waited for after the answer, or after the handshake. */
const TICKET_MS = 300;

/** What there is to say of TLS where none is spoken. */
export function withoutTls(why: string): Finding[] {
  const names = [...VERSIONS.map(([name]) => name), "post-quantum", "certificate", ...RESUMPTIONS] as const;
  return names.map((name) => notTried(name, why));
}

const RESUMPTIONS = ["tls1.2-resumption", "tls1.3-resumption", "0rtt-tcp"] as const;
