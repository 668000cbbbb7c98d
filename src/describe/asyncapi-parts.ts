/** What an AsyncAPI document is put together of. */
import { type AnySchema, jsonSchema } from "../contract/schema.ts";
import type { Json } from "./openapi-schemas.ts";
import { rebased } from "./rebase.ts";

/** The document as it grows. */
export class Parts {
  readonly channels: Json = {};
  readonly operations: Json = {};
  readonly messages: Json = {};
  readonly schemas: Json = {};

  /** A message whose payload is a schema of the contract. */
  message(name: string, schema: AnySchema, side: "input" | "output", more: Json): void {
    this.schemas[name] = rebased(jsonSchema(schema, side), `#/components/schemas/${name}`);
    this.messages[name] = { name, contentType: "application/json", payload: at(`schemas/${name}`), ...more };
  }

  channel(name: string, messages: readonly string[], more: Json): void {
    this.channels[name] = {
      ...more,
      messages: Object.fromEntries(messages.map((each) => [each, at(`messages/${each}`)])),
    };
  }

  /** `send`: the server sends. */
  operation(name: string, action: "send" | "receive", channel: string, messages: readonly string[], more: Json): void {
    this.operations[name] = { action, channel: channelAt(channel), messages: messagesAt(channel, messages), ...more };
  }
}

export function describedBy(description: string | undefined): Json {
  return description === undefined ? {} : { description };
}

export function channelAt(channel: string): Json {
  return { $ref: `#/channels/${channel}` };
}

export function messagesAt(channel: string, messages: readonly string[]): Json[] {
  return messages.map((each) => ({ $ref: `#/channels/${channel}/messages/${each}` }));
}

export function serverAt(name: string): Json {
  return { $ref: `#/servers/${name}` };
}

export function at(path: string): Json {
  return { $ref: `#/components/${path}` };
}
