/** Real work on real images: `Bun.Image` decodes, resizes and encodes on threads of its own. */
import { Fault } from "backtalk";
import { z } from "zod";

export const format = z.enum(["jpeg", "png", "webp"]);
export type Format = z.infer<typeof format>;

/** An encoded image and what it is; `image` is base64, `bytes` its size before base64. */
export const photo = z.object({
  image: z.base64(),
  format,
  width: z.int(),
  height: z.int(),
  bytes: z.int(),
});
export type Photo = z.infer<typeof photo>;

export interface Wanted {
  /** Pixels; the height follows from the shape of the source. Default: as it is. */
  readonly width?: number;
  /** Default: that of the source, or jpeg where the source's cannot be written. */
  readonly format?: Format;
  /** 1 to 100, for jpeg and webp (default 80). */
  readonly quality?: number;
}

/** A source with more pixels is refused before it is decoded: a small file can unpack to gigabytes. */
const MAX_PIXELS = 40_000_000;

/** @throws Fault `invalid_argument` for what is not an image, or too large a one. */
export async function make(source: Uint8Array, wanted: Wanted): Promise<Photo> {
  const quality = wanted.quality ?? 80;
  try {
    let image = new Bun.Image(source, { maxPixels: MAX_PIXELS });
    const target = wanted.format ?? writable((await image.metadata()).format);
    if (wanted.width !== undefined) image = image.resize(wanted.width);
    if (target === "png") image = image.png();
    else image = target === "webp" ? image.webp({ quality }) : image.jpeg({ quality });
    const bytes = await image.buffer();
    return {
      image: bytes.toString("base64"),
      format: target,
      width: image.width,
      height: image.height,
      bytes: bytes.length,
    };
  } catch (thrown) {
    throw notAnImage(thrown);
  }
}

export function bytesOf({ image }: Photo): Uint8Array {
  return Buffer.from(image, "base64");
}

function writable(source: string): Format {
  return format.safeParse(source).data ?? "jpeg";
}

function notAnImage(thrown: unknown): unknown {
  const { code, message } = thrown as { code?: unknown; message?: unknown };
  if (typeof code !== "string" || !code.startsWith("ERR_IMAGE_")) return thrown;
  return new Fault("invalid_argument", "the image cannot be read", {
    fields: [{ path: "image", message: String(message) }],
    hint: `send a JPEG, PNG, WebP, GIF, BMP or TIFF of at most ${MAX_PIXELS / 1e6} megapixels`,
  });
}
