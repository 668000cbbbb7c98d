/** The ways of HTTP: each by a GET of its own, with the time of its phases. */
import type { Certificates } from "../certificate.ts";
import { absent, type Finding, found, notTried, type TriedName } from "../finding.ts";
import { type Answer, EVENT_STREAM, type Fields, field, Http1 } from "../http1.ts";
import { type Answer2, Http2 } from "../http2.ts";
import { type Visit, visit } from "../quic.ts";
import { reasonOf, reasonText } from "../reason.ts";
import type { Address, Setting } from "../setting.ts";

export interface Way<A> {
  readonly finding: Finding;
  readonly answer?: A;
}

/** Over QUIC the certificate is seen too. */
export interface QuicWay extends Way<Visit> {
  readonly certificates?: Certificates;
}

/** The connection stays open for the checks that go on with it. */
export async function h1(setting: Setting, isTls: boolean): Promise<Way<Answer> & { readonly http?: Http1 }> {
  let http: Http1 | undefined;
  try {
    http = await Http1.open(setting, isTls);
    const answer = await http.ask({ what: "h1" });
    const text = `${told(answer)}${!isTls && wantsTls(answer) ? ": it says that TLS is spoken here" : ""}`;
    return { finding: found("h1", text, { facts: facts(answer), phases: answer.phases }), answer, http };
  } catch (thrown) {
    http?.close();
    return { finding: absent("h1", reasonOf(thrown)) };
  }
}

/** Servers of TLS that answer a plain request in plain words. */
export function wantsTls({ status, body }: Answer): boolean {
  return status === 400 && /https|TLS|SSL/i.test(Buffer.from(body).toString("latin1"));
}

export async function h2(setting: Setting, isTls: boolean): Promise<Way<Answer2>> {
  const name = isTls ? "h2" : "h2c";
  let http: Http2 | undefined;
  try {
    http = await Http2.open(setting, isTls);
    const answer = await http.ask({ what: name });
    return { finding: found(name, told(answer), { facts: facts(answer), phases: answer.phases }), answer };
  } catch (thrown) {
    return { finding: absent(name, reasonOf(thrown)) };
  } finally {
    http?.close();
  }
}

/** At all of the addresses at once: the first in their order that answers counts. */
export async function h3(setting: Setting, addresses: readonly Address[]): Promise<QuicWay> {
  const ways = await Promise.all(addresses.map((address) => h3At(setting, address)));
  return ways.find(({ finding }) => finding.isPresent) ?? ways[0]!;
}

async function h3At(setting: Setting, address: Address): Promise<QuicWay> {
  try {
    const answer = await visit(setting, { address, what: "h3", needsTicket: true });
    const { choice, trustFault, leaf } = answer;
    const certificates = { chain: leaf ? [leaf] : [], fault: trustFault };
    const how = [
      ...(choice ? [`QUIC version ${choice.quic}`] : []),
      answer.cipher,
      ...(choice?.group ? [choice.group] : []),
      ...(choice?.hasRetry ? ["Retry: +1 round trip"] : []),
      ...(choice?.isRetried ? ["HelloRetryRequest: +1 round trip"] : []),
    ];
    const more = {
      facts: { ...facts(answer), address: address.host, port: address.port, ...choice },
      phases: answer.phases,
    };
    const text = `${told(answer)}; ${how.join(", ")}`;
    if (trustFault !== undefined && !setting.isInsecure) {
      return { finding: absent("h3", { code: "certificate", detail: trustFault }, text, more), certificates };
    }
    return { finding: found("h3", text, more), answer, certificates };
  } catch (thrown) {
    return { finding: absent("h3", reasonOf(thrown)) };
  }
}

/** A session ticket that came over QUIC, shown again: whether it is taken, and early data with it. */
export async function quicAgain(setting: Setting, first: Visit | undefined, address: Address): Promise<Finding[]> {
  const names = ["quic-resumption", "0rtt-quic"] as const;
  if (!first) return names.map((name) => notTried(name, "HTTP/3 is not spoken"));
  if (!first.ticket) return names.map((name) => absent(name, { code: "not_offered" }, "no ticket came"));
  try {
    const again = await visit(setting, { address, ticket: first.ticket, what: "0rtt-quic" });
    const { isEarlyAttempted, isEarlyAccepted, choice, phases, status } = again;
    const isResumed = isEarlyAccepted || (choice?.isResumed ?? false);
    const resumption = isResumed
      ? found("quic-resumption", "the ticket was taken on another connection", { phases })
      : absent("quic-resumption", { code: "rejected" }, "a ticket came, and was not taken on another connection");
    if (isEarlyAccepted && status !== 425) {
      const text = `taken, and answered with status ${status}`;
      return [resumption, found("0rtt-quic", text, { facts: { status }, phases })];
    }
    if (isEarlyAccepted) return [resumption, absent("0rtt-quic", { code: "http_status", detail: "425" })];
    const text = "early data was sent with the ticket, and the server did not take it";
    if (isEarlyAttempted) return [resumption, absent("0rtt-quic", { code: "rejected" }, text)];
    return [resumption, absent("0rtt-quic", { code: "not_offered" }, "the ticket allows no early data")];
  } catch (thrown) {
    const reason = reasonOf(thrown);
    return names.map((name) => absent(name, reason));
  }
}

export interface AltSvc {
  /** As it was sent. */
  readonly value: string;
  /** Of the alternative for HTTP/3; the host is empty for the same one (RFC 7838 §3). */
  readonly host: string;
  readonly port: number;
}

/** The first alternative for HTTP/3. */
export function altSvcOf(answer: { readonly fields: Fields } | undefined): AltSvc | undefined {
  const value = answer && field(answer, "alt-svc");
  const match = value === undefined ? null : /(?:^|[,\s])h3="([^"]*):(\d{1,5})"/.exec(value);
  return match ? { value: value!, host: match[1]!, port: Number(match[2]) } : undefined;
}

/** True only when HTTP/3 was seen to be spoken where the field says so. Nothing goes to another host or port. */
export function altSvc(
  { target }: Setting,
  claimed: AltSvc | undefined,
  value: string | undefined,
  direct: Finding,
): Finding {
  const name: TriedName = "alt-svc";
  if (!claimed)
    return absent(name, { code: "not_offered" }, value === undefined ? "no such field" : `it says ${value}`);
  const facts = { value: claimed.value, host: claimed.host, port: claimed.port };
  const isOther = claimed.host !== "" && claimed.host.toLowerCase() !== target.authority.replace(/:\d+$/, "");
  if (isOther || claimed.port !== target.port) {
    const where = isOther ? `host, ${claimed.host}` : `port, ${claimed.port}`;
    const reason = { code: "not_tried", detail: `Alt-Svc names another ${where}` } as const;
    return absent(name, reason, `it says ${claimed.value}`, { facts });
  }
  if (direct.isPresent) return found(name, `it says ${claimed.value}, and it is true`, { facts });
  const what = `it says ${claimed.value}; tried: ${reasonText(direct.reason!)}`;
  return absent(name, direct.reason!, what, { facts });
}

function told({ status, fields, isCut }: Told): string {
  const to = status >= 300 && status < 400 ? field({ fields }, "location") : undefined;
  const server = field({ fields }, "server");
  return [
    `status ${status}${to === undefined ? "" : ` to ${cut(to)} (not followed)`}`,
    ...(server === undefined ? [] : [cut(server)]),
    ...(isCut && !EVENT_STREAM.test(field({ fields }, "content-type") ?? "") ? ["not read to its end"] : []),
  ].join(", ");
}

interface Told {
  readonly status: number;
  readonly fields: Fields;
  readonly isCut: boolean;
}

function facts({ status, fields }: Told): Record<string, unknown> {
  return { status, server: field({ fields }, "server"), location: field({ fields }, "location") };
}

/** What others wrote is shown up to here; the facts have all of it. */
function cut(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}...` : text;
}
