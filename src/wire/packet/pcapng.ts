/**
 * pcapng (draft-ietf-opsawg-pcapng): a capture that Wireshark opens, with the secrets that decrypt it and a
 * comment on packets. Written in little-endian; read in both byte orders.
 */

/** LINKTYPE_ETHERNET */
const ETHERNET = 1;
const BLOCK = { section: 0x0a0d0d0a, interface: 1, enhanced: 6, secrets: 0x0a } as const;
const MAGIC = 0x1a2b3c4d;
/** SECRETS_TYPE_TLS: a key log as NSS has it; Wireshark reads those of QUIC from it, too. */
const TLS_KEY_LOG = 0x544c534b;
const OPTION = { end: 0, comment: 1, name: 2, description: 3, resolution: 9, application: 4 } as const;

export interface CaptureFile {
  readonly application?: string;
  /** What the capture is of, for the properties of the file. */
  readonly comment?: string;
  readonly interfaces: readonly { readonly name: string; readonly description?: string }[];
  readonly keyLog?: string;
  readonly packets: readonly CapturedPacket[];
}

export interface CapturedPacket {
  /** Index of the interface. */
  readonly interface: number;
  /** Nanoseconds since 1970. */
  readonly at: bigint;
  readonly bytes: Uint8Array;
  /** Bytes that it had on the wire, when fewer were kept. */
  readonly size?: number;
  readonly comment?: string;
}

export function writePcapng(file: CaptureFile): Uint8Array {
  const blocks = [
    block(
      BLOCK.section,
      // Version 1.0; the length of the section is not said.
      concat([u32(MAGIC), u16(1), u16(0), u32(0xffffffff), u32(0xffffffff)]),
      { [OPTION.comment]: file.comment, [OPTION.application]: file.application },
    ),
    ...file.interfaces.map(({ name, description }) =>
      block(BLOCK.interface, concat([u16(ETHERNET), u16(0), u32(0)]), {
        [OPTION.name]: name,
        [OPTION.description]: description,
        // Ten to the power of -9.
        [OPTION.resolution]: Uint8Array.of(9),
      }),
    ),
  ];
  if (file.keyLog) {
    const secrets = new TextEncoder().encode(file.keyLog);
    blocks.push(block(BLOCK.secrets, concat([u32(TLS_KEY_LOG), u32(secrets.length), padded(secrets)]), {}));
  }
  for (const { interface: index, at, bytes, size, comment } of file.packets) {
    const head = concat([
      u32(index),
      u32(Number(at >> 32n)),
      u32(Number(at & 0xffffffffn)),
      u32(bytes.length),
      u32(size ?? bytes.length),
    ]);
    blocks.push(block(BLOCK.enhanced, concat([head, padded(bytes)]), { [OPTION.comment]: comment }));
  }
  return concat(blocks);
}

/** @throws RangeError for what is no pcapng, says where */
export function readPcapng(bytes: Uint8Array): CaptureFile {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const interfaces: { name: string; description?: string; perSecond: bigint }[] = [];
  const packets: CapturedPacket[] = [];
  let keyLog: string | undefined;
  let about: { application?: string; comment?: string } = {};
  let isLittle = true;
  for (let at = 0; at < bytes.length; ) {
    if (at + 12 > bytes.length) throw new RangeError(`the block at byte ${at} is cut`);
    // The type of a section header reads alike in both orders.
    if (view.getUint32(at, true) === BLOCK.section) isLittle = view.getUint32(at + 8, true) === MAGIC;
    const type = view.getUint32(at, isLittle);
    const length = view.getUint32(at + 4, isLittle);
    if (length < 12 || length % 4 !== 0 || at + length > bytes.length)
      throw new RangeError(`the block at byte ${at} is cut`);
    if (at === 0 && type !== BLOCK.section) throw new RangeError("this is no pcapng");
    const body = at + 8;
    const end = at + length - 4;
    const need = (count: number) => {
      if (body + count > end) throw new RangeError(`the block at byte ${at} is too short`);
    };
    if (type === BLOCK.section) {
      need(16);
      interfaces.length = 0;
      const options = optionsAt(view, bytes, body + 16, end, isLittle);
      const [comment, application] = [text(options, OPTION.comment), text(options, OPTION.application)];
      about = { ...(comment !== undefined && { comment }), ...(application !== undefined && { application }) };
    } else if (type === BLOCK.interface) {
      need(8);
      const options = optionsAt(view, bytes, body + 8, end, isLittle);
      const description = text(options, OPTION.description);
      const resolution = options.get(OPTION.resolution)?.[0] ?? 6;
      interfaces.push({
        name: text(options, OPTION.name) ?? "",
        ...(description !== undefined && { description }),
        perSecond: resolution & 0x80 ? 2n ** BigInt(resolution & 0x7f) : 10n ** BigInt(resolution),
      });
    } else if (type === BLOCK.secrets) {
      need(8);
      const size = view.getUint32(body + 4, isLittle);
      need(8 + size);
      if (view.getUint32(body, isLittle) === TLS_KEY_LOG) {
        keyLog = (keyLog ?? "") + new TextDecoder().decode(bytes.subarray(body + 8, body + 8 + size));
      }
    } else if (type === BLOCK.enhanced) {
      need(20);
      const index = view.getUint32(body, isLittle);
      const size = view.getUint32(body + 12, isLittle);
      need(20 + size);
      const from = interfaces[index];
      if (!from) throw new RangeError(`the packet at byte ${at} is of an interface that is not described`);
      const time = (BigInt(view.getUint32(body + 4, isLittle)) << 32n) | BigInt(view.getUint32(body + 8, isLittle));
      const original = view.getUint32(body + 16, isLittle);
      const options = optionsAt(view, bytes, body + 20 + Math.ceil(size / 4) * 4, end, isLittle);
      const comment = text(options, OPTION.comment);
      packets.push({
        interface: index,
        at: (time * 1_000_000_000n) / from.perSecond,
        bytes: bytes.subarray(body + 20, body + 20 + size),
        ...(original !== size && { size: original }),
        ...(comment !== undefined && { comment }),
      });
    }
    at += length;
  }
  if (bytes.length === 0) throw new RangeError("this is no pcapng");
  return {
    ...about,
    interfaces: interfaces.map(({ perSecond: _, ...rest }) => rest),
    ...(keyLog !== undefined && { keyLog }),
    packets,
  };
}

type Options = Readonly<Record<number, string | Uint8Array | undefined>>;

function block(type: number, body: Uint8Array, options: Options): Uint8Array {
  const parts = [padded(body)];
  for (const [code, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const data = typeof value === "string" ? new TextEncoder().encode(value) : value;
    parts.push(u16(Number(code)), u16(data.length), padded(data));
  }
  if (parts.length > 1) parts.push(u16(OPTION.end), u16(0));
  const inner = concat(parts);
  return concat([u32(type), u32(inner.length + 12), inner, u32(inner.length + 12)]);
}

function optionsAt(
  view: DataView,
  bytes: Uint8Array,
  from: number,
  end: number,
  isLittle: boolean,
): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (let at = from; at + 4 <= end; ) {
    const code = view.getUint16(at, isLittle);
    const length = view.getUint16(at + 2, isLittle);
    if (code === OPTION.end || at + 4 + length > end) break;
    options.set(code, bytes.subarray(at + 4, at + 4 + length));
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return options;
}

function text(options: Map<number, Uint8Array>, code: number): string | undefined {
  const bytes = options.get(code);
  return bytes && new TextDecoder().decode(bytes);
}

function padded(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 4 === 0) return bytes;
  const whole = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  whole.set(bytes);
  return whole;
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >>> 8) & 0xff);
}

function u32(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
