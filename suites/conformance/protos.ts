/** Reads .proto files when the program starts: no generated code to keep. */
import { create, createFileRegistry, type FileRegistry, fromBinary } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { loadSync } from "@grpc/proto-loader";

export function loadProtos(files: string | string[], folder: string): FileRegistry {
  const loaded = Object.values(loadSync(files, { includeDirs: [folder], keepCase: true }));
  const sets = loaded.flatMap((each) => ("fileDescriptorProtos" in each ? [each.fileDescriptorProtos] : []));
  const file = (sets[0] as Buffer[]).map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
  // The loader makes one file of each package, with names as short as they can be, and no imports.
  file.sort((a, b) => Number(b.package === "google.protobuf") - Number(a.package === "google.protobuf"));
  const names = new Set(file.flatMap((each) => each.messageType.flatMap((type) => namesIn(type, each.package))));
  for (const each of file) for (const { name } of each.enumType) names.add(`${each.package}.${name}`);
  file.forEach((each, index) => {
    each.dependency = file.slice(0, index).map(({ name }) => name);
    resolve(each, names);
  });
  return createFileRegistry(create(FileDescriptorSetSchema, { file }));
}

function namesIn(type: DescriptorProto, scope: string): string[] {
  const name = `${scope}.${type.name}`;
  return [
    name,
    ...type.nestedType.flatMap((nested) => namesIn(nested, name)),
    ...type.enumType.map((nested) => `${name}.${nested.name}`),
  ];
}

/** Protobuf, Language Guide, "Packages and Name Resolution": from the innermost scope outwards. */
function resolve(file: FileDescriptorProto, names: ReadonlySet<string>): void {
  const full = (name: string, scope: string): string => {
    if (name.startsWith(".")) return name;
    for (let at = scope; ; at = at.slice(0, Math.max(0, at.lastIndexOf(".")))) {
      const tried = at === "" ? name : `${at}.${name}`;
      if (names.has(tried)) return `.${tried}`;
      if (at === "") throw new Error(`no type ${name} in ${scope}`);
    }
  };
  const resolveType = (type: DescriptorProto, scope: string): void => {
    const name = `${scope}.${type.name}`;
    for (const field of type.field) {
      if (field.typeName) field.typeName = full(field.typeName, name);
      // Left out by the loader: as the compiler has them.
      const oneof = field.oneofIndex === undefined ? undefined : type.oneofDecl[field.oneofIndex]?.name;
      if (oneof === `_${field.name}`) field.proto3Optional = true;
      field.jsonName ||= field.name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    }
    for (const nested of type.nestedType) resolveType(nested, name);
  };
  for (const type of file.messageType) resolveType(type, file.package);
  for (const service of file.service) {
    for (const method of service.method) {
      method.inputType = full(method.inputType, file.package);
      method.outputType = full(method.outputType, file.package);
    }
  }
}
