/** What to say of an answer that sends elsewhere. A browser shows no more of one than that there was one (Fetch §2.2.6). */
export function redirectOf({ type, status, headers }: Response): { what: string; hint: string } | undefined {
  if (type !== "opaqueredirect" && !(status >= 300 && status < 400)) return undefined;
  const location = headers.get("location");
  return {
    what: `the server redirects ${location === null ? "elsewhere" : `to ${location.slice(0, 256)}`}`,
    hint: "redirects are not followed: credentials would go there. Give that address, if it is the right one",
  };
}
