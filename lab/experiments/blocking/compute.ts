/** Keeps the processor busy for so long. Returns something, so that it is not optimised away. */
export function compute(ms: number): number {
  const end = performance.now() + ms;
  let primes = 0;
  for (let n = 2; performance.now() < end; n++) {
    let isPrime = true;
    for (let d = 2; d * d <= n; d++) if (n % d === 0) isPrime = false;
    if (isPrime) primes++;
  }
  return primes;
}
