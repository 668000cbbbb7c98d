/** The names of Backtalk's metadata (PROTOCOL.md §4.1), for both halves. */
export const META = {
  key: "idempotency-key",
  replayed: "idempotency-replayed",
  keep: "backtalk-keep",
  call: "backtalk-call",
  after: "backtalk-after",
  seq: "backtalk-seq",
  cursors: "backtalk-cursors",
  cursor: "backtalk-cursor",
  verdict: "backtalk-verdict",
  from: "backtalk-from",
  to: "backtalk-to",
  state: "backtalk-state",
  stateBin: "backtalk-state-bin",
} as const;
