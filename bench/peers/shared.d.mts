export function isPrime(n: number): boolean;
/** What the server was started with: one JSON argument. */
export function options<T>(): T;
/** Tells the benchmark that the server listens, and ends with it. */
export function ready(ports: { readonly port: number; readonly tlsPort?: number }): void;
/** What the items of a stream say. */
export const TEXT: string;
