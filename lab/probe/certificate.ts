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
  const fault = leaf ? faultsOf(ownFaults(setting, leaf), issuerFault(tls)) : "none was sent";
  if (leaf && fault === undefined) setting.trusted.add(leaf.fingerprint256);
  if (fault !== undefined) setting.hasDistrusted = true;
  return { chain, fault };
}

/**
 * The same of QUIC, whose `said` is the code of its library, if it has a complaint. That takes no certificate of `--cacert` that is no
 * authority: so one that was trusted over TCP is trusted here.
 */
export function quicTrustFault(
  setting: Setting,
  leaf: X509Certificate | undefined,
  said: string | undefined,
): string | undefined {
  const issuer = said ? issuerText(said) : undefined;
  if (!leaf) return issuer;
  const isKnown = setting.trusted.has(leaf.fingerprint256) || (setting.ca !== undefined && isIn(setting.ca, leaf));
  return faultsOf(ownFaults(setting, leaf), isKnown ? undefined : issuer);
}

function isIn(pem: string, leaf: X509Certificate): boolean {
  const all = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return all.some((each) => new X509Certificate(each).fingerprint256 === leaf.fingerprint256);
}

/** What is wrong with it, whoever vouches for it. */
function ownFaults({ target: { host } }: Setting, leaf: X509Certificate): string[] {
  const now = Date.now();
  return [
    ...(now > Date.parse(leaf.validTo) ? [`expired on ${day(leaf.validTo)}`] : []),
    ...(now < Date.parse(leaf.validFrom) ? [`not valid before ${day(leaf.validFrom)}`] : []),
    ...(isFor(leaf, host) ? [] : [`it is not for ${host}`]),
  ];
}

/** All of them; of a time that is over the library says the same in its words. */
function faultsOf(own: readonly string[], issuer: string | undefined): string | undefined {
  const isSaid = own.length > 0 && issuer !== undefined && /expired|yet valid/.test(issuer);
  const all = [...own, ...(issuer === undefined || isSaid ? [] : [issuer])];
  return all.length === 0 ? undefined : all.join("; ");
}

function issuerFault(tls: TLSSocket): string | undefined {
  const fault = tls.authorizationError as unknown as Error | string | null | undefined;
  if (!fault) return undefined;
  const code = typeof fault === "string" ? fault : ((fault as { code?: string }).code ?? fault.message);
  return issuerText(code);
}

function issuerText(code: string): string {
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
 * Of the newest version that is spoken.
 * @param sent the chain as it was seen on the wire, where it could be read
 * @param older the one of TLS 1.2
 * @param flightBytes what the server sent until it was ready; undefined over QUIC, where the leaf alone is seen
 */
export function certificateFinding(
  { chain, fault }: Certificates,
  sent: readonly Uint8Array[] | undefined,
  older: readonly Uint8Array[] | undefined,
  flightBytes: number | undefined,
): Finding {
  const [leaf] = chain;
  if (!leaf) return absent("certificate", { code: "certificate", detail: "none was sent" });
  const sizes = (sent ?? withoutRoot(chain)).map(({ length }) => length);
  const other = older?.[0] && Buffer.compare(older[0], leaf.raw) !== 0 ? new X509Certificate(older[0]) : undefined;
  const chainBytes = sizes.reduce((sum, size) => sum + size, 0);
  const names = namesOf(leaf);
  const days = Math.floor((Date.parse(leaf.validTo) - Date.now()) / 86_400_000);
  const cost = flightBytes === undefined ? undefined : costOf(chainBytes, flightBytes);
  const text = [
    keyOf(leaf),
    `${names.slice(0, 4).join(", ")}${names.length > 4 ? ` and ${names.length - 4} more` : ""}`,
    days >= 0 ? `${days} days left` : `${-days} days over`,
    ...(cost ? [`${sizes.length} in the chain, ${chainBytes.toLocaleString("en")} bytes`, cost.text] : []),
    ...(other ? [`TLS 1.2 shows another one: ${keyOf(other)}`] : []),
  ].join("; ");
  const facts = {
    names,
    subject: leaf.subject,
    issuer: leaf.issuer,
    validFrom: new Date(leaf.validFrom).toISOString(),
    validTo: new Date(leaf.validTo).toISOString(),
    ...(cost && { sizes, chainBytes, flightBytes, quicExtraRoundTrips: cost.extra }),
    key: keyOf(leaf),
    sha256: leaf.fingerprint256,
    isTrusted: fault === undefined,
  };
  if (fault !== undefined) return absent("certificate", { code: "certificate", detail: fault }, text, { facts });
  return found("certificate", text, { facts });
}

function costOf(chainBytes: number, flightBytes: number) {
  const extra = extraRoundTrips(Math.max(chainBytes, flightBytes));
  const room = (AMPLIFICATION * INITIAL_BYTES).toLocaleString("en");
  const what = extra === 0 ? `fits in QUIC's first ${room}` : "costs QUIC +1 round trip (over 3 x 1,200)";
  return { extra, text: `the server's flight of ${flightBytes.toLocaleString("en")} bytes ${what}` };
}

/** The platform adds the root that it trusts, which nobody sends. */
function withoutRoot(chain: readonly X509Certificate[]): Uint8Array[] {
  return chain.filter((each, at) => at === 0 || each.subject !== each.issuer).map(({ raw }) => raw);
}

function namesOf(leaf: X509Certificate): string[] {
  const names = (leaf.subjectAltName ?? "").split(", ").map((each) => each.replace(/^(DNS|IP Address):/, ""));
  return names.filter((name) => name !== "").map(short);
}

/** The platform writes all eight parts of an address of IPv6 (RFC 5952 §4.2). */
function short(name: string): string {
  return name.includes(":") ? (URL.parse(`http://[${name}]`)?.hostname.slice(1, -1) ?? name) : name;
}

/** Such as `RSA 2048`, `EC P-256`, `ED25519`. */
function keyOf({ publicKey: { asymmetricKeyType: type, asymmetricKeyDetails: details } }: X509Certificate): string {
  const size = details?.namedCurve ?? details?.modulusLength;
  const name = size === "prime256v1" ? "P-256" : size === "secp384r1" ? "P-384" : size;
  return `${type?.toUpperCase() ?? "a key of another kind"}${name === undefined ? "" : ` ${name}`}`;
}

function day(text: string): string {
  return new Date(text).toISOString().slice(0, 10);
}
