/** Whether a number is prime, fast for every safe integer (at most 2^53), so that no call blocks the others. */
export function isPrime(n: number): boolean {
  if (n < 2) return false;
  for (const p of WITNESSES) {
    if (n % p === 0) return n === p;
  }
  if (n < 41 * 41) return true;
  // Miller and Rabin: with the first twelve primes as witnesses it is exact below 3.3 * 10^24.
  let d = n - 1;
  let twos = 0;
  for (; d % 2 === 0; d /= 2) twos++;
  return WITNESSES.every((p) => passes(BigInt(n), BigInt(p), BigInt(d), twos));
}

const WITNESSES = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];

function passes(n: bigint, witness: bigint, d: bigint, twos: number): boolean {
  let x = power(witness, d, n);
  if (x === 1n || x === n - 1n) return true;
  for (let i = 1; i < twos; i++) {
    x = (x * x) % n;
    if (x === n - 1n) return true;
  }
  return false;
}

function power(base: bigint, exponent: bigint, n: bigint): bigint {
  let result = 1n;
  for (let e = exponent, b = base; e > 0n; e >>= 1n, b = (b * b) % n) {
    if (e & 1n) result = (result * b) % n;
  }
  return result;
}
