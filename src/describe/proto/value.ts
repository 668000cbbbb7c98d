/**
 * JSON values as `google.protobuf.Value` messages, and back. What a handler gives may be more than JSON; it becomes
 * what JSON.stringify makes of it, so that it is the same on every transport.
 */
import type { Message } from "@bufbuild/protobuf";
import type { Struct, Value } from "@bufbuild/protobuf/wkt";
import { Unfit } from "./unfit.ts";

type Kind = Value["kind"];

export function toValue(json: unknown): Value {
  return { $typeName: "google.protobuf.Value", kind: kindOf(json) };
}

function kindOf(json: unknown): Kind {
  switch (typeof json) {
    case "string":
      return { case: "stringValue", value: wellFormed(json) };
    case "number":
      return Number.isFinite(json) ? { case: "numberValue", value: json } : { case: "nullValue", value: 0 };
    case "boolean":
      return { case: "boolValue", value: json };
    case "object":
      if (json === null) return { case: "nullValue", value: 0 };
      if (Array.isArray(json)) {
        const values = json.map((each, index) => within(index, () => toValue(isNothing(each) ? null : each)));
        return { case: "listValue", value: { $typeName: "google.protobuf.ListValue", values } };
      }
      if (hasToJson(json)) return kindOf(json.toJSON());
      return { case: "structValue", value: toStruct(json as Record<string, unknown>) };
    default:
      throw new Unfit("is not JSON");
  }
}

function toStruct(json: Record<string, unknown>): Struct {
  const fields: Record<string, Value> = {};
  for (const key of Object.keys(json)) {
    const each = json[key];
    if (isNothing(each)) continue;
    const made = within(key, () => toValue(each));
    setOwn(fields, wellFormed(key), made);
  }
  return { $typeName: "google.protobuf.Struct", fields };
}

/** What JSON.stringify leaves out of objects, and makes null in arrays. */
export function isNothing(value: unknown): boolean {
  return value === undefined || typeof value === "function" || typeof value === "symbol";
}

/** Such as a Date. */
export function hasToJson(value: unknown): value is { toJSON(): unknown } {
  return typeof value === "object" && value !== null && typeof (value as { toJSON?: unknown }).toJSON === "function";
}

/** Nothing for a Value without a kind: the field was there, and said nothing. */
export function fromValue(message: Message): unknown {
  const { kind } = message as Value;
  switch (kind.case) {
    case "nullValue":
      return null;
    case "listValue":
      return kind.value.values.map((each) => fromValue(each) ?? null);
    case "structValue": {
      const object: Record<string, unknown> = {};
      const { fields } = kind.value;
      for (const key of Object.keys(fields)) setOwn(object, key, fromValue(fields[key]!) ?? null);
      return object;
    }
    case "numberValue":
      if (!Number.isFinite(kind.value)) throw new Unfit("is not a number of JSON");
      return kind.value;
    default:
      return kind.value;
  }
}

/** `object[key] = value`, also for the key `__proto__`. */
export function setOwn(object: object, key: string, value: unknown): void {
  if (key !== "__proto__") (object as Record<string, unknown>)[key] = value;
  else Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

/** Strings of Protocol Buffers are UTF-8, which has no half of a surrogate pair; it would silently become U+FFFD. */
export function wellFormed(text: string): string {
  if (!text.isWellFormed()) throw new Unfit("has half of a surrogate pair, which UTF-8 cannot say");
  return text;
}

export function within<T>(key: string | number, run: () => T): T {
  try {
    return run();
  } catch (thrown) {
    throw thrown instanceof Unfit ? thrown.in(key) : thrown;
  }
}
