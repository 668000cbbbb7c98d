import { afterEach, describe, expect, test } from "bun:test";
import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DevelopmentOptions, developmentCertificate, makeCertificate, spkiHash } from "./certificate.ts";
import { integer, oid, time, tlv } from "./der.ts";

const DAY_MS = 86_400_000;
const directories: string[] = [];
afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true });
});

async function empty(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "backtalk-certificate-"));
  directories.push(directory);
  return directory;
}

describe("a certificate that is made", () => {
  const now = Date.UTC(2026, 10, 20, 12);
  const { cert, key, expiresAt } = makeCertificate(["localhost", "127.0.0.1", "::1", "fe80::1:2", "box.test"], now);
  const x509 = new X509Certificate(cert);

  test("is for its names and addresses, and for no others", () => {
    for (const name of ["localhost", "box.test"]) expect(x509.checkHost(name)).toBe(name);
    for (const address of ["127.0.0.1", "::1", "fe80::1:2"]) expect(x509.checkIP(address)).toBe(address);
    expect(x509.checkHost("other.test")).toBeUndefined();
    expect(x509.checkIP("127.0.0.2")).toBeUndefined();
    expect(x509.ca).toBe(false);
  });

  test("is signed by its own P-256 key", () => {
    expect(x509.verify(x509.publicKey)).toBe(true);
    expect(x509.checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(x509.publicKey.asymmetricKeyDetails?.namedCurve).toBe("prime256v1");
  });

  test("lives 90 days and no second longer: Chromium takes no more over QUIC", () => {
    expect(Date.parse(x509.validTo)).toBe(expiresAt);
    const lives = expiresAt - Date.parse(x509.validFrom) + 1000;
    expect(lives).toBe(90 * DAY_MS);
    expect(Date.parse(x509.validFrom)).toBeLessThan(now);
  });

  test("its hash is that of its public key", () => {
    const spki = x509.publicKey.export({ type: "spki", format: "der" });
    expect(spkiHash(cert)).toBe(createHash("sha256").update(spki).digest("base64"));
    expect(spkiHash(cert)).toMatch(/^[A-Za-z0-9+/]{43}=$/);
  });

  test("no two have the same number", () => {
    const serials = Array.from(
      { length: 20 },
      () => new X509Certificate(makeCertificate(["a"], now).cert).serialNumber,
    );
    expect(new Set(serials).size).toBe(20);
    for (const serial of serials) expect(serial).toHaveLength(32);
  });
});

describe("the development certificate", () => {
  test("is made once, with a key that nobody else can read", async () => {
    const directory = join(await empty(), "new");
    const first = await developmentCertificate({ directory });
    expect(first.isNew).toBe(true);
    expect(await developmentCertificate({ directory })).toEqual({ ...first, isNew: false });
    expect((await stat(join(directory, "development.key"))).mode & 0o777).toBe(0o600);
    const shown = await readFile(first.path, "utf8");
    expect(shown).toBe(first.cert);
    expect(shown).not.toContain("PRIVATE");
    expect((await readdir(directory)).sort()).toEqual(["certificate.pem", "development.key"]);
  });

  test("is renewed two weeks before it expires, when a name is missing, and when it is damaged", async () => {
    const directory = await empty();
    let now = Date.UTC(2026, 0, 1);
    const make = (options: DevelopmentOptions = {}) =>
      developmentCertificate({ directory, now: () => now, ...options });
    const first = await make();
    now += 75 * DAY_MS;
    expect((await make()).isNew).toBe(false);
    now += 2 * DAY_MS;
    const second = await make();
    expect([second.isNew, second.cert === first.cert]).toEqual([true, false]);
    expect((await make({ names: ["dev.test"] })).isNew).toBe(true);
    expect((await make({ names: ["dev.test"] })).isNew).toBe(false);
    await writeFile(join(directory, "development.key"), "damaged");
    expect((await make()).isNew).toBe(true);
    expect((await stat(join(directory, "development.key"))).mode & 0o777).toBe(0o600);
  });

  test("many that start at once all end up with a pair that fits", async () => {
    const directory = await empty();
    await Promise.all(Array.from({ length: 10 }, () => developmentCertificate({ directory })));
    const { cert, key, isNew } = await developmentCertificate({ directory });
    expect(isNew).toBe(false);
    expect(new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))).toBe(true);
  });

  test("a directory that cannot be made is a fault that says what to do", async () => {
    const directory = join(await empty(), "file");
    await writeFile(directory, "");
    const made = developmentCertificate({ directory });
    expect(made).rejects.toMatchObject({ code: "failed_precondition", hint: expect.stringContaining("--cert") });
    await made.catch(() => {});
  });
});

describe("DER", () => {
  test("lengths (X.690 §8.1.3), numbers (§8.3), identifiers (§8.19) and times", () => {
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
    expect(hex(tlv(4, Buffer.alloc(127))).slice(0, 4)).toBe("047f");
    expect(hex(tlv(4, Buffer.alloc(128))).slice(0, 6)).toBe("048180");
    expect(hex(tlv(4, Buffer.alloc(300))).slice(0, 8)).toBe("0482012c");
    expect(hex(integer(Buffer.from([0])))).toBe("020100");
    expect(hex(integer(Buffer.from([0, 0, 0x7f])))).toBe("02017f");
    expect(hex(integer(Buffer.from([0x80])))).toBe("02020080");
    expect(hex(oid("1.2.840.10045.4.3.2"))).toBe("06082a8648ce3d040302");
    expect(Buffer.from(time(Date.UTC(2049, 11, 31, 23, 59, 59))).toString()).toContain("491231235959Z");
    expect(Buffer.from(time(Date.UTC(2050, 0, 1))).toString()).toContain("20500101000000Z");
  });
});
