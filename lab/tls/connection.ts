/** One end of TLS without a socket: what comes is fed, what goes out is taken, a flight at a time. */
import { CString, type Pointer, ptr } from "bun:ffi";
import { type OpenSsl, reason, type TlsContext } from "./openssl.ts";

export interface EndOptions {
  /** Of a client: a session that was saved, to resume it. */
  readonly session?: Uint8Array;
  /** Of a client: it pretends that the ticket of the session allows early data. */
  readonly forgeEarlyData?: boolean;
  readonly serverName?: string;
  /** Of a client: names of application protocols (RFC 7301). */
  readonly alpn?: readonly string[];
}

export class TlsEnd {
  readonly #openssl: OpenSsl;
  readonly #ssl: Pointer;
  readonly #in: Pointer;
  readonly #out: Pointer;
  readonly #isServer: boolean;
  readonly #count = new BigUint64Array(1);
  readonly #buffer = new Uint8Array(32_768);
  /** Of a server: early data may still come. */
  #isEarly: boolean;
  isReady = false;

  constructor(context: TlsContext, options: EndOptions = {}) {
    const { openssl, isServer } = context;
    this.#openssl = openssl;
    this.#isServer = isServer;
    this.#isEarly = isServer;
    this.#ssl = openssl.SSL_new(context.pointer) as Pointer;
    this.#in = openssl.BIO_new(openssl.BIO_s_mem()) as Pointer;
    this.#out = openssl.BIO_new(openssl.BIO_s_mem()) as Pointer;
    openssl.SSL_set_bio(this.#ssl, this.#in, this.#out);
    // A connection that ends without farewell must not cost the session (the server keeps single-use tickets there).
    openssl.SSL_set_quiet_shutdown(this.#ssl, 1);
    if (isServer) openssl.SSL_set_accept_state(this.#ssl);
    else this.#prepare(options);
  }

  /** Bytes that came from the other end. */
  feed(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#openssl.BIO_write(this.#in, ptr(bytes), bytes.length);
  }

  /** Bytes for the other end. */
  take(): Uint8Array {
    const bytes = new Uint8Array(Number(this.#openssl.BIO_ctrl_pending(this.#out)));
    if (bytes.length > 0) this.#openssl.BIO_read(this.#out, ptr(bytes), bytes.length);
    return bytes;
  }

  /** Goes on with the handshake, as far as what has come allows. @throws Error when it fails */
  handshake(): boolean {
    if (this.isReady) return true;
    const done = this.#openssl.SSL_do_handshake(this.#ssl);
    this.isReady = done === 1 || this.#wants(done);
    return this.isReady;
  }

  /**
   * What has come, decrypted, and whether it came as early data (RFC 8446 §4.2.10); `undefined`: nothing now.
   * A server's handshake goes on with it. @throws Error when TLS fails
   */
  read(): { readonly bytes: Uint8Array; readonly isEarly: boolean } | undefined {
    const { SSL_read_early_data, SSL_read_ex } = this.#openssl;
    if (this.#isEarly) {
      const result = SSL_read_early_data(this.#ssl, ptr(this.#buffer), this.#buffer.length, ptr(this.#count));
      if (result === EARLY.error) {
        this.#wants(0);
        return undefined;
      }
      if (result === EARLY.success) return { bytes: this.#taken(), isEarly: true };
      this.#isEarly = false;
    }
    if (this.#isServer && !this.handshake()) return undefined;
    const result = SSL_read_ex(this.#ssl, ptr(this.#buffer), this.#buffer.length, ptr(this.#count));
    if (result === 1) return { bytes: this.#taken(), isEarly: false };
    this.#wants(result);
    return undefined;
  }

  /** A server that has got early data answers in its first flight (RFC 8446 §2.3). @throws Error when TLS fails */
  write(bytes: Uint8Array): void {
    const { SSL_write_early_data, SSL_write_ex } = this.#openssl;
    const write = this.#isEarly ? SSL_write_early_data : SSL_write_ex;
    if (write(this.#ssl, ptr(bytes), bytes.length, ptr(this.#count)) !== 1) this.#wants(0);
  }

  /** Of a client, before its handshake. @throws Error when the session does not allow it */
  writeEarly(bytes: Uint8Array): void {
    if (this.#openssl.SSL_write_early_data(this.#ssl, ptr(bytes), bytes.length, ptr(this.#count)) !== 1) this.#wants(0);
  }

  get isEarlyAccepted(): boolean {
    return this.#openssl.SSL_get_early_data_status(this.#ssl) === EARLY_ACCEPTED;
  }

  get isResumed(): boolean {
    return this.#openssl.SSL_session_reused(this.#ssl) === 1;
  }

  get version(): string {
    return new CString(this.#openssl.SSL_get_version(this.#ssl)!).toString();
  }

  /** To resume it, in another process too; and how many bytes of early data its ticket allows. */
  session(): { readonly bytes: Uint8Array; readonly maxEarlyData: number } | undefined {
    const session = this.#openssl.SSL_get1_session(this.#ssl);
    if (session === null) return undefined;
    const bytes = new Uint8Array(this.#openssl.i2d_SSL_SESSION(session, null));
    this.#openssl.i2d_SSL_SESSION(session, ptr(new BigUint64Array([BigInt(ptr(bytes))])));
    const maxEarlyData = this.#openssl.SSL_SESSION_get_max_early_data(session);
    this.#openssl.SSL_SESSION_free(session);
    return { bytes, maxEarlyData };
  }

  free(): void {
    this.#openssl.SSL_shutdown(this.#ssl);
    this.#openssl.SSL_free(this.#ssl);
  }

  #prepare({ session, forgeEarlyData, serverName = "localhost", alpn = [] }: EndOptions): void {
    const openssl = this.#openssl;
    openssl.SSL_set_connect_state(this.#ssl);
    openssl.SSL_ctrl(this.#ssl, SET_SERVER_NAME, 0, ptr(Buffer.from(`${serverName}\0`)));
    if (alpn.length > 0) {
      const protocols = Buffer.concat(alpn.flatMap((each) => [Buffer.from([each.length]), Buffer.from(each)]));
      openssl.SSL_set_alpn_protos(this.#ssl, ptr(protocols), protocols.length);
    }
    if (!session) return;
    const at = new BigUint64Array([BigInt(ptr(session))]);
    const read = openssl.d2i_SSL_SESSION(null, ptr(at), session.length);
    if (read === null) throw new Error(`not a session of OpenSSL: ${reason(openssl)}`);
    if (forgeEarlyData) openssl.SSL_SESSION_set_max_early_data(read, 16_384);
    openssl.SSL_set_session(this.#ssl, read);
    openssl.SSL_SESSION_free(read);
  }

  #taken(): Uint8Array {
    return this.#buffer.slice(0, Number(this.#count[0]));
  }

  /** False: it waits for more bytes, or the other end has closed. @throws Error for everything else */
  #wants(result: number): false {
    const error = this.#openssl.SSL_get_error(this.#ssl, result);
    if (error === SSL_ERROR.wantRead || error === SSL_ERROR.zeroReturn) return false;
    throw new Error(`TLS failed: ${reason(this.#openssl)} (${error})`);
  }
}

const SET_SERVER_NAME = 55;
const EARLY = { error: 0, success: 1 } as const;
const EARLY_ACCEPTED = 2;
const SSL_ERROR = { wantRead: 2, zeroReturn: 6 } as const;
