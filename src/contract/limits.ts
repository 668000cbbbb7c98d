/** Every limit of a server, named with its unit. All are options; a fault says which one was hit. */
export interface Limits {
  /** Most bytes of a request's body, or of one message of WebSocket, TCP or a Unix socket. */
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
  /**
   * Most bytes that one connection of gRPC holds of messages that have not arrived whole; beyond them only the oldest of
   * these is read on. What flow control lets each stream send unread (about 128 KiB) comes to it.
   */
  readonly messageBytesPerConnection: number;
  /** Most connections of WebSocket, of each listener of TCP and Unix sockets, and most responses of SSE at once. */
  readonly connections: number;
  /** Most items of a caller's stream that are not yet acknowledged. */
  readonly itemsInFlight: number;
  /** Most bytes of the logs of one principal's calls. */
  readonly storedBytesPerPrincipal: number;
  /** Most bytes of the log of one call. */
  readonly callBytes: number;
  /**
   * Most bytes that handlers have said and the store does not have yet, in all and of one call: a handler that says
   * more waits at its `yield`.
   */
  readonly unwrittenBytes: number;
  readonly unwrittenBytesPerCall: number;
  /** Most bytes that wait in a connection for a slow reader before nothing more is read for it. */
  readonly sendBufferBytes: number;
  /** How long a body, or a message of gRPC, TCP or a Unix socket, may take to arrive, in milliseconds. */
  readonly bodyMs: number;
  /** Most bytes of one upload. */
  readonly uploadBytes: number;
  /** How long an upload that is not complete or not used is kept, in milliseconds. */
  readonly uploadMs: number;
  /** Most uploads that are kept for one principal, and most of those whose call has ended that are remembered. */
  readonly uploadsPerPrincipal: number;
  /** Most bytes of the uploads of one principal, and of all; what is announced counts as if it was there. */
  readonly uploadBytesPerPrincipal: number;
  readonly uploadBytesTotal: number;
  /** Most bytes of a stream that a client has made, and most such streams of one principal. */
  readonly streamBytes: number;
  readonly streamsPerPrincipal: number;
  /** Most bytes of the body of a webhook: of what would be larger, the result or event is left out. */
  readonly webhookBytes: number;
  /** Most messages of one webhook endpoint that wait for another attempt; more are left where they are. */
  readonly webhooksWaiting: number;
  /** Most attempts at once for one webhook endpoint, and how long one may take, in milliseconds. */
  readonly webhooksAtOnce: number;
  readonly webhookMs: number;
  /** Most producers whose numbers are kept for one stream or topic. */
  readonly producersPerStream: number;
  /** Most bytes of a datagram of UDP, either way: what passes any path whole (RFC 8085 §3.2). */
  readonly datagramBytes: number;
  /** Most datagrams a second that are taken from one address that has proven itself, and in all; 0 for no limit. */
  readonly datagramsPerAddress: number;
  readonly datagramsPerSecond: number;
  /** Most answers a second to one address that has not proven itself, and to all such; 0 for no limit. */
  readonly retriesPerAddress: number;
  readonly retriesPerSecond: number;
  /** Most questions of UDP that are remembered with their answers for 150 s, in all and for one address. */
  readonly datagramRecords: number;
  readonly datagramRecordsPerAddress: number;
  /** Most bytes of those answers. */
  readonly datagramRecordBytes: number;
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
  messageBytesPerConnection: 32 * 1024 * 1024,
  connections: 100_000,
  itemsInFlight: 64,
  storedBytesPerPrincipal: 1024 ** 3,
  callBytes: 64 * 1024 * 1024,
  unwrittenBytes: 16 * 1024 * 1024,
  unwrittenBytesPerCall: 1024 * 1024,
  sendBufferBytes: 1024 * 1024,
  bodyMs: 120_000,
  streamBytes: 64 * 1024 * 1024,
  streamsPerPrincipal: 10_000,
  producersPerStream: 10_000,
  webhookBytes: 64 * 1024,
  webhooksWaiting: 10_000,
  webhooksAtOnce: 4,
  webhookMs: 20_000,
  uploadBytes: 4 * 1024 ** 3,
  uploadMs: 24 * 3_600_000,
  uploadsPerPrincipal: 1_000,
  uploadBytesPerPrincipal: 16 * 1024 ** 3,
  uploadBytesTotal: 64 * 1024 ** 3,
  datagramBytes: 1_200,
  datagramsPerAddress: 10_000,
  datagramsPerSecond: 100_000,
  retriesPerAddress: 50,
  retriesPerSecond: 5_000,
  datagramRecords: 200_000,
  datagramRecordsPerAddress: 50_000,
  datagramRecordBytes: 64 * 1024 * 1024,
});
