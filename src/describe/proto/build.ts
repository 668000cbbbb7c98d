/** A contract, and the numbers that are pinned, as files of the model. */
import type { Contract } from "../../contract/host.ts";
import { jsonSchema } from "../../contract/schema.ts";
import type { Method, Topic } from "../../contract/service.ts";
import { Fault } from "../../log/fault.ts";
import { BACKTALK_FILE } from "./backtalk.ts";
import { merge } from "./merge.ts";
import { MessageBuilder, type MessagePlan, messagesOf, type Pins } from "./messages.ts";
import {
  CURSOR_FIELD,
  CURSOR_NUMBER,
  type ProtoField,
  type ProtoFile,
  type ProtoMessage,
  type ProtoRpc,
  VALUE,
} from "./model.ts";
import { folded, pascal } from "./names.ts";
import { type MessageShape, type Shape, shapeOf } from "./shape.ts";

export interface MethodPlan {
  readonly address: string;
  readonly method: Method;
  readonly rpc: string;
  readonly input: MessagePlan;
  readonly output: MessagePlan;
}

export interface TopicPlan {
  readonly topic: string;
  readonly subscribe: string;
  readonly publish: string | undefined;
  readonly event: MessagePlan;
}

export interface ServicePlan {
  readonly file: ProtoFile;
  readonly methods: readonly MethodPlan[];
  readonly topics: readonly TopicPlan[];
  readonly plans: Map<MessageShape, MessagePlan>;
}

/** What of a contract belongs to one service. Built-in methods have `backtalk.v1`. */
interface Members {
  readonly methods: [name: string, address: string, method: Method][];
  readonly topics: [name: string, topic: Topic][];
}

export function servicesOf(contract: Contract): Map<string, Members> {
  const services = new Map<string, Members>();
  const of = (name: string): Members => {
    const known = services.get(name) ?? { methods: [], topics: [] };
    services.set(name, known);
    return known;
  };
  for (const [address, method] of contract.methods) {
    const slash = address.indexOf("/");
    const name = address.slice(0, slash);
    if (name !== "backtalk") of(name).methods.push([address.slice(slash + 1), address, method]);
  }
  for (const [name, topic] of contract.topics) of(contract.owners.get(name)!).topics.push([name, topic]);
  return services;
}

/** @throws Fault `failed_precondition` when two names are one in Protocol Buffers */
export function buildService(name: string, members: Members, pinned: ProtoFile | undefined): ServicePlan {
  const builder = new ServiceBuilder(name, members, pinned ? messagesOf(pinned) : new Map());
  const methods = members.methods.map(([own, address, method]) => builder.method(own, address, method));
  const topics = members.topics.map(([own, topic]) => builder.topic(own, topic));
  return { file: builder.file(), methods, topics, plans: builder.plans };
}

class ServiceBuilder {
  readonly plans = new Map<MessageShape, MessagePlan>();
  readonly #name: string;
  readonly #pins: Pins;
  readonly #topNames = new Set<string>();
  /** Of methods: what a topic needs comes second. */
  readonly #methodNames: ReadonlySet<string>;
  readonly #rpcs: ProtoRpc[] = [];
  readonly #messages: MessagePlan[] = [];

  constructor(name: string, { methods, topics }: Members, pins: Pins) {
    this.#name = name;
    this.#pins = pins;
    this.#methodNames = new Set(methods.map(([each]) => folded(pascal(each))));
    const own = [...methods, ...topics].map(([each]) => pascal(each));
    for (const each of own) for (const end of ["Request", "Response", "Event"]) this.#topNames.add(folded(each + end));
  }

  method(own: string, address: string, method: Method): MethodPlan {
    const rpc = pascal(own);
    const [isClientStream, isServerStream] = [takesMany(method), givesMany(method)];
    const input = this.#message(`${rpc}Request`, shapeOf(jsonSchema(method.input, "input")));
    const output = this.#message(`${rpc}Response`, shapeOf(jsonSchema(method.output, "output")));
    output.isStreamed = isServerStream;
    this.#rpc({
      name: rpc,
      input: input.path,
      output: output.path,
      isClientStream,
      isServerStream,
      isSafe: method.options.safe === true,
      comment: method.options.description,
    });
    return { address, method, rpc, input, output };
  }

  topic(name: string, topic: Topic): TopicPlan {
    const subscribe = this.#topicRpc("Subscribe", name);
    const published = shapeOf(jsonSchema(topic.event, "input"));
    const shape = merge(published, shapeOf(jsonSchema(topic.event, "output")));
    const event = this.#message(`${pascal(name)}Event`, shape);
    event.isStreamed = true;
    event.comment = topic.options.description;
    const common = { isClientStream: false, isSafe: false };
    const request = "backtalk.v1.SubscribeRequest";
    const comment = `Reads the topic ${name}${topic.options.description ? `: ${topic.options.description}` : ""}`;
    this.#rpc({ ...common, name: subscribe, input: request, output: event.path, isServerStream: true, comment });
    if (topic.options.open === false) return { topic: name, subscribe, publish: undefined, event };
    const publish = this.#topicRpc("Publish", name);
    const output = "backtalk.v1.PublishResponse";
    this.#rpc({
      ...common,
      name: publish,
      input: event.path,
      output,
      isServerStream: false,
      comment: `Publishes to the topic ${name}`,
    });
    return { topic: name, subscribe, publish, event };
  }

  file(): ProtoFile {
    const messages = this.#messages.map(messageOf);
    const types = new Set(this.#rpcs.flatMap(({ input, output }) => [input, output]));
    const usesBacktalk = [...types].some((type) => type.startsWith("backtalk."));
    const usesValue = messages.some(hasValue);
    const imports = [...(usesBacktalk ? [BACKTALK_FILE] : []), ...(usesValue ? ["google/protobuf/struct.proto"] : [])];
    return { package: this.#name, imports, service: { name: pascal(this.#name), rpcs: this.#rpcs }, messages };
  }

  #message(name: string, shape: Shape): MessagePlan {
    const plan = new MessageBuilder(this.#pins, this.#topNames, this.plans).root(shape, this.#name, name);
    this.#messages.push(plan);
    return plan;
  }

  #topicRpc(verb: string, topic: string): string {
    const name = `${verb}${pascal(topic)}`;
    return this.#methodNames.has(folded(name)) ? `${verb}Topic${pascal(topic)}` : name;
  }

  #rpc(rpc: ProtoRpc): void {
    if (this.#rpcs.some(({ name }) => folded(name) === folded(rpc.name))) {
      throw new Fault("failed_precondition", `${this.#name} has two members that are ${rpc.name} in Protocol Buffers`, {
        hint: "give one of them a name that differs by more than case and _, or serve without gRPC: --no-grpc",
      });
    }
    this.#rpcs.push(rpc);
  }
}

const CURSOR: ProtoField = {
  name: CURSOR_FIELD,
  jsonName: "backtalkCursor",
  number: CURSOR_NUMBER,
  type: "string",
  label: "required",
  comment: "Where to go on after this message. Only for who asks for it: metadata `backtalk-cursors: true`.",
};

function messageOf(plan: MessagePlan): ProtoMessage {
  const fields = plan.fields.map(({ field }) => field);
  return {
    name: plan.name,
    fields: plan.isStreamed ? [...fields, CURSOR] : fields,
    messages: plan.messages.map(messageOf),
    reserved: plan.reserved,
    comment: plan.comment,
  };
}

function hasValue(message: ProtoMessage): boolean {
  return message.fields.some(({ type }) => type === VALUE) || message.messages.some(hasValue);
}

export function takesMany({ kind }: Method): boolean {
  return kind === "clientStream" || kind === "bidi";
}

export function givesMany({ kind }: Method): boolean {
  return kind === "serverStream" || kind === "bidi";
}
