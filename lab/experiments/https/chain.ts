/** A chain as large ones are: a leaf with many names, two intermediate authorities and their root, by openssl. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratch } from "../../wire/scratch.ts";

export interface Chain {
  /** PEM; the leaf first, the root last. */
  readonly certificates: readonly string[];
  readonly key: string;
}

const NAMES = ["localhost", ...Array.from({ length: 28 }, (_, n) => `service-${n}.of.a.large.site.example`)];
const SITE = "http://pki.authority.example";

/** What authorities put into certificates (RFC 5280 §4.2): policies, and where to ask about them. */
const USUAL = [
  "subjectKeyIdentifier = hash",
  "authorityKeyIdentifier = keyid",
  `certificatePolicies = 2.23.140.1.2.2, @policy`,
  `crlDistributionPoints = URI:${SITE}/lists/of/what/was/revoked/current.crl`,
  `authorityInfoAccess = OCSP;URI:${SITE}/ocsp, caIssuers;URI:${SITE}/certificates/of/issuers/current.der`,
];
const POLICY = ["[policy]", "policyIdentifier = 1.3.6.1.4.1.99999.1.1", `CPS.1 = ${SITE}/statement/of/practice`];
const AUTHORITY = ["basicConstraints = critical, CA:true", "keyUsage = critical, keyCertSign, cRLSign", ...USUAL];
const LEAF = [
  "basicConstraints = critical, CA:false",
  "keyUsage = critical, digitalSignature",
  "extendedKeyUsage = serverAuth, clientAuth",
  ...USUAL,
  `subjectAltName = ${NAMES.map((name) => `DNS:${name}`).join(", ")}`,
];

/** About 6 KB. @throws Error when openssl is not installed */
export function makeChain(): Chain {
  if (Bun.which("openssl") === null) throw new Error("openssl is not installed: install it and try again");
  using folder = scratch("chain");
  const at = (name: string) => join(folder.path, name);
  const openssl = (...args: readonly string[]) => {
    const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args], { stdin: "ignore", stdout: "ignore" });
    if (exitCode !== 0) throw new Error(`openssl ${args[0]} failed: ${stderr.toString().trim().slice(-200)}`);
  };
  const names = ["root", "first", "second", "leaf"];
  for (const [n, name] of names.entries()) {
    const isLeaf = name === "leaf";
    const algorithm = isLeaf ? ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] : ["rsa:2048"];
    const subject = `/C=CH/O=An Authority for Laboratories/OU=${name}/CN=${isLeaf ? "localhost" : `Authority ${name}`}`;
    const request = ["-newkey", ...algorithm, "-nodes", "-keyout", at(`${name}.key`), "-subj", subject];
    openssl("req", ...request, "-out", at(`${name}.csr`));
    writeFileSync(at("extensions"), [...(isLeaf ? LEAF : AUTHORITY), ...POLICY].join("\n"));
    const signer =
      n === 0 ? ["-signkey", at("root.key")] : ["-CA", at(`${names[n - 1]}.pem`), "-CAkey", at(`${names[n - 1]}.key`)];
    const files = ["-in", at(`${name}.csr`), "-out", at(`${name}.pem`), "-extfile", at("extensions")];
    openssl("x509", "-req", "-sha256", "-days", "30", "-set_serial", String(n + 1), ...files, ...signer);
  }
  const read = (name: string) => readFileSync(at(name), "utf8");
  return { certificates: names.toReversed().map((name) => read(`${name}.pem`)), key: read("leaf.key") };
}
