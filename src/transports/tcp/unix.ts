/** The file of a Unix socket: where it may be, whose it is, and what an earlier server has left there. */
import { chmodSync, lstatSync, rmSync, type Stats } from "node:fs";
import { connect } from "node:net";
import { resolve } from "node:path";
import { Fault } from "../../log/index.ts";

/** Most bytes of a path, without the zero at its end (unix(7) on Linux; BSD and macOS have room for four less). */
const MOST_BYTES = process.platform === "linux" ? 107 : 103;

/** The whole path. @throws Fault `invalid_argument` */
export function socketPath(path: string): string {
  const whole = resolve(path);
  const bytes = Buffer.byteLength(whole);
  if (path === "" || whole.includes("\0")) throw new Fault("invalid_argument", "not the path of a Unix socket");
  if (bytes <= MOST_BYTES) return whole;
  throw new Fault(
    "invalid_argument",
    `the path of a Unix socket has at most ${MOST_BYTES} bytes; ${whole} has ${bytes}`,
    {
      hint: "choose a shorter one, such as below /tmp or /run",
    },
  );
}

/** Removes the socket of a server that is dead. @throws Fault when the path is anything else, or the server lives */
export async function makeRoom(path: string): Promise<void> {
  const before = stats(path);
  if (!before) return;
  if (!before.isSocket()) {
    throw new Fault("failed_precondition", `${path} is there already, and is no socket`, {
      hint: "choose another path",
    });
  }
  if (await answers(path)) {
    throw new Fault("unavailable", `a server listens at ${path}`, {
      retryable: false,
      hint: "stop it, or choose another path",
    });
  }
  // Whoever was quicker has made its own by now.
  if (stats(path)?.ino === before.ino) rmSync(path, { force: true });
}

/** Runs what makes the socket, so that at no moment anybody else may use it. @param mode of the file */
export function withMode<T>(path: string, mode: number, make: () => T): T {
  const before = process.umask(0o777 & ~mode);
  try {
    const made = make();
    chmodSync(path, mode);
    return made;
  } finally {
    process.umask(before);
  }
}

/** @param thrown of `Bun.listen` */
export function unixFault(thrown: unknown, path: string): Fault {
  const { code, message = "" } = thrown as { code?: string; message?: string };
  const cause = thrown;
  if (code === "ENOENT") return new Fault("not_found", `there is no directory for ${path}`, { hint: "make it", cause });
  if (code === "EACCES" || code === "EPERM" || code === "EROFS") {
    return new Fault("permission_denied", `${path} may not be made`, { hint: "choose another path", cause });
  }
  if (code === "EADDRINUSE") {
    return new Fault("unavailable", `${path} is in use`, { retryable: false, hint: "choose another path", cause });
  }
  return new Fault("failed_precondition", `${path} cannot be listened at: ${message}`, { cause });
}

function stats(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** A socket file stays when its server dies: only a connection tells. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const done = (lives: boolean): void => {
      socket.destroy();
      resolve(lives);
    };
    socket.once("connect", () => done(true));
    socket.once("error", (error: NodeJS.ErrnoException) => {
      // A full queue of connections (EAGAIN) is one of a server that lives.
      if (error.code === "ECONNREFUSED" || error.code === "ENOENT") done(false);
      else if (error.code === "EAGAIN") done(true);
      else reject(unixFault(error, path));
    });
  });
}
