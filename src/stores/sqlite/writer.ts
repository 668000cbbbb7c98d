/**
 * The writer thread: it owns the connection that writes, so that waiting for the disk never holds up the
 * event loop. It answers one question after another.
 */
import type { Fault } from "../../log/index.ts";
import { Committer } from "./commit.ts";
import { sqliteFault } from "./fault.ts";
import { APPEND, type Cell, CLOSE, DONE, FAILED, OPEN, SWEEP, TRIM } from "./messages.ts";
import { openForWriting, type Sync } from "./open.ts";

declare const self: Worker;

let path = "";
let committer: Committer | undefined;

self.onmessage = (message: MessageEvent<Cell[]>) => {
  let answer: Cell[];
  try {
    answer = answerTo(message.data);
  } catch (thrown) {
    answer = [FAILED, faultText(sqliteFault(thrown, path))];
  }
  postMessage(answer);
};

function answerTo(cells: Cell[]): Cell[] {
  if (cells[0] === OPEN) {
    path = String(cells[1]);
    const db = openForWriting(path, cells[2] as Sync, String(cells[3]), Number(cells[5]));
    committer = new Committer(db, path, Number(cells[4]));
    return [DONE, committer.hasDoomed() ? 1 : 0];
  }
  if (!committer) throw new Error("not open");
  if (cells[0] === APPEND) return committer.append(cells);
  if (cells[0] === TRIM) return [DONE, committer.trim(String(cells[1]), String(cells[2])) ? 1 : 0];
  if (cells[0] === SWEEP) return [DONE, committer.sweep() ? 1 : 0];
  if (cells[0] !== CLOSE) throw new Error("unknown question");
  committer.close();
  committer = undefined;
  return [DONE];
}

function faultText(fault: Fault): string {
  return JSON.stringify(fault);
}
