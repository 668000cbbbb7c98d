/**
 * What carries `backtalk.v1` to one client: whole text messages, in order. A `ServerWebSocket` of Bun is one as
 * it is: an event goes to thousands of them, and an object between would be one more to touch for each.
 */
export interface Pipe {
  /** -1: taken, and some of it waits for the network. `isDeflated` asks for compression, where there is any. */
  sendText(text: string, isDeflated?: boolean): number;
  /** Bytes that wait for the network. */
  getBufferedAmount(): number;
  /** What is sent meanwhile goes out together. */
  cork(run: () => void): void;
  /** Says why it ends, when all that waits has gone out. */
  close(code: number, reason: string): void;
  /** Ends it at once: what waits is lost. */
  terminate(): void;
  /** The tick of the hub at which the message that is now arriving began, where the pipe knows that. */
  readonly arrivingSince?: number | undefined;
}
