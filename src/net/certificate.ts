/**
 * A certificate for development, so that HTTP/2 and 3 work on this machine before there is a real one: made
 * when first used, renewed before it expires. Browsers warn of it, because nobody vouches for it.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { Fault } from "../log/index.ts";
import { bits, type Der, explicit, implicit, integer, octets, oid, sequence, set, time, truth, utf8 } from "./der.ts";

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface DevelopmentCertificate extends Certificate {
  /** The file with the certificate alone, for `curl --cacert` and `NODE_EXTRA_CA_CERTS`. */
  readonly path: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  readonly isNew: boolean;
}

export interface DevelopmentOptions {
  /** Where it is kept (default `.backtalk`). */
  readonly directory?: string;
  /** Further names and addresses that it is for. */
  readonly names?: readonly string[];
  readonly now?: () => number;
}

const DAY_MS = 86_400_000;
/** Chromium takes no longer life of a certificate that it does not know for QUIC. */
const LIFE_MS = 90 * DAY_MS;
const RENEW_MS = 14 * DAY_MS;
/** Clocks of other machines are a little behind. */
const SKEW_MS = 5 * 60_000;

/** @throws Fault `failed_precondition` when the directory cannot be written */
export async function developmentCertificate(options: DevelopmentOptions = {}): Promise<DevelopmentCertificate> {
  const { directory = ".backtalk", names = [], now = Date.now } = options;
  const path = join(directory, "certificate.pem");
  // Key and certificate in one file: two servers that start at once never mix theirs.
  const both = join(directory, "development.key");
  const wanted = [...new Set(["localhost", "127.0.0.1", "::1", hostname(), ...names])];
  const kept = await readKept(both, wanted, now());
  if (kept) return { ...kept, path, isNew: false };
  const made = makeCertificate(wanted, now());
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await replace(both, made.key + made.cert, 0o600);
    await replace(path, made.cert, 0o644);
  } catch (cause) {
    throw new Fault("failed_precondition", `the development certificate cannot be kept in ${directory}`, {
      hint: "make the directory writable, or give a certificate of your own with --cert and --key",
      cause,
    });
  }
  return { ...made, path, isNew: true };
}

/**
 * The hash of a certificate's public key (SHA-256 of the SubjectPublicKeyInfo, base64), for Chromium's
 * `--ignore-certificate-errors-spki-list=HASH`, and for pinning (RFC 7469 §2.4).
 */
export function spkiHash(cert: string): string {
  const { publicKey } = new X509Certificate(cert);
  return createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("base64");
}

/** A self-signed certificate for P-256 (RFC 5280 §4.1) for these names and IP addresses. */
export function makeCertificate(names: readonly string[], now: number): Certificate & { readonly expiresAt: number } {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const from = Math.floor((now - SKEW_MS) / 1000) * 1000;
  // Both ends count: the last second is part of its life (RFC 5280 §4.1.2.5).
  const expiresAt = from + LIFE_MS - 1000;
  const name = sequence(set(sequence(oid("2.5.4.3"), utf8("Backtalk development"))));
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(serialNumber()),
    ECDSA_SHA256,
    name,
    sequence(time(from), time(expiresAt)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    explicit(3, sequence(...extensions(names, publicKey))),
  );
  const signature = sign("sha256", body, { key: privateKey, dsaEncoding: "der" });
  return {
    cert: pem("CERTIFICATE", sequence(body, ECDSA_SHA256, bits(signature))),
    key: pem("PRIVATE KEY", privateKey.export({ type: "pkcs8", format: "der" })),
    expiresAt,
  };
}

/** RFC 5758 §3.2 */
const ECDSA_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));

/** RFC 5280 §4.1.2.2: positive, at most 20 bytes. */
function serialNumber(): Uint8Array {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes;
}

/** RFC 5280 §4.2.1 */
function extensions(names: readonly string[], publicKey: KeyObject): Der[] {
  const spki = publicKey.export({ type: "spki", format: "der" });
  const keyId = createHash("sha256").update(spki).digest().subarray(0, 20);
  const critical = (id: string, value: Der): Der => sequence(oid(id), truth(), octets(value));
  const extension = (id: string, value: Der): Der => sequence(oid(id), octets(value));
  return [
    // Not a certificate authority: whoever trusts it trusts nothing else.
    critical("2.5.29.19", sequence()),
    // digitalSignature
    critical("2.5.29.15", bits(Buffer.from([0x80]), 7)),
    // serverAuth
    extension("2.5.29.37", sequence(oid("1.3.6.1.5.5.7.3.1"))),
    extension("2.5.29.14", octets(keyId)),
    extension("2.5.29.17", sequence(...names.map(generalName))),
  ];
}

/** RFC 5280 §4.2.1.6: dNSName [2], iPAddress [7]. */
function generalName(name: string): Der {
  const address = ipBytes(name);
  return address ? implicit(7, address) : implicit(2, Buffer.from(name, "latin1"));
}

function ipBytes(name: string): Uint8Array | undefined {
  if (/^\d+\.\d+\.\d+\.\d+$/.test(name)) return Buffer.from(name.split(".").map(Number));
  if (!name.includes(":")) return undefined;
  const [head = "", tail] = name.split("::");
  const words = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((word) => Number.parseInt(word, 16));
  const begin = words(head);
  const end = tail === undefined ? [] : words(tail);
  const all = [...begin, ...new Array<number>(Math.max(0, 8 - begin.length - end.length)).fill(0), ...end];
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 0xff]));
}

async function readKept(path: string, names: readonly string[], now: number) {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch {
    return undefined;
  }
  const [key, cert] = [block(text, "PRIVATE KEY"), block(text, "CERTIFICATE")];
  if (!key || !cert) return undefined;
  try {
    const x509 = new X509Certificate(cert);
    const expiresAt = Date.parse(x509.validTo);
    const isFor = names.every((name) => (ipBytes(name) ? x509.checkIP(name) : x509.checkHost(name)) !== undefined);
    return expiresAt - now > RENEW_MS && isFor ? { cert, key, expiresAt } : undefined;
  } catch {
    // Damaged: a new one takes its place.
    return undefined;
  }
}

function block(text: string, label: string): string | undefined {
  return new RegExp(`-----BEGIN ${label}-----[^-]+-----END ${label}-----\n?`).exec(text)?.[0];
}

function pem(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString("base64")
    .match(/.{1,64}/g)!;
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** Whole or not at all, also for who reads at the same time. */
async function replace(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString("hex")}`;
  await writeFile(temporary, text, { mode, flag: "wx" });
  await rename(temporary, path);
}
