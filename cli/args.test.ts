import { describe, expect, test } from "bun:test";
import { readArgs, type Spec } from "./args.ts";
import { spec as callSpec } from "./commands/call.ts";
import { UsageError } from "./exit.ts";

const spec: Spec = {
  name: "try",
  summary: "",
  positionals: [
    { name: "URL", what: "the server" },
    { name: "INPUT", what: "JSON", optional: true },
  ],
  options: {
    via: { value: "TRANSPORT", what: "", choices: ["http1", "sse"] },
    wait: { value: "SECONDS", what: "", number: { max: 60 } },
    count: { value: "N", what: "", number: { min: 1, whole: true } },
    limit: { value: "NAME=VALUE", what: "", multiple: true },
    quiet: { what: "", short: "q" },
  },
  examples: [],
};

describe("what is right", () => {
  test("options and positionals in any order", () => {
    const args = readArgs(spec, ["--via", "sse", "host", "--wait=1.5", "-", "-q"]);
    expect(args.positionals).toEqual(["host", "-"]);
    expect([args.text("via"), args.number("wait"), args.has("quiet"), args.has("count")]).toEqual([
      "sse",
      1.5,
      true,
      false,
    ]);
  });
  test("-- ends the options", () =>
    expect(readArgs(spec, ["host", "--", "--via"]).positionals).toEqual(["host", "--via"]));
  test("several values", () => {
    expect(readArgs(spec, ["host", "--limit", "a=1", "--limit", "b=2"]).texts("limit")).toEqual(["a=1", "b=2"]);
  });
});

describe("what is wrong is said, with what helps", () => {
  const cases: [argv: string, message: RegExp, hint: RegExp][] = [
    ["", /URL is missing: the server/, /usage: backtalk try URL \[INPUT\] \[options\]/],
    ["host x y", /too many arguments: "y"/, /usage/],
    ["host --vai sse", /no option --vai/, /did you mean --via\?/],
    ["host --quite", /no option --quite/, /did you mean --quiet\?/],
    ["host --zzzzzzzz", /no option --zzzzzzzz/, /see backtalk try --help/],
    ["host -x", /no option -x/, /./],
    ["host --via", /--via needs a value: --via TRANSPORT/, /^$/],
    ["host --via --quiet", /--via needs a value/, /write --via=--quiet/],
    ["host --via=", /--via needs a value/, /^$/],
    ["host --via ssee", /--via cannot be "ssee"/, /did you mean sse\?/],
    ["host --quiet=1", /--quiet takes no value/, /^$/],
    ["host --wait soon", /--wait must be a number of seconds, from 0 to 60; it is "soon"/, /^$/],
    ["host --wait 61", /from 0 to 60/, /^$/],
    ["host --wait -1", /from 0 to 60; it is "-1"/, /^$/],
    ["host --wait NaN", /must be a number/, /^$/],
    ["host --count 1.5", /--count must be a whole number, 1 or more/, /^$/],
    ["host --via sse --via sse", /--via is given twice/, /^$/],
  ];
  test.each(cases)("%s", (argv, message, hint) => {
    try {
      readArgs(spec, argv === "" ? [] : argv.split(" "));
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(UsageError);
      expect((thrown as UsageError).message).toMatch(message);
      expect((thrown as UsageError).hint ?? "").toMatch(hint);
      return;
    }
    throw new Error("nothing was wrong");
  });
});

test("every option of the issue is there", () => {
  expect(Object.keys(callSpec.options)).toEqual(expect.arrayContaining(["via", "async", "key", "wait", "trace"]));
});
