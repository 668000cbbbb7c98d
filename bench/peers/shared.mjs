/** What all servers of the benchmark share, whatever runs them. */

export function isPrime(n) {
  if (n < 2) return false;
  for (let i = 2; i * i <= n; i++) if (n % i === 0) return false;
  return true;
}

export function options() {
  return JSON.parse(process.argv[2] ?? "{}");
}

export function ready(ports) {
  console.log(JSON.stringify(ports));
  process.stdin.resume();
  process.stdin.on("end", () => process.exit());
}

/** What the items of a stream say. */
export const TEXT =
  "a text of about a hundred characters, as an event of a feed often has it, more or less, give or take";
