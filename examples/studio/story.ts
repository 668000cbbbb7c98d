/** Words for `tell`: the same prompt tells the same story, so that a story can go on after a restart. */
export function story(prompt: string): readonly string[] {
  const subject = prompt.trim() === "" ? "nobody in particular" : prompt.trim();
  let seed = hash(subject);
  const text = PARTS.map((part) => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return part[seed % part.length];
  }).join(" ");
  return text.replaceAll("%", subject).split(/\s+/);
}

const PARTS: readonly (readonly string[])[] = [
  ["Once upon a time there was %.", "Long ago, by the sea, lived %.", "Nobody had heard of % yet."],
  ["Every morning a letter came,", "One night the lights went out,", "Then the connection broke,"],
  ["and every evening it was answered.", "but the story was already written down.", "and nobody waited."],
  [
    "Some went away and came back later:",
    "One reader fell asleep and woke again:",
    "The house burned and was rebuilt:",
  ],
  ["not one word was missing.", "the next word was the right one.", "they read on from where they had stopped."],
];

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}
