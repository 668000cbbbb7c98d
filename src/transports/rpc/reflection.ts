/**
 * Server reflection (github.com/grpc/grpc, doc/server-reflection.md), in its versions v1 and v1alpha, which differ in
 * their name: tools such as `grpcurl` need no files then.
 */
import { create, type DescFile, type DescMessage, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import { readProto, registryOf } from "./proto-text.ts";

const PROTO = `syntax = "proto3";
package grpc.reflection.VERSION;
service ServerReflection {
  rpc ServerReflectionInfo(stream ServerReflectionRequest) returns (stream ServerReflectionResponse);
}
message ServerReflectionRequest {
  string host = 1;
  oneof message_request {
    string file_by_filename = 3;
    string file_containing_symbol = 4;
    ExtensionRequest file_containing_extension = 5;
    string all_extension_numbers_of_type = 6;
    string list_services = 7;
  }
}
message ExtensionRequest { string containing_type = 1; int32 extension_number = 2; }
message ServerReflectionResponse {
  string valid_host = 1;
  ServerReflectionRequest original_request = 2;
  oneof message_response {
    FileDescriptorResponse file_descriptor_response = 4;
    ExtensionNumberResponse all_extension_numbers_response = 5;
    ListServiceResponse list_services_response = 6;
    ErrorResponse error_response = 7;
  }
}
message FileDescriptorResponse { repeated bytes file_descriptor_proto = 1; }
message ExtensionNumberResponse { string base_type_name = 1; repeated int32 extension_number = 2; }
message ListServiceResponse { repeated ServiceResponse service = 1; }
message ServiceResponse { string name = 1; }
message ErrorResponse { int32 error_code = 1; string error_message = 2; }
`;

export function reflectionFiles(): DescFile[] {
  return ["v1", "v1alpha"].map((version) => {
    const name = `grpc/reflection/${version}/reflection.proto`;
    return registryOf([readProto(name, PROTO.replace("VERSION", version))]).getFile(name)!;
  });
}

interface Request {
  readonly host: string;
  readonly messageRequest:
    | {
        readonly case: "fileByFilename" | "fileContainingSymbol" | "allExtensionNumbersOfType" | "listServices";
        readonly value: string;
      }
    | { readonly case: "fileContainingExtension"; readonly value: { readonly containingType: string } }
    | { readonly case: undefined; readonly value?: undefined };
}

type Answer = { readonly case: string; readonly value: object };

/** @param files all that is served, each after those that it imports */
export function addReflection(router: ConnectRouter, own: readonly DescFile[], files: readonly DescFile[]): void {
  const index = new Index(files);
  for (const file of own) {
    const [info] = file.services[0]!.methods;
    router.rpc(info!, async function* (requests: AsyncIterable<Request>) {
      for await (const request of requests) {
        yield create(info!.output, {
          validHost: request.host,
          originalRequest: request,
          messageResponse: index.answer(request),
        } as never);
      }
    } as never);
  }
}

class Index {
  readonly #services: string[] = [];
  readonly #byName = new Map<string, DescFile>();
  readonly #bySymbol = new Map<string, DescFile>();

  constructor(files: readonly DescFile[]) {
    for (const file of files) {
      this.#byName.set(file.proto.name, file);
      const add = (symbol: string) => this.#bySymbol.set(symbol, file);
      const addMessage = ({ typeName, nestedMessages, nestedEnums, members }: DescMessage): void => {
        add(typeName);
        for (const { name } of members) add(`${typeName}.${name}`);
        for (const each of nestedEnums) add(each.typeName);
        for (const each of nestedMessages) addMessage(each);
      };
      for (const message of file.messages) addMessage(message);
      for (const { typeName } of file.enums) add(typeName);
      for (const { typeName, methods } of file.services) {
        this.#services.push(typeName);
        add(typeName);
        for (const { name } of methods) add(`${typeName}.${name}`);
      }
    }
  }

  answer({ messageRequest: { case: what, value } }: Request): Answer {
    switch (what) {
      case "listServices":
        return { case: "listServicesResponse", value: { service: this.#services.map((name) => ({ name })) } };
      case "fileByFilename":
        return this.#file(this.#byName.get(value), value);
      case "fileContainingSymbol":
        return this.#file(this.#bySymbol.get(value.replace(/^\./, "")), value);
      // proto3 has no extensions here.
      case "allExtensionNumbersOfType":
        if (!this.#bySymbol.has(value)) return notFound(value);
        return { case: "allExtensionNumbersResponse", value: { baseTypeName: value, extensionNumber: [] } };
      case "fileContainingExtension":
        return notFound(`an extension of ${value.containingType}`);
      default:
        return error(Code.InvalidArgument, "the request asks nothing");
    }
  }

  /** With all that it imports, so that one answer is enough. */
  #file(file: DescFile | undefined, name: string): Answer {
    if (!file) return notFound(name);
    const all = new Set<DescFile>();
    const add = (each: DescFile): void => {
      if (all.has(each)) return;
      all.add(each);
      for (const dependency of each.dependencies) add(dependency);
    };
    add(file);
    const protos = [...all].map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
    return { case: "fileDescriptorResponse", value: { fileDescriptorProto: protos } };
  }
}

function notFound(what: string): Answer {
  return error(Code.NotFound, `there is no ${what.slice(0, 256)}`);
}

function error(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}
