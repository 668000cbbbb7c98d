/** Reads a topic by Backtalk's own address, PROTOCOL.md §2.6. */
export interface Event {
  readonly cursor: string;
  readonly data: unknown;
}

export function serviceClient(url: string): (topic: string) => Promise<Event[]> {
  return async (topic) => {
    const response = await fetch(`${url}/topics/${topic}?after=start`);
    return ((await response.json()) as { events: Event[] }).events;
  };
}
