/**
 * Reads .proto files of the form that `print.ts` writes: proto3 with messages, maps, reserved numbers and names,
 * and services. People may have edited the pins, so white space, comments and order do not matter, and what
 * is not understood is said with its line.
 */
import { Fault } from "../../log/fault.ts";
import type { ProtoField, ProtoFile, ProtoMessage, ProtoRpc, ProtoService } from "./model.ts";
import { defaultJsonName } from "./names.ts";

const SCALARS = new Set(["string", "bool", "int32", "int64", "double", "bytes"]);
const TOKEN = /\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/|("(?:[^"\\\n]|\\.)*"|[A-Za-z_][\w.]*|\d+|[{}()[\]<>=;,-])/gy;

/** @throws Fault `invalid_argument`, with the line */
export function parseProto(text: string, name: string): ProtoFile {
  return new Reader(text, name).file();
}

interface Token {
  readonly text: string;
  readonly line: number;
}

class Reader {
  readonly #name: string;
  readonly #tokens: Token[] = [];
  #at = 0;

  constructor(text: string, name: string) {
    this.#name = name;
    let line = 1;
    const scanner = new RegExp(TOKEN);
    while (scanner.lastIndex < text.length) {
      const start = scanner.lastIndex;
      const match = scanner.exec(text);
      if (!match) throw this.#fault(`unexpected ${JSON.stringify(text[start])}`, line);
      if (match[1] !== undefined) this.#tokens.push({ text: match[1], line });
      line += match[0].split("\n").length - 1;
    }
  }

  file(): ProtoFile {
    let of = "";
    const imports: string[] = [];
    const messages: ProtoMessage[] = [];
    let service: ProtoService | undefined;
    this.#expect("syntax", "=");
    if (this.#string() !== "proto3") throw this.#fault("only proto3 is understood");
    this.#expect(";");
    while (this.#peek() !== undefined) {
      const word = this.#next();
      if (word === "package") {
        of = this.#word();
        this.#expect(";");
      } else if (word === "import") {
        imports.push(this.#string());
        this.#expect(";");
      } else if (word === "option") this.#skipTo(";");
      else if (word === "message") messages.push(this.#message());
      else if (word === "service") {
        if (service) throw this.#fault("there is one service in a file");
        service = this.#service();
      } else if (word !== ";") throw this.#fault(`unexpected ${JSON.stringify(word)}`);
    }
    return resolved({ package: of, imports, messages, service });
  }

  #message(): ProtoMessage {
    const name = this.#word();
    const fields: ProtoField[] = [];
    const messages: ProtoMessage[] = [];
    const reserved = { numbers: [] as number[], names: [] as string[] };
    this.#expect("{");
    while (!this.#take("}")) {
      if (this.#take(";")) continue;
      if (this.#isKeyword("message")) messages.push(this.#message());
      else if (this.#isKeyword("option")) this.#skipTo(";");
      else if (this.#isKeyword("reserved")) this.#reserved(reserved);
      else fields.push(this.#field());
    }
    this.#checkNumbers(name, fields, reserved.numbers);
    return { name, fields, messages, reserved };
  }

  #checkNumbers(message: string, fields: readonly ProtoField[], reserved: readonly number[]): void {
    const used = new Map<number, string>(reserved.map((number) => [number, "reserved"]));
    const names = new Set<string>();
    for (const { name, number } of fields) {
      const other = used.get(number);
      if (other !== undefined) throw this.#fault(`${message}.${name} = ${number}: the number is taken (${other})`);
      if (names.has(name)) throw this.#fault(`${message} has two fields ${name}`);
      used.set(number, name);
      names.add(name);
    }
  }

  #field(): ProtoField {
    const isMap = this.#peek() === "map" && this.#peek(1) === "<";
    if (isMap) {
      this.#expect("map", "<", "string", ",");
      const type = this.#word();
      this.#expect(">");
      return this.#rest(type, "map");
    }
    const isLabel = (word: string) => this.#peek() === word && this.#peek(2) !== "=";
    const label = isLabel("optional") ? "optional" : isLabel("repeated") ? "repeated" : "required";
    if (label !== "required") this.#next();
    return this.#rest(this.#word(), label);
  }

  #rest(type: string, label: ProtoField["label"]): ProtoField {
    const name = this.#word();
    this.#expect("=");
    const number = this.#number();
    let jsonName = defaultJsonName(name);
    if (this.#take("[")) {
      do {
        const option = this.#word();
        this.#expect("=");
        const given = this.#next();
        if (option === "json_name") jsonName = this.#unquoted(given);
      } while (this.#take(","));
      this.#expect("]");
    }
    this.#expect(";");
    return { name, jsonName, number, type, label };
  }

  #reserved(into: { numbers: number[]; names: string[] }): void {
    do {
      if (this.#peek()?.startsWith('"')) {
        into.names.push(this.#string());
        continue;
      }
      const from = this.#number();
      const to = this.#take("to") ? this.#number() : from;
      if (to < from || to - from > 100_000) throw this.#fault(`a range from ${from} to ${to} is not understood`);
      for (let number = from; number <= to; number++) into.numbers.push(number);
    } while (this.#take(","));
    this.#expect(";");
  }

  #service(): ProtoService {
    const name = this.#word();
    const rpcs: ProtoRpc[] = [];
    this.#expect("{");
    while (!this.#take("}")) {
      if (this.#take(";")) continue;
      if (this.#take("option")) this.#skipTo(";");
      else rpcs.push(this.#rpc());
    }
    return { name, rpcs };
  }

  #rpc(): ProtoRpc {
    this.#expect("rpc");
    const name = this.#word();
    const [input, isClientStream] = this.#side();
    this.#expect("returns");
    const [output, isServerStream] = this.#side();
    let isSafe = false;
    if (this.#take("{")) {
      while (!this.#take("}")) {
        if (this.#take(";")) continue;
        this.#expect("option");
        const option = this.#word();
        this.#expect("=");
        if (option === "idempotency_level" && this.#peek() === "NO_SIDE_EFFECTS") isSafe = true;
        this.#skipTo(";");
      }
    } else this.#expect(";");
    return { name, input, output, isClientStream, isServerStream, isSafe };
  }

  #side(): [type: string, isStream: boolean] {
    this.#expect("(");
    const isStream = this.#peek() === "stream" && this.#peek(1) !== ")";
    if (isStream) this.#next();
    const type = this.#word();
    this.#expect(")");
    return [type, isStream];
  }

  /** The word begins a statement, and is not the type of a field. */
  #isKeyword(word: string): boolean {
    if (this.#peek() !== word || this.#peek(2) === "=") return false;
    this.#at++;
    return true;
  }

  #peek(ahead = 0): string | undefined {
    return this.#tokens[this.#at + ahead]?.text;
  }

  #next(): string {
    const token = this.#tokens[this.#at];
    if (!token) throw this.#fault("the file ends too early");
    this.#at++;
    return token.text;
  }

  #take(text: string): boolean {
    if (this.#peek() !== text) return false;
    this.#at++;
    return true;
  }

  #expect(...texts: readonly string[]): void {
    for (const text of texts) {
      if (!this.#take(text)) throw this.#fault(`expected ${text}, found ${this.#peek() ?? "the end"}`);
    }
  }

  #word(): string {
    const word = this.#next();
    if (!/^[A-Za-z_]/.test(word)) throw this.#fault(`expected a name, found ${word}`);
    return word;
  }

  #number(): number {
    const number = Number(this.#next());
    if (!Number.isInteger(number) || number < 1 || number >= 2 ** 29) throw this.#fault("expected a field's number");
    return number;
  }

  #string(): string {
    return this.#unquoted(this.#next());
  }

  #unquoted(token: string): string {
    if (!token.startsWith('"')) throw this.#fault(`expected a string, found ${token}`);
    try {
      return JSON.parse(token) as string;
    } catch {
      throw this.#fault(`the string ${token} is not understood`);
    }
  }

  #skipTo(end: string): void {
    while (this.#next() !== end);
  }

  #fault(what: string, line = this.#tokens[Math.max(0, this.#at - 1)]?.line ?? 1): Fault {
    return new Fault("invalid_argument", `${this.#name}:${line}: ${what}`, {
      hint: "files of pinned numbers are written by: backtalk contract FILE --write",
    });
  }
}

/** Types by their whole names, found as the language has it: from the inside out. */
function resolved(file: ProtoFile): ProtoFile {
  const known = new Set<string>();
  const collect = (message: ProtoMessage, scope: string) => {
    const path = `${scope}.${message.name}`;
    known.add(path);
    for (const each of message.messages) collect(each, path);
  };
  for (const message of file.messages) collect(message, file.package);
  const find = (type: string, scope: string): string => {
    if (SCALARS.has(type)) return type;
    for (let at = scope; at !== ""; at = at.slice(0, Math.max(0, at.lastIndexOf(".")))) {
      if (known.has(`${at}.${type}`)) return `${at}.${type}`;
    }
    return type;
  };
  const message = (given: ProtoMessage, scope: string): ProtoMessage => {
    const path = `${scope}.${given.name}`;
    return {
      ...given,
      fields: given.fields.map((field) => ({ ...field, type: find(field.type, path) })),
      messages: given.messages.map((each) => message(each, path)),
    };
  };
  const rpc = (given: ProtoRpc): ProtoRpc => {
    return { ...given, input: find(given.input, file.package), output: find(given.output, file.package) };
  };
  return {
    ...file,
    messages: file.messages.map((each) => message(each, file.package)),
    service: file.service && { ...file.service, rpcs: file.service.rpcs.map(rpc) },
  };
}
