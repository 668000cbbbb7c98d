/**
 * The OpenSSL of the system by FFI, for what the platform's TLS does not do: early data (RFC 8446 §2.3) on
 * both sides, tickets that are handed from process to process, and a flight that is one piece of bytes.
 */
import { CString, dlopen, FFIType, JSCallback, type Pointer, ptr, toArrayBuffer } from "bun:ffi";
import { createPrivateKey, X509Certificate } from "node:crypto";

const { i32, u32, u64, pointer } = {
  i32: FFIType.i32,
  u32: FFIType.u32,
  u64: FFIType.u64_fast,
  pointer: FFIType.ptr,
} as const;
const long = FFIType.i64_fast;

function load() {
  try {
    const ssl = dlopen("libssl.so.3", {
      TLS_client_method: { args: [], returns: pointer },
      TLS_server_method: { args: [], returns: pointer },
      SSL_CTX_new: { args: [pointer], returns: pointer },
      SSL_CTX_free: { args: [pointer], returns: FFIType.void },
      SSL_CTX_ctrl: { args: [pointer, i32, long, pointer], returns: long },
      SSL_CTX_set_options: { args: [pointer, u64], returns: u64 },
      SSL_CTX_use_certificate_ASN1: { args: [pointer, i32, pointer], returns: i32 },
      SSL_CTX_use_PrivateKey_ASN1: { args: [i32, pointer, pointer, long], returns: i32 },
      SSL_CTX_set_max_early_data: { args: [pointer, u32], returns: i32 },
      SSL_CTX_set_session_id_context: { args: [pointer, pointer, u32], returns: i32 },
      SSL_CTX_set_keylog_callback: { args: [pointer, pointer], returns: FFIType.void },
      SSL_CTX_set_alpn_select_cb: { args: [pointer, pointer, pointer], returns: FFIType.void },
      SSL_CTX_add_custom_ext: {
        args: [pointer, u32, u32, pointer, pointer, pointer, pointer, pointer],
        returns: i32,
      },
      SSL_select_next_proto: { args: [pointer, pointer, pointer, u32, pointer, u32], returns: i32 },
      SSL_new: { args: [pointer], returns: pointer },
      SSL_free: { args: [pointer], returns: FFIType.void },
      SSL_ctrl: { args: [pointer, i32, long, pointer], returns: long },
      SSL_set_bio: { args: [pointer, pointer, pointer], returns: FFIType.void },
      SSL_set_connect_state: { args: [pointer], returns: FFIType.void },
      SSL_set_accept_state: { args: [pointer], returns: FFIType.void },
      SSL_set_quiet_shutdown: { args: [pointer, i32], returns: FFIType.void },
      SSL_set_alpn_protos: { args: [pointer, pointer, u32], returns: i32 },
      SSL_do_handshake: { args: [pointer], returns: i32 },
      SSL_read_ex: { args: [pointer, pointer, u64, pointer], returns: i32 },
      SSL_write_ex: { args: [pointer, pointer, u64, pointer], returns: i32 },
      SSL_read_early_data: { args: [pointer, pointer, u64, pointer], returns: i32 },
      SSL_write_early_data: { args: [pointer, pointer, u64, pointer], returns: i32 },
      SSL_get_early_data_status: { args: [pointer], returns: i32 },
      SSL_get_error: { args: [pointer, i32], returns: i32 },
      SSL_session_reused: { args: [pointer], returns: i32 },
      SSL_get_version: { args: [pointer], returns: pointer },
      SSL_shutdown: { args: [pointer], returns: i32 },
      SSL_set_session: { args: [pointer, pointer], returns: i32 },
      SSL_get1_session: { args: [pointer], returns: pointer },
      SSL_SESSION_free: { args: [pointer], returns: FFIType.void },
      SSL_SESSION_get_max_early_data: { args: [pointer], returns: u32 },
      SSL_SESSION_set_max_early_data: { args: [pointer, u32], returns: i32 },
      i2d_SSL_SESSION: { args: [pointer, pointer], returns: i32 },
      d2i_SSL_SESSION: { args: [pointer, pointer, long], returns: pointer },
    }).symbols;
    const crypto = dlopen("libcrypto.so.3", {
      BIO_new: { args: [pointer], returns: pointer },
      BIO_s_mem: { args: [], returns: pointer },
      BIO_read: { args: [pointer, pointer, i32], returns: i32 },
      BIO_write: { args: [pointer, pointer, i32], returns: i32 },
      BIO_ctrl_pending: { args: [pointer], returns: u64 },
      d2i_X509: { args: [pointer, pointer, long], returns: pointer },
      ERR_get_error: { args: [], returns: u64 },
      ERR_clear_error: { args: [], returns: FFIType.void },
      ERR_reason_error_string: { args: [u64], returns: pointer },
      OpenSSL_version: { args: [i32], returns: pointer },
    }).symbols;
    return { ...ssl, ...crypto };
  } catch (cause) {
    throw new Error("OpenSSL 3 of the system was not found (libssl.so.3): install the package libssl3", { cause });
  }
}

export type OpenSsl = ReturnType<typeof load>;

/** @throws Error where the machine has none, with the remedy */
export const openOpenssl = load;

/** Such as `OpenSSL 3.0.19 27 Jan 2026`. */
export function opensslVersion(openssl: OpenSsl): string {
  return new CString(openssl.OpenSSL_version(0)!).toString();
}

export const VERSION = { "1.2": 0x0303, "1.3": 0x0304 } as const;

export interface ContextOptions {
  readonly isServer: boolean;
  readonly version: keyof typeof VERSION;
  /** PEM; the first is the leaf. For servers. */
  readonly certificates?: readonly string[];
  readonly key?: string;
  /** Most bytes of early data that a ticket of this server allows, and that it takes (default 0: none). */
  readonly maxEarlyData?: number;
  /** Tickets may be used more than once, so a first flight may be replayed (default: once, RFC 8446 §8.1). */
  readonly allowReplay?: boolean;
  /** Such as `X25519:P-256`; a client sends a key share for the first. */
  readonly groups?: string;
  /** Of a client: its hello has an extension of this type (private use: 0xff00 and more) with so many zeros. */
  readonly filling?: { readonly type: number; readonly bytes: number };
  /** Of a server: the protocol that it takes, of a client that offers it (RFC 7301). */
  readonly alpn?: string;
  /** 80 bytes: contexts with the same take each other's tickets. */
  readonly ticketKeys?: Uint8Array;
}

/** SSL_CTX with its key log. */
export class TlsContext {
  readonly openssl: OpenSsl;
  readonly pointer: Pointer;
  readonly isServer: boolean;
  /** Lines of an NSS key log. */
  readonly keyLog: string[] = [];
  readonly #callbacks: JSCallback[] = [];

  constructor(openssl: OpenSsl, options: ContextOptions) {
    const { isServer, version, certificates = [], key, groups, ticketKeys } = options;
    this.openssl = openssl;
    this.isServer = isServer;
    const method = isServer ? openssl.TLS_server_method() : openssl.TLS_client_method();
    this.pointer = openssl.SSL_CTX_new(method) as Pointer;
    const set = (command: number, number: number, bytes: Uint8Array | null, what: string) => {
      const done = openssl.SSL_CTX_ctrl(this.pointer, command, number, bytes && ptr(bytes));
      if (Number(done) !== 1) throw new Error(`OpenSSL does not take ${what}: ${reason(openssl)}`);
    };
    set(CONTROL.minimum, VERSION[version], null, `TLS ${version}`);
    set(CONTROL.maximum, VERSION[version], null, `TLS ${version}`);
    if (groups !== undefined) set(CONTROL.groups, 0, Buffer.from(`${groups}\0`), `the groups ${groups}`);
    if (ticketKeys) set(CONTROL.ticketKeys, ticketKeys.length, ticketKeys, "the keys of tickets");
    if (options.filling) this.#fill(options.filling);
    if (isServer) {
      this.#identify(certificates, key);
      openssl.SSL_CTX_set_session_id_context(this.pointer, ptr(Buffer.from("backtalk")), 8);
      openssl.SSL_CTX_set_max_early_data(this.pointer, options.maxEarlyData ?? 0);
      if (options.alpn !== undefined) this.#choose(options.alpn);
      if (options.allowReplay) openssl.SSL_CTX_set_options(this.pointer, NO_ANTI_REPLAY);
    }
    const onLine = new JSCallback((_: Pointer, line: Pointer) => void this.keyLog.push(new CString(line).toString()), {
      args: [pointer, pointer],
      returns: FFIType.void,
    });
    this.#callbacks.push(onLine);
    openssl.SSL_CTX_set_keylog_callback(this.pointer, onLine.ptr);
  }

  free(): void {
    this.openssl.SSL_CTX_free(this.pointer);
    for (const each of this.#callbacks) each.close();
  }

  #fill({ type, bytes }: NonNullable<ContextOptions["filling"]>): void {
    const zeros = new Uint8Array(bytes);
    const add = new JSCallback(
      (_ssl: Pointer, _type: number, _context: number, out: Pointer, outBytes: Pointer) => {
        new BigUint64Array(toArrayBuffer(out, 0, 8))[0] = BigInt(ptr(zeros));
        new BigUint64Array(toArrayBuffer(outBytes, 0, 8))[0] = BigInt(bytes);
        return 1;
      },
      // What comes after them is not looked at.
      { args: [pointer, u32, u32, pointer, pointer], returns: i32 },
    );
    this.#callbacks.push(add);
    const where = EXTENSION_IN.clientHello;
    if (this.openssl.SSL_CTX_add_custom_ext(this.pointer, type, where, add.ptr, null, null, null, null) !== 1) {
      throw new Error(`OpenSSL does not take an extension of type ${type}: ${reason(this.openssl)}`);
    }
  }

  #choose(alpn: string): void {
    const { openssl } = this;
    const own = Buffer.from([alpn.length, ...Buffer.from(alpn)]);
    const select = new JSCallback(
      (_: Pointer, out: Pointer, outBytes: Pointer, offered: Pointer, bytes: number) => {
        const isFound = openssl.SSL_select_next_proto(out, outBytes, ptr(own), own.length, offered, bytes) === 1;
        return isFound ? ALPN.ok : ALPN.ignored;
      },
      { args: [pointer, pointer, pointer, pointer, u32, pointer], returns: i32 },
    );
    this.#callbacks.push(select);
    openssl.SSL_CTX_set_alpn_select_cb(this.pointer, select.ptr, null);
  }

  #identify(certificates: readonly string[], key: string | undefined): void {
    const { openssl } = this;
    const [leaf, ...chain] = certificates.map((pem) => new X509Certificate(pem).raw);
    if (!leaf || key === undefined) throw new Error("a server of TLS needs a certificate and its key");
    const der = createPrivateKey(key).export({ type: "pkcs8", format: "der" });
    const isTaken =
      openssl.SSL_CTX_use_certificate_ASN1(this.pointer, leaf.length, ptr(leaf)) === 1 &&
      openssl.SSL_CTX_use_PrivateKey_ASN1(EVP_PKEY_EC, this.pointer, ptr(der), der.length) === 1;
    if (!isTaken) throw new Error(`OpenSSL does not take the certificate: ${reason(openssl)}`);
    for (const each of chain) {
      const at = new BigUint64Array([BigInt(ptr(each))]);
      const x509 = openssl.d2i_X509(null, ptr(at), each.length);
      if (x509 === null) throw new Error(`OpenSSL does not take the chain: ${reason(openssl)}`);
      openssl.SSL_CTX_ctrl(this.pointer, CONTROL.extraCertificate, 0, x509);
    }
  }
}

const CONTROL = { extraCertificate: 14, ticketKeys: 59, groups: 92, minimum: 123, maximum: 124 } as const;
const ALPN = { ok: 0, ignored: 3 } as const;
const EXTENSION_IN = { clientHello: 0x80 } as const;
const NO_ANTI_REPLAY = 1 << 24;
const EVP_PKEY_EC = 408;

/** What OpenSSL says about its last error; the queue of errors is empty afterwards. */
export function reason(openssl: OpenSsl): string {
  const code = openssl.ERR_get_error();
  openssl.ERR_clear_error();
  const text = openssl.ERR_reason_error_string(code);
  return text ? new CString(text).toString() : "no reason given";
}
