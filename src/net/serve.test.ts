import { afterEach, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Fault } from "../log/fault.ts";
import { checkCertificate, developmentCertificate, makeCertificate, readCertificate, spkiHash } from "./certificate.ts";
import { type Listener, listen } from "./serve.ts";

const open: Listener[] = [];
const folders: string[] = [];
afterEach(async () => {
  for (const listener of open.splice(0)) await listener.stop(0);
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const handlers = {
  fetch: () => new Response("hello"),
  websocket: { message() {} },
  bodyBytes: 1024,
  port: 0,
};

async function start(options: Partial<Parameters<typeof listen>[0]> = {}): Promise<Listener> {
  const listener = await listen({ ...handlers, ...options } as Parameters<typeof listen>[0]);
  open.push(listener);
  return listener;
}

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "backtalk-net-"));
  folders.push(made);
  return made;
}

async function faultOf(run: () => unknown): Promise<Fault> {
  try {
    await run();
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown;
    throw thrown;
  }
  throw new Error("no fault came");
}

describe("listen", () => {
  test("answers HTTP/1.1, 2 and 3 on one TLS port: what is announced is there", async () => {
    const { url, protocols } = await start({ certificate: await makeCertificate(["localhost"], Date.now()) });
    expect(protocols).toEqual(["http1", "http2", "http3"]);
    for (const protocol of ["http1.1", "http2", "http3"]) {
      const init = { protocol, tls: { rejectUnauthorized: false } } as RequestInit;
      expect(await (await fetch(url, init)).text()).toBe("hello");
    }
  });

  test("says which port is in use, and what to do", async () => {
    const { port } = await start();
    const fault = await faultOf(() => start({ port }));
    expect(fault.code).toBe("failed_precondition");
    expect(fault.message).toContain(String(port));
    expect(fault.hint).toContain("another port");
  });

  test("refuses an address of another machine", async () => {
    expect((await faultOf(() => start({ host: "192.0.2.1" }))).hint).toBeDefined();
  });

  test("stop waits for a response that is on its way, and closes what is idle", async () => {
    let answer = (_: Response) => {};
    let arrived = () => {};
    const inside = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const listener = await start({
      fetch: () => {
        arrived();
        return new Promise<Response>((resolve) => {
          answer = resolve;
        });
      },
    });
    const response = fetch(listener.url);
    await inside;
    const stopped = listener.stop(60_000);
    answer(new Response("late"));
    expect(await (await response).text()).toBe("late");
    await stopped;
    expect(fetch(listener.url)).rejects.toThrow();
  });
});

describe("the development certificate", () => {
  test("is made once, for this machine, with a private key", async () => {
    const at = join(folder(), "tls");
    const first = await developmentCertificate(at);
    expect(await developmentCertificate(at)).toEqual(first);
    expect(statSync(join(at, "key.pem")).mode & 0o777).toBe(0o600);
    const cert = new X509Certificate(first.cert);
    expect(cert.checkHost("localhost")).toBe("localhost");
    expect(cert.checkIP("127.0.0.1")).toBe("127.0.0.1");
    expect(cert.verify(cert.publicKey)).toBe(true);
    expect(spkiHash(first.cert)).toMatch(/^[A-Za-z0-9+/]{43}=$/);
  });

  test("is renewed before it expires, and when it is broken", async () => {
    const at = folder();
    const first = await developmentCertificate(at);
    const later = await developmentCertificate(at, () => Date.now() + 85 * 86_400_000);
    expect(later.cert).not.toBe(first.cert);
    writeFileSync(join(at, "key.pem"), "broken");
    const third = await developmentCertificate(at);
    checkCertificate(third);
    expect(existsSync(join(at, "certificate.pem"))).toBe(true);
  });

  test("files that do not belong together are refused with a hint", async () => {
    const at = folder();
    const [a, b] = [await makeCertificate(["a"], Date.now()), await makeCertificate(["b"], Date.now())];
    writeFileSync(join(at, "cert"), a.cert);
    writeFileSync(join(at, "key"), b.key);
    expect((await faultOf(() => readCertificate(join(at, "cert"), join(at, "key")))).message).toContain(
      "does not belong",
    );
    expect((await faultOf(() => readCertificate(join(at, "none"), join(at, "key")))).message).toContain("none");
  });
});
