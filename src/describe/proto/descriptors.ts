/** Files of the model as descriptors (descriptor.proto), for codecs and for reflection. */
import { create, createFileRegistry, type FileRegistry } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_struct,
  FieldDescriptorProto_Label as Label,
  MethodOptions_IdempotencyLevel,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import type { ProtoField, ProtoFile, ProtoMessage } from "./model.ts";

const SCALARS: Readonly<Record<string, Type>> = {
  string: Type.STRING,
  bool: Type.BOOL,
  int32: Type.INT32,
  int64: Type.INT64,
  double: Type.DOUBLE,
  bytes: Type.BYTES,
};

/** The files by their names, in an order in which each comes after those that it imports. */
export function registryOf(files: ReadonlyMap<string, ProtoFile>): FileRegistry {
  const file = [file_google_protobuf_struct.proto, ...[...files].map(([name, each]) => fileOf(name, each))];
  return createFileRegistry(create(FileDescriptorSetSchema, { file }));
}

function fileOf(name: string, file: ProtoFile): FileDescriptorProto {
  const { service } = file;
  return create(FileDescriptorProtoSchema, {
    name,
    package: file.package,
    syntax: "proto3",
    dependency: [...file.imports],
    messageType: file.messages.map((message) => messageOf(message, file.package)),
    service: service
      ? [
          {
            name: service.name,
            method: service.rpcs.map((rpc) => ({
              name: rpc.name,
              inputType: `.${rpc.input}`,
              outputType: `.${rpc.output}`,
              ...(rpc.isClientStream && { clientStreaming: true }),
              ...(rpc.isServerStream && { serverStreaming: true }),
              ...(rpc.isSafe && { options: { idempotencyLevel: MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS } }),
            })),
          },
        ]
      : [],
  });
}

function messageOf(message: ProtoMessage, scope: string): DescriptorProto {
  const path = `${scope}.${message.name}`;
  const optional = message.fields.filter(({ label }) => label === "optional");
  const entries = message.fields.filter(({ label }) => label === "map").map(entryOf);
  return create(DescriptorProtoSchema, {
    name: message.name,
    field: message.fields.map((field) => fieldOf(field, path, optional.indexOf(field))),
    // Each optional field has a oneof of its own that is not in the text (proto3_optional).
    oneofDecl: optional.map(({ name }) => ({ name: `_${name}` })),
    nestedType: [...entries, ...message.messages.map((each) => messageOf(each, path))],
    reservedRange: message.reserved.numbers.map((number) => ({ start: number, end: number + 1 })),
    reservedName: [...message.reserved.names],
  });
}

function fieldOf(field: ProtoField, path: string, optional: number): FieldDescriptorProto {
  const isMap = field.label === "map";
  return create(FieldDescriptorProtoSchema, {
    name: field.name,
    jsonName: field.jsonName,
    number: field.number,
    label: isMap || field.label === "repeated" ? Label.REPEATED : Label.OPTIONAL,
    ...(isMap ? { type: Type.MESSAGE, typeName: `.${path}.${entryName(field.name)}` } : typeOf(field.type)),
    ...(optional >= 0 && { proto3Optional: true, oneofIndex: optional }),
  });
}

/** A map is a list of messages of key and value. */
function entryOf(field: ProtoField): DescriptorProto {
  const part = (name: string, number: number, type: string): FieldDescriptorProto =>
    create(FieldDescriptorProtoSchema, { name, jsonName: name, number, label: Label.OPTIONAL, ...typeOf(type) });
  return create(DescriptorProtoSchema, {
    name: entryName(field.name),
    field: [part("key", 1, "string"), part("value", 2, field.type)],
    options: { mapEntry: true },
  });
}

function entryName(field: string): string {
  const camel = field.replace(/_+([^_]|$)/g, (_, letter: string) => letter.toUpperCase());
  return `${camel.slice(0, 1).toUpperCase()}${camel.slice(1)}Entry`;
}

function typeOf(type: string): { type: Type; typeName?: string } {
  const scalar = SCALARS[type];
  return scalar === undefined ? { type: Type.MESSAGE, typeName: `.${type}` } : { type: scalar };
}
