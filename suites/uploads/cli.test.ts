/** Uploads from the command line: the studio's photo, what is refused, and where the bytes are. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Place, ROOT, type Server, STUDIO, serveIn } from "../../cli/testing.ts";
import { tool } from "../clients/setup.ts";
import { until } from "../transport/world.ts";

const PHOTO = join(ROOT, "examples/studio/photo.jpg");
const FREE = ["--grpc-port", "0", "--grpc-tls-port", "0", "--tcp-port", "0", "--tcp-tls-port", "0", "--udp-port", "0"];
const place = new Place();
let server: Server;
beforeAll(async () => {
  server = await serveIn(place, STUDIO, FREE);
}, 60_000);
afterAll(async () => {
  server.child.kill();
  await server.child.exited;
  place.remove();
});

const files = () => readdirSync(join(place.directory, ".backtalk/uploads")).filter((name) => name.endsWith(".bin"));

test.skipIf(tool("curl") === undefined)("curl sends a photo in one line, as a form and as it is", async () => {
  for (const args of [
    ["-F", `image=@${PHOTO}`, "-F", "widths=[64]", `${server.http}/studio/develop`],
    [
      "--data-binary",
      `@${PHOTO}`,
      "-H",
      "content-type: image/jpeg",
      `${server.http}/studio/develop?input=%7B%22widths%22:%5B64%5D%7D`,
    ],
  ]) {
    const child = Bun.spawn(["curl", "-sS", ...args], { stdout: "pipe" });
    expect(JSON.parse(await new Response(child.stdout).text())).toMatchObject({ photos: [{ width: 64, height: 48 }] });
  }
  // Beside the store, and only as long as the calls.
  await until(() => files().length === 0, "an empty directory");
});

test("call --file sends it first, whatever carries the call", async () => {
  for (const via of ["http1", "websocket"]) {
    const { code, json, err } = await place.run([
      "call",
      server.http,
      "studio.develop",
      '{"widths":[32]}',
      "--file",
      `image=@${PHOTO}`,
      "--via",
      via,
      "--quiet",
    ]);
    expect([via, code, err]).toEqual([via, 0, ""]);
    expect(json.at(-1)).toMatchObject({ photos: [{ width: 32 }] });
  }
  // The same file is there already: it was sent once.
  expect(files()).toHaveLength(1);
}, 60_000);

test("what cannot be sent is said", async () => {
  const text = await place.file("text.txt", "no photo");
  const call = ["call", server.http, "studio.develop"];
  for (const [args, said] of [
    [[...call, "--file", "image"], "NAME=@PATH"],
    [[...call, "--file", "image=@none.jpg"], "there is no file none.jpg"],
    [[...call, "--file", `image=@${place.directory}`], "is not a file"],
    [[...call, "--file", `image=@${text}`], "must be image/*"],
    [[...call, "[]", "--items", "--file", `image=@${text}`], "cannot be used together"],
    [["call", "tcp://127.0.0.1:1", "studio.develop", "--file", `image=@${text}`], "--upload-url"],
  ] as const) {
    const { code, err } = await place.run(args);
    expect([code !== 0, err]).toEqual([true, expect.stringContaining(said)]);
  }
}, 60_000);

test("--uploads, --no-uploads and the limits", async () => {
  const other = new Place();
  try {
    const both = await other.run(["serve", STUDIO, "--uploads", "x", "--no-uploads"]);
    expect([both.code, both.err]).toEqual([2, expect.stringContaining("cannot be used together")]);
    const none = await serveIn(other, STUDIO, [...FREE, "--no-uploads", "--store", "memory:"]);
    const send = async (url: string) => {
      const body = new FormData();
      body.append("image", Bun.file(PHOTO));
      const response = await fetch(`${url}/studio/develop`, { method: "POST", body });
      return [response.status, ((await response.json()) as { limit?: string }).limit];
    };
    expect(await send(none.http)).toEqual([415, undefined]);
    none.child.kill();
    await none.child.exited;
    const small = await serveIn(other, STUDIO, [
      ...FREE,
      "--uploads",
      "here",
      "--store",
      "memory:",
      "--limit",
      "uploadBytes=1k",
    ]);
    expect(await send(small.http)).toEqual([413, "uploadBytes"]);
    expect(existsSync(join(other.directory, "here"))).toBe(true);
    small.child.kill();
    await small.child.exited;
  } finally {
    other.remove();
  }
}, 60_000);
