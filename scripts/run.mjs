/** `node scripts/run.mjs FILE [ARGS]`: sets up on first use, then runs the file with Bun. */
import { runBun } from "./bun.mjs";
import { setup } from "./setup.mjs";

runBun(setup(), process.argv.slice(2));
