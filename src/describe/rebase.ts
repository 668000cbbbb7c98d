/**
 * A schema that refers to a place in itself (`#/$defs/Photo`, or `#` when it contains itself) is a document of its
 * own. Put into another document, what it refers to is at another place.
 */
import type { Json } from "./openapi-schemas.ts";

/** `at`: the pointer of where the schema is put (RFC 6901, as in `#/components/schemas/Photo`). */
export function rebased(schema: Json, at: string): Json {
  return mapSchema(schema, at);
}

/** Whether it refers to a place in itself. */
export function hasReference(schema: Json): boolean {
  return JSON.stringify(schema).includes('"$ref":"#');
}

const MAPS = new Set(["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"]);
const LISTS = new Set(["allOf", "anyOf", "oneOf", "prefixItems"]);
const ONES = new Set(
  "items,additionalProperties,unevaluatedProperties,unevaluatedItems,propertyNames,contains,not,if,then,else".split(
    ",",
  ),
);

/** Only what is a schema is changed: a default or a constant may have a `$ref` that is data. */
function mapSchema(schema: unknown, at: string): Json {
  if (typeof schema !== "object" || schema === null) return schema as Json;
  return mapEntries(schema as Json, (key, value) => {
    if (key === "$ref" && typeof value === "string" && value.startsWith("#")) return at + value.slice(1);
    if (MAPS.has(key)) return mapEntries(value as Json, (_, each) => mapSchema(each, at));
    if (LISTS.has(key)) return (value as unknown[]).map((each) => mapSchema(each, at));
    return ONES.has(key) ? mapSchema(value, at) : value;
  });
}

function mapEntries(object: Json, map: (key: string, value: unknown) => unknown): Json {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(key, value)]));
}
