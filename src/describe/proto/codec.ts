/** JSON values of the contract as messages, and back: prepared once for each message. */
import type { DescField, DescMessage, Message, Registry } from "@bufbuild/protobuf";
import { Fault } from "../../log/fault.ts";
import type { FieldPlan, MessagePlan } from "./messages.ts";
import type { MessageShape, Scalar, Shape } from "./shape.ts";
import { Unfit } from "./unfit.ts";
import { fromValue, hasToJson, isNothing, setOwn, toValue, wellFormed, within } from "./value.ts";

/** Lossless for every JSON value that the schema allows. */
export interface MessageCodec {
  readonly desc: DescMessage;
  /** @throws Fault `invalid_argument` for what the message cannot hold */
  toMessage(value: unknown): Message;
  /** @throws Fault `invalid_argument` for what is not JSON, such as NaN */
  fromMessage(message: Message): unknown;
}

type Fields = Record<string, unknown>;

interface Convert {
  to(json: unknown): unknown;
  from(value: unknown): unknown;
}

interface FieldCodec {
  write(object: Fields, into: Fields): void;
  read(message: Fields, into: Fields): void;
}

export class Codecs {
  readonly #plans: ReadonlyMap<MessageShape, MessagePlan>;
  readonly #registry: Registry;
  readonly #made = new Map<MessagePlan, Convert>();

  constructor(plans: ReadonlyMap<MessageShape, MessagePlan>, registry: Registry) {
    this.#plans = plans;
    this.#registry = registry;
  }

  of(plan: MessagePlan): MessageCodec {
    const convert = this.#message(plan);
    const desc = this.#desc(plan);
    return {
      desc,
      toMessage: (value) => edge(desc, () => convert.to(value)) as Message,
      fromMessage: (message) => edge(desc, () => convert.from(message)),
    };
  }

  #desc(plan: MessagePlan): DescMessage {
    return this.#registry.getMessage(plan.path)!;
  }

  #message(plan: MessagePlan): Convert {
    const known = this.#made.get(plan);
    if (known) return known;
    // It may contain itself: it is known before its fields are, and forwards to what is made of them.
    let whole: Convert | undefined;
    const made: Convert = { to: (json) => whole!.to(json), from: (value) => whole!.from(value) };
    this.#made.set(plan, made);
    const descs = new Map(this.#desc(plan).fields.map((field) => [field.name, field]));
    const descOf = ({ field }: FieldPlan) => descs.get(field.name)!;
    whole = plan.shape.isWrapper ? this.#wrapper(plan, descOf) : this.#object(plan, descOf);
    return made;
  }

  #wrapper(plan: MessagePlan, descOf: (field: FieldPlan) => DescField): Convert {
    const [field] = plan.fields;
    const local = descOf(field!).localName;
    const { to, from } = this.#shape(field!.shape);
    // Undefined is what a method without input is called with; only a Value has room for it.
    const isValue = field!.shape.kind === "value";
    return {
      to: (json) => ({ $typeName: plan.path, [local]: isValue && json === undefined ? undefined : to(json) }),
      from(message) {
        const value = (message as Fields)[local];
        return value === undefined ? undefined : from(value);
      },
    };
  }

  #object(plan: MessagePlan, descOf: (field: FieldPlan) => DescField): Convert {
    const named = new Set(plan.fields.flatMap(({ property }) => property ?? []));
    const fields = plan.fields.map((field) => {
      const local = descOf(field).localName;
      return field.property === undefined ? this.#more(field, local, named) : this.#field(field, field.property, local);
    });
    const cursor = plan.isStreamed ? this.#desc(plan).fields.find(({ number }) => number === 536_870_911) : undefined;
    return {
      to(json) {
        const object = json === undefined ? {} : objectOf(json);
        const message: Fields = { $typeName: plan.path };
        if (cursor) message[cursor.localName] = "";
        for (const field of fields) field.write(object, message);
        return message;
      },
      from(message) {
        const object: Fields = {};
        for (const field of fields) field.read(message as Fields, object);
        return object;
      },
    };
  }

  #field({ field, shape, isNullable }: FieldPlan, property: string, local: string): FieldCodec {
    const { to, from } = this.#shape(shape);
    const isOptional = field.label === "optional";
    return {
      write(object, into) {
        const json = Object.hasOwn(object, property) ? object[property] : undefined;
        if (json === undefined ? isOptional && !isNullable : json === null && isNullable) return;
        if (json === undefined) throw new Unfit("is missing", property);
        try {
          into[local] = to(json);
        } catch (thrown) {
          throw thrown instanceof Unfit ? thrown.in(property) : thrown;
        }
      },
      read(message, into) {
        const value = message[local];
        const json = value === undefined ? (isNullable ? null : undefined) : within(property, () => from(value));
        if (json !== undefined) setOwn(into, property, json);
      },
    };
  }

  #more({ shape }: FieldPlan, local: string, named: ReadonlySet<string>): FieldCodec {
    const { to, from } = this.#shape(shape);
    return {
      write(object, into) {
        const rest: Fields = {};
        for (const key of Object.keys(object)) if (!named.has(key)) setOwn(rest, key, object[key]);
        into[local] = to(rest);
      },
      read(message, into) {
        const rest = from(message[local]) as Fields;
        // A name that has a field must not come in by this door.
        for (const key of Object.keys(rest)) if (!named.has(key)) setOwn(into, key, rest[key]);
      },
    };
  }

  #shape(shape: Shape): Convert {
    switch (shape.kind) {
      case "scalar":
        return SCALARS[shape.type];
      case "value":
        return { to: toValue, from: (value) => fromValue(value as Message) };
      case "message":
        return this.#message(this.#plans.get(shape)!);
      case "list":
        return list(this.#shape(shape.of));
      case "map":
        return map(this.#shape(shape.of), shape.of.kind === "value");
    }
  }
}

function list(of: Convert): Convert {
  return {
    to(json) {
      if (!Array.isArray(json)) throw new Unfit("must be an array");
      return json.map((each, index) => within(index, () => of.to(each)));
    },
    from: (values) => (values as unknown[]).map((each, index) => within(index, () => of.from(each) ?? null)),
  };
}

function map(of: Convert, isValue: boolean): Convert {
  return {
    to(json) {
      const object = objectOf(json);
      const entries: Fields = {};
      for (const key of Object.keys(object)) {
        const each = object[key];
        if (isNothing(each)) continue;
        setOwn(
          entries,
          wellFormed(key),
          within(key, () => of.to(each)),
        );
      }
      return entries;
    },
    from(values) {
      const object: Fields = {};
      for (const key of Object.keys(values as Fields)) {
        const json = within(key, () => of.from((values as Fields)[key]));
        setOwn(object, key, json === undefined && isValue ? null : json);
      }
      return object;
    },
  };
}

const SCALARS: Readonly<Record<Scalar, Convert>> = {
  string: {
    to(json) {
      const text = hasToJson(json) ? json.toJSON() : json;
      if (typeof text !== "string") throw new Unfit("must be a string");
      return wellFormed(text);
    },
    from: (value) => value,
  },
  bool: {
    to(json) {
      if (typeof json !== "boolean") throw new Unfit("must be true or false");
      return json;
    },
    from: (value) => value,
  },
  double: { to: finite, from: finite },
  int32: {
    to(json) {
      if (!Number.isInteger(json) || json !== ((json as number) | 0))
        throw new Unfit("must be a whole number of 32 bits");
      return json;
    },
    from: (value) => value,
  },
  int64: {
    to(json) {
      if (!Number.isSafeInteger(json)) throw new Unfit("must be a whole number, exact up to 2^53");
      return BigInt(json as number);
    },
    from(value) {
      const number = Number(value);
      if (!Number.isSafeInteger(number))
        throw new Unfit("is a whole number beyond 2^53, which JSON cannot say exactly");
      return number;
    },
  },
};

function finite(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new Unfit("must be a number of JSON");
  return value;
}

function objectOf(given: unknown): Fields {
  const json = hasToJson(given) ? given.toJSON() : given;
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new Unfit("must be an object");
  return json as Fields;
}

function edge<T>(desc: DescMessage, run: () => T): T {
  try {
    return run();
  } catch (thrown) {
    if (!(thrown instanceof Unfit)) throw thrown;
    const { path, what } = thrown;
    throw new Fault("invalid_argument", `not a ${desc.name}: ${path === "" ? "it" : path} ${what}`, {
      fields: [{ path, message: what }],
    });
  }
}
