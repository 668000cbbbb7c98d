/** `Accept` (RFC 9110 §12.5.1). */

/**
 * The best of the offered media types, which come in the server's order of preference; undefined when none
 * is acceptable. No header accepts all.
 */
export function negotiate<T extends string>(header: string | null, offers: readonly T[]): T | undefined {
  if (header === null || header === "" || header === "*/*") return offers[0];
  const ranges = header.split(",").map(parseRange);
  let best: T | undefined;
  let bestQuality = 0;
  for (const offer of offers) {
    const quality = qualityOf(offer, ranges);
    if (quality > bestQuality) {
      best = offer;
      bestQuality = quality;
    }
  }
  return best;
}

interface Range {
  readonly type: string;
  readonly quality: number;
}

function parseRange(text: string): Range {
  const [type = "", ...parameters] = text.split(";").map((part) => part.trim().toLowerCase());
  const q = parameters.find((parameter) => parameter.startsWith("q="));
  const quality = q === undefined ? 1 : Number(q.slice(2));
  return { type, quality: quality >= 0 && quality <= 1 ? quality : 0 };
}

/** Of the ranges that match the most specific one decides. */
function qualityOf(offer: string, ranges: readonly Range[]): number {
  const family = `${offer.slice(0, offer.indexOf("/"))}/*`;
  for (const type of [offer, family, "*/*"]) {
    const range = ranges.find((each) => each.type === type);
    if (range) return range.quality;
  }
  return 0;
}
