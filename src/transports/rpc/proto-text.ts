/**
 * Reads the `.proto` files that are kept here as text: the part of proto3 that they are written in (messages, enums,
 * oneofs, maps, services), so that the text is the one source of what is served.
 */
import { create, createFileRegistry, type FileRegistry } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  type EnumDescriptorProto,
  EnumDescriptorProtoSchema,
  FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  FieldDescriptorProto_Label as Label,
  MethodDescriptorProtoSchema,
  MethodOptions_IdempotencyLevel,
  OneofDescriptorProtoSchema,
  type ServiceDescriptorProto,
  ServiceDescriptorProtoSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";

/** @param name the path by which others import it, such as `grpc/health/v1/health.proto` */
export function readProto(name: string, text: string): FileDescriptorProto {
  return new Reader(text).file(name);
}

/** The files must include what they import, before those that import it. */
export function registryOf(files: readonly FileDescriptorProto[]): FileRegistry {
  return createFileRegistry(create(FileDescriptorSetSchema, { file: [...files] }));
}

const SCALARS: Readonly<Record<string, Type>> = {
  double: Type.DOUBLE,
  float: Type.FLOAT,
  int64: Type.INT64,
  uint64: Type.UINT64,
  int32: Type.INT32,
  uint32: Type.UINT32,
  bool: Type.BOOL,
  string: Type.STRING,
  bytes: Type.BYTES,
};

class Reader {
  readonly #tokens: readonly string[];
  #at = 0;
  #package = "";
  /** Full names with the leading dot, of what this file declares. */
  readonly #enums = new Set<string>();
  readonly #messages = new Set<string>();

  constructor(text: string) {
    const plain = text.replace(/\/\/[^\n]*/g, "");
    this.#tokens = plain.match(/"[^"]*"|[\w.]+|[{}()[\]<>=;,]/g) ?? [];
  }

  file(name: string): FileDescriptorProto {
    this.#declare();
    const dependency: string[] = [];
    const messageType: DescriptorProto[] = [];
    const enumType: EnumDescriptorProto[] = [];
    const service: ServiceDescriptorProto[] = [];
    while (this.#at < this.#tokens.length) {
      const word = this.#next();
      if (word === "syntax") this.#skip("=", '"proto3"', ";");
      else if (word === "package") this.#skip(this.#package, ";");
      else if (word === "import") {
        dependency.push(this.#next().slice(1, -1));
        this.#skip(";");
      } else if (word === "message") messageType.push(this.#message(`.${this.#package}`));
      else if (word === "enum") enumType.push(this.#enum());
      else if (word === "service") service.push(this.#service());
      else throw this.#wrong(word);
    }
    return create(FileDescriptorProtoSchema, {
      name,
      package: this.#package,
      syntax: "proto3",
      dependency,
      messageType,
      enumType,
      service,
    });
  }

  /** Names are used before they are declared, so all of them are looked up first. */
  #declare(): void {
    const scopes: string[] = [];
    this.#tokens.forEach((token, i) => {
      const name = this.#tokens[i + 1] ?? "";
      if (token === "package" && scopes.length === 0) this.#package = name;
      if (token === "{") {
        const kind = this.#tokens[i - 2] ?? "";
        const own = this.#tokens[i - 1] ?? "";
        const full = `${scopes.at(-1) ?? `.${this.#package}`}.${own}`;
        if (kind === "message") this.#messages.add(full);
        if (kind === "enum") this.#enums.add(full);
        scopes.push(kind === "message" ? full : (scopes.at(-1) ?? `.${this.#package}`));
      } else if (token === "}") scopes.pop();
    });
  }

  #message(scope: string): DescriptorProto {
    const name = this.#next();
    const own = `${scope}.${name}`;
    const message = create(DescriptorProtoSchema, { name });
    this.#skip("{");
    for (let word = this.#next(); word !== "}"; word = this.#next()) {
      if (word === "message") message.nestedType.push(this.#message(own));
      else if (word === "enum") message.enumType.push(this.#enum());
      else if (word === "oneof") {
        const oneofIndex = message.oneofDecl.length;
        message.oneofDecl.push(create(OneofDescriptorProtoSchema, { name: this.#next() }));
        this.#skip("{");
        for (let type = this.#next(); type !== "}"; type = this.#next()) this.#field(message, own, type, oneofIndex);
      } else this.#field(message, own, word);
    }
    // Those of `optional` come after all others, as `protoc` has them.
    for (const field of message.field) {
      if (!field.proto3Optional) continue;
      field.oneofIndex = message.oneofDecl.length;
      message.oneofDecl.push(create(OneofDescriptorProtoSchema, { name: `_${field.name}` }));
    }
    return message;
  }

  #field(message: DescriptorProto, scope: string, first: string, oneofIndex?: number): void {
    const isRepeated = first === "repeated";
    const isOptional = first === "optional";
    let type = isRepeated || isOptional ? this.#next() : first;
    let typeName: string | undefined;
    let kind = SCALARS[type];
    let label = isRepeated ? Label.REPEATED : Label.OPTIONAL;
    if (type === "map") {
      this.#skip("<");
      const key = this.#next();
      this.#skip(",");
      const value = this.#next();
      this.#skip(">");
      const field = this.#tokens[this.#at]!;
      const entry = `${field.replace(/(^|_)([a-z])/g, (_, __, letter: string) => letter.toUpperCase())}Entry`;
      const nested = create(DescriptorProtoSchema, { name: entry, options: { mapEntry: true } });
      nested.field.push(this.#made("key", 1, key, scope), this.#made("value", 2, value, scope));
      message.nestedType.push(nested);
      kind = Type.MESSAGE;
      typeName = `${scope}.${entry}`;
      label = Label.REPEATED;
      type = entry;
    }
    const name = this.#next();
    this.#skip("=");
    const field = this.#made(name, Number(this.#next()), type, scope, kind, typeName);
    this.#skip(";");
    field.label = label;
    if (isOptional) field.proto3Optional = true;
    if (oneofIndex !== undefined) field.oneofIndex = oneofIndex;
    message.field.push(field);
  }

  #made(name: string, number: number, type: string, scope: string, kind = SCALARS[type], typeName?: string) {
    const full = kind === undefined ? this.#resolve(type, scope) : typeName;
    const jsonName = name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
    return create(FieldDescriptorProtoSchema, {
      name,
      number,
      jsonName,
      label: Label.OPTIONAL,
      type: kind ?? (this.#enums.has(full!) ? Type.ENUM : Type.MESSAGE),
      ...(full !== undefined && { typeName: full }),
    });
  }

  #enum(): EnumDescriptorProto {
    const made = create(EnumDescriptorProtoSchema, { name: this.#next() });
    this.#skip("{");
    for (let name = this.#next(); name !== "}"; name = this.#next()) {
      this.#skip("=");
      made.value.push({ $typeName: "google.protobuf.EnumValueDescriptorProto", name, number: Number(this.#next()) });
      this.#skip(";");
    }
    return made;
  }

  #service(): ServiceDescriptorProto {
    const made = create(ServiceDescriptorProtoSchema, { name: this.#next() });
    this.#skip("{");
    for (let word = this.#next(); word !== "}"; word = this.#next()) {
      if (word !== "rpc") throw this.#wrong(word);
      const name = this.#next();
      const [inputType, clientStreaming] = this.#side();
      this.#skip("returns");
      const [outputType, serverStreaming] = this.#side();
      const isSafe = this.#tokens[this.#at] === "{";
      if (isSafe) this.#skip("{", "option", "idempotency_level", "=", "NO_SIDE_EFFECTS", ";", "}");
      else this.#skip(";");
      const shape = { name, inputType, outputType, clientStreaming, serverStreaming };
      const options = { idempotencyLevel: MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS };
      made.method.push(create(MethodDescriptorProtoSchema, isSafe ? { ...shape, options } : shape));
    }
    return made;
  }

  #side(): [type: string, isStream: boolean] {
    this.#skip("(");
    const first = this.#next();
    const isStream = first === "stream";
    const type = isStream ? this.#next() : first;
    this.#skip(")");
    return [this.#resolve(type, `.${this.#package}`), isStream];
  }

  /** From the innermost scope outwards; what no scope has is of another file, by its full name. */
  #resolve(type: string, scope: string): string {
    for (let at = scope; at !== ""; at = at.slice(0, at.lastIndexOf("."))) {
      const full = `${at}.${type}`;
      if (this.#messages.has(full) || this.#enums.has(full)) return full;
    }
    return `.${type}`;
  }

  #next(): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw new Error("the file ends too early");
    return token;
  }

  #skip(...expected: readonly string[]): void {
    for (const each of expected) {
      const token = this.#next();
      if (token !== each) throw this.#wrong(token, each);
    }
  }

  #wrong(token: string, expected?: string): Error {
    return new Error(`${token} at ${this.#at}${expected === undefined ? "" : `, not ${expected}`}`);
  }
}
