/** A certificate for tests, made once for each process. */
import { type Certificate, makeCertificate } from "../../src/net/certificate.ts";

let made: Certificate | undefined;

export function testCertificate(): Certificate {
  made ??= makeCertificate(["localhost"], Date.now());
  return made;
}
