// A logged request as a program that sends it again. Credentials are variables: the log does not have them.

export type Language = "curl" | "python" | "javascript";

export interface Replay {
  origin: string;
  account: string;
  gateway: string;
  provider: string;
  path: string;
  contentType: string;
  metadata: Record<string, unknown> | null;
  body: string;
}

export function urlOf({ origin, account, gateway, provider, path }: Replay): string {
  return `${origin}/v1/${account}/${gateway}/${provider}/${path.replace(/^\/+/, "")}`;
}

function headersOf({ contentType, metadata }: Replay): [string, string][] {
  const headers: [string, string][] = [["content-type", contentType || "application/json"]];
  if (metadata && Object.keys(metadata).length > 0) headers.push(["cf-aig-metadata", ascii(JSON.stringify(metadata))]);
  return headers;
}

/** A header holds ASCII only; JSON can say everything in it. */
function ascii(json: string): string {
  return json.replace(/[^\x20-\x7e]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

export function snippet(language: Language, replay: Replay): string {
  const headers = headersOf(replay);
  const url = urlOf(replay);
  if (language === "curl") {
    const lines = [
      `curl ${quoted(url)}`,
      `--header "cf-aig-authorization: Bearer $TOLLGATE_TOKEN"`,
      `--header "Authorization: Bearer $PROVIDER_KEY"`,
      ...headers.map(([name, value]) => `--header ${quoted(`${name}: ${value}`)}`),
      `--data-binary ${quoted(replay.body)}`,
    ];
    return lines.join(" \\\n  ");
  }
  if (language === "python") {
    return [
      "import os, requests",
      "",
      `answer = requests.post(`,
      `    ${JSON.stringify(url)},`,
      "    headers={",
      `        "cf-aig-authorization": f"Bearer {os.environ['TOLLGATE_TOKEN']}",`,
      `        "authorization": f"Bearer {os.environ['PROVIDER_KEY']}",`,
      ...headers.map(([name, value]) => `        ${JSON.stringify(name)}: ${JSON.stringify(value)},`),
      "    },",
      `    data=${JSON.stringify(replay.body)}.encode(),`,
      ")",
      "print(answer.status_code, answer.text)",
    ].join("\n");
  }
  return [
    `const answer = await fetch(${JSON.stringify(url)}, {`,
    `  method: "POST",`,
    "  headers: {",
    "    \"cf-aig-authorization\": `Bearer ${process.env.TOLLGATE_TOKEN}`,",
    "    authorization: `Bearer ${process.env.PROVIDER_KEY}`,",
    ...headers.map(([name, value]) => `    ${JSON.stringify(name)}: ${JSON.stringify(value)},`),
    "  },",
    `  body: ${JSON.stringify(replay.body)},`,
    "});",
    "console.log(answer.status, await answer.text());",
  ].join("\n");
}

/** A word of a shell, whatever is in it. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
