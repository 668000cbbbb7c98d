/** Counters for Prometheus. The fast path adds to numbers of an object that it already holds, and looks nothing up. */
import type { Metrics } from "../contract/index.ts";

/** Upper bounds in seconds of the buckets of call durations. */
const BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];

/** The calls of one method: how many by transport and code, and how long they took. */
export class MethodMetrics {
  readonly method: string;
  /** transport → code → count. */
  readonly #counts = new Map<string, Map<string, { n: number }>>();
  readonly #buckets = new Array<number>(BUCKETS.length + 1).fill(0);
  #seconds = 0;
  #count = 0;
  running = 0;

  constructor(method: string) {
    this.method = method;
  }

  ended(via: string, code: string, ms: number): void {
    let codes = this.#counts.get(via);
    if (!codes) {
      codes = new Map();
      this.#counts.set(via, codes);
    }
    const count = codes.get(code);
    if (count) count.n++;
    else codes.set(code, { n: 1 });
    const seconds = ms / 1000;
    let i = 0;
    while (i < BUCKETS.length && seconds > BUCKETS[i]!) i++;
    this.#buckets[i]!++;
    this.#seconds += seconds;
    this.#count++;
  }

  callLines(): string[] {
    const lines: string[] = [];
    for (const [via, codes] of this.#counts) {
      for (const [code, { n }] of codes) {
        lines.push(`backtalk_calls_total{method="${this.method}",transport="${via}",code="${code}"} ${n}`);
      }
    }
    return lines;
  }

  durationLines(): string[] {
    if (this.#count === 0) return [];
    const labels = `method="${this.method}"`;
    let sum = 0;
    const lines = BUCKETS.map((bound, i) => {
      sum += this.#buckets[i]!;
      return `backtalk_call_duration_seconds_bucket{${labels},le="${bound}"} ${sum}`;
    });
    lines.push(
      `backtalk_call_duration_seconds_bucket{${labels},le="+Inf"} ${this.#count}`,
      `backtalk_call_duration_seconds_sum{${labels}} ${this.#seconds}`,
      `backtalk_call_duration_seconds_count{${labels}} ${this.#count}`,
    );
    return lines;
  }
}

/** What the names mean. Those that end in `_total` are counters, the others gauges. */
const HELP: Readonly<Record<string, string>> = {
  backtalk_connections: "Open connections and streamed responses.",
  backtalk_held_polls: "Requests that are held by Prefer: wait.",
  backtalk_subscriptions: "Logs that are being followed.",
  backtalk_events_sent_total: "Events sent to readers.",
  backtalk_events_appended_total: "Events appended to logs.",
  backtalk_resumes_total: "Readings by verdict.",
  backtalk_faults_total: "Requests refused before a method ran, by code.",
  backtalk_trimmed_total: "Events and calls removed by retention.",
  backtalk_webhooks_attempts_total: "Webhook messages that were tried, by endpoint and result.",
  backtalk_webhooks_waiting: "Webhook messages that wait for another attempt.",
  backtalk_webhooks_dead_total: "Webhook messages that were given up.",
  backtalk_webhooks_missed_total: "Times that a webhook endpoint found its events no longer kept.",
  backtalk_webhooks_disabled: "Webhook endpoints that are disabled.",
  backtalk_subscriber_failures_total: "Events that a subscriber could not handle.",
  backtalk_datagrams_total: "Datagrams of UDP by what became of them.",
};

export class CoreMetrics implements Metrics {
  readonly #values = new Map<string, Map<string, number>>();
  readonly #methods: MethodMetrics[] = [];

  method(name: string): MethodMetrics {
    const metrics = new MethodMetrics(name);
    this.#methods.push(metrics);
    return metrics;
  }

  add(name: string, labels: string, by: number): void {
    let values = this.#values.get(name);
    if (!values) {
      values = new Map();
      this.#values.set(name, values);
    }
    values.set(labels, (values.get(labels) ?? 0) + by);
  }

  text(): string {
    const lines = [
      "# HELP backtalk_calls_total Calls that ended, by method, transport and code.",
      "# TYPE backtalk_calls_total counter",
      ...this.#methods.flatMap((method) => method.callLines()),
      "# HELP backtalk_call_duration_seconds How long calls took from open to end.",
      "# TYPE backtalk_call_duration_seconds histogram",
      ...this.#methods.flatMap((method) => method.durationLines()),
      "# HELP backtalk_calls_running Calls that run now.",
      "# TYPE backtalk_calls_running gauge",
      ...this.#methods.map((method) => `backtalk_calls_running{method="${method.method}"} ${method.running}`),
    ];
    for (const [name, values] of this.#values) {
      lines.push(
        `# HELP ${name} ${HELP[name] ?? name}`,
        `# TYPE ${name} ${name.endsWith("_total") ? "counter" : "gauge"}`,
      );
      for (const [labels, value] of values) lines.push(labels ? `${name}{${labels}} ${value}` : `${name} ${value}`);
    }
    return `${lines.join("\n")}\n`;
  }
}
