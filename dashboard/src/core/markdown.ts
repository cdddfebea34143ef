// Markdown as a tree of plain values. Nothing of it is ever HTML: the page makes text nodes of it. Linear in its input.

export type Inline = string | { kind: "code"; text: string } | { kind: "strong"; text: string } | { kind: "em"; text: string } | { kind: "link"; text: string; url: string };

export type Block =
  | { kind: "heading"; level: number; text: Inline[] }
  | { kind: "paragraph"; text: Inline[] }
  | { kind: "quote"; text: Inline[] }
  | { kind: "code"; language: string; text: string }
  | { kind: "list"; ordered: boolean; items: Inline[][] }
  | { kind: "table"; rows: Inline[][][] }
  | { kind: "rule" };

/** Longer text is shown as text. */
export const MARKDOWN_LIMIT = 200_000;

const ITEM = /^\s{0,8}(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
const FENCE = /^\s{0,3}(```+|~~~+)\s*([\w+#.-]{0,30})/;

export function blocks(source: string): Block[] {
  const lines = source.split(/\r\n|\r|\n/);
  const found: Block[] = [];
  let at = 0;
  const line = () => lines[at] ?? "";
  while (at < lines.length) {
    const [, fence, language = ""] = FENCE.exec(line()) ?? [];
    if (fence) {
      const from = (at += 1);
      while (at < lines.length && !line().trimStart().startsWith(fence)) at += 1;
      found.push({ kind: "code", language, text: lines.slice(from, at).join("\n") });
      at += 1;
    } else if (line().trim() === "") {
      at += 1;
    } else if (/^\s{0,3}(-\s*){3,}$|^\s{0,3}(\*\s*){3,}$|^\s{0,3}(_\s*){3,}$/.test(line().slice(0, 200)) && line().length <= 200) {
      found.push({ kind: "rule" });
      at += 1;
    } else if (/^#{1,6}\s/.test(line())) {
      const level = line().search(/[^#]/);
      found.push({ kind: "heading", level, text: inline(line().slice(level).trim()) });
      at += 1;
    } else if (line().startsWith(">")) {
      const from = at;
      while (line().startsWith(">")) at += 1;
      const text = lines.slice(from, at).map((quoted) => quoted.replace(/^>\s?/, ""));
      found.push({ kind: "quote", text: inline(text.join("\n")) });
    } else if (ITEM.test(line())) {
      const ordered = ITEM.exec(line())?.[1] !== undefined;
      const items: string[] = [];
      while (at < lines.length && line().trim() !== "" && !FENCE.test(line())) {
        const item = ITEM.exec(line())?.[2];
        if (item !== undefined) items.push(item);
        else items[items.length - 1] += `\n${line().trim()}`;
        at += 1;
      }
      found.push({ kind: "list", ordered, items: items.map(inline) });
    } else if (line().trimStart().startsWith("|") && /^[\s|:-]+$/.test(lines[at + 1] ?? "") && (lines[at + 1] ?? "").includes("-")) {
      const rows: Inline[][][] = [];
      for (let row = at; (lines[row] ?? "").trimStart().startsWith("|"); row += 1) {
        if (row !== at + 1) rows.push(cells(lines[row] ?? ""));
        at = row;
      }
      found.push({ kind: "table", rows });
      at += 1;
    } else {
      const from = at;
      at += 1;
      while (at < lines.length && line().trim() !== "" && !FENCE.test(line()) && !ITEM.test(line()) && !/^(#{1,6}\s|>)/.test(line())) at += 1;
      found.push({ kind: "paragraph", text: inline(lines.slice(from, at).join("\n")) });
    }
  }
  return found;
}

function cells(line: string): Inline[][] {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => inline(cell.trim()));
}

/** Bounds on what is between marks keep this linear. Images are left as they are written: nothing is loaded. */
const MARK = /`([^`\n]{1,2000})`|\*\*([^*\n]{1,2000})\*\*|\*([^*\s][^*\n]{0,2000})\*|(?<!!)\[([^\]\n]{1,500})\]\(([^)\s]{1,2000})\)/g;

export function inline(text: string): Inline[] {
  const found: Inline[] = [];
  let from = 0;
  for (const match of text.matchAll(MARK)) {
    const [whole, code, strong, em, label, url] = match;
    if (match.index > from) found.push(text.slice(from, match.index));
    from = match.index + whole.length;
    if (code !== undefined) found.push({ kind: "code", text: code });
    else if (strong !== undefined) found.push({ kind: "strong", text: strong });
    else if (em !== undefined) found.push({ kind: "em", text: em });
    else if (label !== undefined && url !== undefined) found.push(safeUrl(url) === null ? whole : { kind: "link", text: label, url });
  }
  if (from < text.length) found.push(text.slice(from));
  return found;
}

/** The host a link leads to; null for whatever is not a link to a page. */
export function safeUrl(url: string): string | null {
  if (!/^https?:\/\//i.test(url)) return null;
  try {
    return new URL(url).host;
  } catch {
    return null;
  }
}
