import type { Tools } from "../store/case.ts";
import type { World, WorldOptions } from "./world.ts";

export interface Case {
  readonly name: string;
  readonly options?: WorldOptions;
  /** Milliseconds (default that of the suite). */
  readonly timeout?: number;
  /** Fails by throwing. The world is new, and is closed afterwards. */
  run(world: World, tools: Tools): Promise<void>;
}
