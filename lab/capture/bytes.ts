/** The bytes of a capture by the layer that they belong to. */
import type { Ladder, LayerName, Rung } from "./ladder.ts";

export interface LayerBytes {
  readonly packets: number;
  readonly total: number;
  readonly byLayer: Readonly<Partial<Record<LayerName, number>>>;
}

/** Of all packets that were sent, those that were lost with them; a packet that the wire doubled counts once. */
export function bytesByLayer({ rungs }: Pick<Ladder, "rungs">, of: (rung: Rung) => boolean = () => true): LayerBytes {
  const byLayer: Partial<Record<LayerName, number>> = {};
  let [packets, total] = [0, 0];
  for (const rung of rungs) {
    if (rung.notes.includes("duplicate") || !of(rung)) continue;
    packets++;
    total += rung.bytes;
    for (const { name, bytes } of rung.layers) byLayer[name] = (byLayer[name] ?? 0) + bytes;
  }
  return { packets, total, byLayer };
}
