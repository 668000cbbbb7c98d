/** A value that its message cannot hold; becomes a Fault at the edge of the codec. */
export class Unfit extends Error {
  readonly path: string;
  readonly what: string;

  constructor(what: string, path = "") {
    super(path === "" ? what : `${path} ${what}`);
    this.what = what;
    this.path = path;
  }

  /** The same, said from one level higher. */
  in(key: string | number): Unfit {
    const separator = this.path === "" || this.path.startsWith("[") ? "" : ".";
    return new Unfit(this.what, `${typeof key === "number" ? `[${key}]` : key}${separator}${this.path}`);
  }
}
