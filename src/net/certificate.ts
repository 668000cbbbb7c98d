/**
 * The development certificate: made on first use, so that HTTPS, HTTP/2 and HTTP/3 work at the first command.
 * Self-signed, for this machine only. Never for production: give `--cert` and `--key` there.
 */
import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { Fault } from "../log/fault.ts";

export interface Certificate {
  /** PEM: the certificate (and its chain), and the private key. */
  readonly cert: string;
  readonly key: string;
}

/** Browsers take no certificate over HTTP/3 by its hash that lives longer than 14 days to 90 days; 90 serves development. */
const DAYS = 90;
const RENEW_DAYS = 7;
const DAY_MS = 86_400_000;

/**
 * The certificate in `folder` (`certificate.pem`, `key.pem`), made or renewed when needed.
 * @throws Fault `failed_precondition` when the folder cannot be written
 */
export async function developmentCertificate(folder: string, now: () => number = Date.now): Promise<Certificate> {
  const files = { cert: join(folder, "certificate.pem"), key: join(folder, "key.pem") };
  const kept = readKept(files);
  if (kept && Date.parse(new X509Certificate(kept.cert).validTo) - now() > RENEW_DAYS * DAY_MS) return kept;
  const made = await makeCertificate(["localhost", hostname()], now());
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(files.key, made.key, { mode: 0o600 });
    // The mode of a file that was there already is not changed by writing.
    chmodSync(files.key, 0o600);
    writeFileSync(files.cert, made.cert);
  } catch (cause) {
    throw new Fault("failed_precondition", `the development certificate cannot be written to ${folder}`, {
      cause,
      hint: "make the folder writable, or give --cert and --key",
    });
  }
  return made;
}

function readKept(files: { cert: string; key: string }): Certificate | undefined {
  if (!existsSync(files.cert) || !existsSync(files.key)) return undefined;
  const kept = { cert: readFileSync(files.cert, "utf8"), key: readFileSync(files.key, "utf8") };
  try {
    checkCertificate(kept);
    return kept;
  } catch {
    // Half written or not a pair: it is made anew.
    return undefined;
  }
}

/** A self-signed certificate for ECDSA on P-256 (RFC 5280), for these names and the loopback addresses. */
export async function makeCertificate(names: readonly string[], now: number): Promise<Certificate> {
  // Loaded only when a certificate is made: it is large, and most starts do not need it.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=Backtalk development",
    keys,
    // Clocks of containers and hosts differ a little.
    notBefore: new Date(now - 3_600_000),
    notAfter: new Date(now - 3_600_000 + DAYS * DAY_MS),
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([
        ...[...new Set(names)].map((value) => ({ type: "dns" as const, value })),
        { type: "ip", value: "127.0.0.1" },
        { type: "ip", value: "::1" },
      ]),
    ],
  });
  const key = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  const lines = key.match(/.{1,64}/g)!.join("\n");
  return {
    cert: `${cert.toString("pem")}\n`,
    key: `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`,
  };
}

/** The certificate and key of two files. @throws Fault that says which file is wrong, and how */
export function readCertificate(certFile: string, keyFile: string): Certificate {
  const read = (file: string, what: string) => {
    try {
      return readFileSync(file, "utf8");
    } catch (cause) {
      throw new Fault("invalid_argument", `the ${what} cannot be read: ${file}`, { cause, hint: "give a PEM file" });
    }
  };
  const certificate = { cert: read(certFile, "certificate"), key: read(keyFile, "private key") };
  checkCertificate(certificate);
  return certificate;
}

/** @throws Fault when the two do not parse or do not belong together */
export function checkCertificate({ cert, key }: Certificate): void {
  try {
    if (new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) return;
  } catch (cause) {
    throw new Fault("invalid_argument", "the certificate or its key is not valid PEM", {
      cause,
      hint: "check with: openssl x509 -in CERT -noout -text; openssl pkey -in KEY -noout",
    });
  }
  throw new Fault("invalid_argument", "the key does not belong to the certificate", {
    hint: "give the key that the certificate was made for",
  });
}

/** SHA-256 of the public key (RFC 7469 §2.4), as browsers take it to trust one certificate. */
export function spkiHash(cert: string): string {
  const spki = new X509Certificate(cert).publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(spki).digest("base64");
}
