/** Every limit of a server, named with its unit. All are options; a fault says which one was hit. */
export interface Limits {
  /** Most bytes of a request's body, or of one WebSocket message. */
  readonly bodyBytes: number;
  /** Most bytes of one item, event or result as JSON. */
  readonly itemBytes: number;
  /** Deepest nesting of JSON that is taken. */
  readonly jsonDepth: number;
  /** Most characters of a request's target. */
  readonly urlChars: number;
  /** Most bytes of header fields together; the platform takes no more than 16 KiB, so only less has an effect. */
  readonly headerBytes: number;
  /** Most characters of an idempotency key. */
  readonly keyChars: number;
  /** Most calls that run at once, in all and for one principal (anonymous callers count by address). */
  readonly callsInFlight: number;
  readonly callsPerPrincipal: number;
  /** Most requests a second for one principal (anonymous: address), with bursts of one second; 0 for no limit. */
  readonly ratePerSecond: number;
  /** Most requests held by `Prefer: wait` at once. */
  readonly heldPolls: number;
  /** Longest `wait` of a held request, in milliseconds. */
  readonly waitMs: number;
  /** Most exchanges open at once on one connection. */
  readonly exchangesPerConnection: number;
  /** Most connections of WebSocket and most responses of SSE at once. */
  readonly connections: number;
  /** Most items of a caller's stream that are not yet acknowledged. */
  readonly itemsInFlight: number;
  /** Most bytes of the logs of one principal's calls. */
  readonly storedBytesPerPrincipal: number;
  /** Most bytes of the log of one call. */
  readonly callBytes: number;
  /** Most bytes that wait in a connection for a slow reader before nothing more is read for it. */
  readonly sendBufferBytes: number;
  /** How long a body may take to arrive, in milliseconds. */
  readonly bodyMs: number;
}

export const LIMITS: Limits = Object.freeze({
  bodyBytes: 8 * 1024 * 1024,
  itemBytes: 4 * 1024 * 1024,
  jsonDepth: 64,
  urlChars: 8 * 1024,
  headerBytes: 16 * 1024,
  keyChars: 255,
  callsInFlight: 20_000,
  callsPerPrincipal: 10_000,
  ratePerSecond: 0,
  heldPolls: 20_000,
  waitMs: 60_000,
  exchangesPerConnection: 1_000,
  connections: 100_000,
  itemsInFlight: 64,
  storedBytesPerPrincipal: 1024 ** 3,
  callBytes: 64 * 1024 * 1024,
  sendBufferBytes: 1024 * 1024,
  bodyMs: 120_000,
});
