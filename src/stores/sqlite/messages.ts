/**
 * What goes between the store and its writer thread: flat arrays of text and numbers, which cost least to
 * copy. One question is under way at a time, so an answer needs no number.
 */
export type Cell = string | number | null;

/** The first cell of a question. */
export const OPEN = 0;
export const APPEND = 1;
export const TRIM = 2;
export const SWEEP = 3;
export const CLOSE = 4;

/** The first cell of an answer: DONE and what belongs to the question, or FAILED and a fault as JSON. */
export const DONE = 0;
export const FAILED = 1;

/**
 * An APPEND holds appends one after another:
 * name, at, after, key, labels as JSON, epoch if it is created, count of events, then kind and JSON of each.
 * Its answer holds for each: outcome, epoch, number of the newest event before, number of the place answered;
 * with the outcome FAULT the fault as JSON stands in the place of the epoch.
 */
export const APPEND_CELLS = 7;
export const ANSWER_CELLS = 4;
export const FAULT = 4;
/** The outcomes 0 to 3. */
export const OUTCOMES = ["appended", "duplicate", "conflict", "ended"] as const;
