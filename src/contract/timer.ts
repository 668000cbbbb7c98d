/** The longest that a timer can be set to, 24 days: `setTimeout` fires at once for more. */
export const MOST_TIMER_MS = 2 ** 31 - 1;
