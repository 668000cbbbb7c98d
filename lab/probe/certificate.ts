/** The certificate: whom it names, until when, who vouches, and what its size costs. */
import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { absent, type Finding, found } from "./finding.ts";
import type { Setting } from "./setting.ts";
import { isAddress } from "./target.ts";

/** RFC 9000 §8.1: a server sends at most three times what it has got, until the client's address is known. */
const AMPLIFICATION = 3;
/** RFC 9000 §14.1: the datagram of a client's first flight. */
const INITIAL_BYTES = 1_200;

export interface Certificates {
  /** The leaf first. */
  readonly chain: readonly X509Certificate[];
  /** Why a client would not take it; undefined when it would. */
  readonly fault: string | undefined;
}

export function certificatesOf(setting: Setting, tls: TLSSocket): Certificates {
  const chain = chainOf(tls);
  const [leaf] = chain;
  const fault = leaf ? (ownFault(setting, leaf) ?? issuerFault(tls)) : "none was sent";
  if (leaf && fault === undefined) setting.trusted.add(leaf.fingerprint256);
  return { chain, fault };
}

/**
 * The same of QUIC, whose `said` is the word of its library. That takes no certificate of `--cacert` that is no
 * authority: so one that was trusted over TCP is trusted here.
 */
export function quicTrustFault(setting: Setting, leaf: X509Certificate | undefined, said: string): string | undefined {
  if (!leaf) return said === "" ? undefined : said.toLowerCase();
  const own = ownFault(setting, leaf);
  if (own !== undefined || said === "" || setting.trusted.has(leaf.fingerprint256)) return own;
  if (setting.ca !== undefined && isIn(setting.ca, leaf)) return undefined;
  return said.toLowerCase();
}

function isIn(pem: string, leaf: X509Certificate): boolean {
  const all = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return all.some((each) => new X509Certificate(each).fingerprint256 === leaf.fingerprint256);
}

/** What is wrong with it, whoever vouches for it. */
function ownFault(setting: Setting, leaf: X509Certificate): string | undefined {
  const now = Date.now();
  if (now > Date.parse(leaf.validTo)) return `expired on ${day(leaf.validTo)}`;
  if (now < Date.parse(leaf.validFrom)) return `not valid before ${day(leaf.validFrom)}`;
  return isFor(leaf, setting.target.host) ? undefined : `it is not for ${setting.target.host}`;
}

function issuerFault(tls: TLSSocket): string | undefined {
  const fault = tls.authorizationError as unknown as Error | string | null | undefined;
  if (!fault) return undefined;
  const code = typeof fault === "string" ? fault : ((fault as { code?: string }).code ?? fault.message);
  return ISSUER[code] ?? code.toLowerCase().replaceAll("_", " ");
}

const ISSUER: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: "self-signed, and not trusted here",
  SELF_SIGNED_CERT_IN_CHAIN: "its root is not trusted here",
  UNABLE_TO_GET_ISSUER_CERT: "its issuer is not known here",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its issuer is not known here",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its issuer is not known here, and was not sent",
  CERT_HAS_EXPIRED: "one of the chain has expired",
};

function isFor(leaf: X509Certificate, host: string): boolean {
  return isAddress(host) ? leaf.checkIP(host) !== undefined : leaf.checkHost(host) !== undefined;
}

interface Peer {
  readonly raw?: Buffer;
  readonly issuerCertificate?: Peer;
}

function chainOf(tls: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  const seen = new Set<Peer>();
  let peer = tls.getPeerCertificate(true) as unknown as Peer | undefined;
  for (; peer?.raw && !seen.has(peer); peer = peer.issuerCertificate) {
    seen.add(peer);
    chain.push(new X509Certificate(peer.raw));
  }
  return chain;
}

/** What a QUIC handshake costs with a first flight of so many bytes: one more round trip for each that is too much. */
export function extraRoundTrips(flightBytes: number): number {
  return flightBytes > AMPLIFICATION * INITIAL_BYTES ? 1 : 0;
}

/**
 * @param sentBytes sizes of the certificates as TLS 1.2 showed them in the clear, where it did
 * @param flightBytes what the server sent in TLS 1.3 until it was ready
 */
export function certificateFinding(
  { chain, fault }: Certificates,
  sentBytes: readonly number[] | undefined,
  flightBytes: number,
): Finding {
  const [leaf] = chain;
  if (!leaf) return absent("certificate", { code: "certificate", detail: "none was sent" });
  const sizes = sentBytes ?? chain.map(({ raw }) => raw.length);
  const chainBytes = sizes.reduce((sum, size) => sum + size, 0);
  const extra = extraRoundTrips(Math.max(chainBytes, flightBytes));
  const names = namesOf(leaf);
  const days = Math.floor((Date.parse(leaf.validTo) - Date.now()) / 86_400_000);
  const room = AMPLIFICATION * INITIAL_BYTES;
  const text = [
    `${names.slice(0, 4).join(", ")}${names.length > 4 ? ` and ${names.length - 4} more` : ""}`,
    days >= 0 ? `${days} days left` : `${-days} days over`,
    `${sizes.length} in the chain, ${chainBytes.toLocaleString("en")} bytes`,
    extra === 0
      ? `the server's flight of ${flightBytes.toLocaleString("en")} bytes fits in QUIC's first ${room.toLocaleString("en")}`
      : `the server's flight of ${flightBytes.toLocaleString("en")} bytes costs QUIC +1 round trip (over 3 x 1,200)`,
  ].join("; ");
  const facts = {
    names,
    subject: leaf.subject,
    issuer: leaf.issuer,
    validFrom: new Date(leaf.validFrom).toISOString(),
    validTo: new Date(leaf.validTo).toISOString(),
    sizes,
    chainBytes,
    flightBytes,
    quicExtraRoundTrips: extra,
    key: `${leaf.publicKey.asymmetricKeyType}${keySize(leaf)}`,
    sha256: leaf.fingerprint256,
    isTrusted: fault === undefined,
  };
  if (fault !== undefined) return absent("certificate", { code: "certificate", detail: fault }, text, { facts });
  return found("certificate", text, { facts });
}

function namesOf(leaf: X509Certificate): string[] {
  const names = (leaf.subjectAltName ?? "").split(", ").map((each) => each.replace(/^(DNS|IP Address):/, ""));
  return names.filter((name) => name !== "");
}

function keySize({ publicKey: { asymmetricKeyDetails: details } }: X509Certificate): string {
  return details?.namedCurve ? ` ${details.namedCurve}` : details?.modulusLength ? ` ${details.modulusLength}` : "";
}

function day(text: string): string {
  return new Date(text).toISOString().slice(0, 10);
}
