// Text that others wrote: never more than what a page can bear, and never anything but text.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { IMAGE_LIMIT, isDrawable, TEXT_LIMIT, TEXT_STEP, type Binary } from "../core/body.ts";
import { bytes, integer, visible } from "../core/format.ts";
import { blocks, MARKDOWN_LIMIT, safeUrl, type Block, type Inline } from "../core/markdown.ts";
import { textMode } from "../state/preferences.ts";

/** Long text in pieces. */
export function LongText({ text, note }: { text: string; note?: string }) {
  const shown = useSignal(TEXT_LIMIT);
  return (
    <>
      <span class="text">{visible(text.slice(0, shown.value))}</span>
      {text.length > shown.value && (
        <button type="button" class="link" onClick={() => (shown.value += TEXT_STEP)}>
          Show more ({integer(text.length - shown.value)} of {integer(text.length)} characters are left)
        </button>
      )}
      {note && <span class="note">{note}</span>}
    </>
  );
}

/** What a person or a model said, in the mode that was chosen. */
export function Prose({ text, truncated, chars }: { text: string; truncated?: boolean; chars?: number }) {
  const note = truncated ? `The first ${integer(text.length)} of ${integer(chars ?? null)} characters. The request and the response have all of it.` : undefined;
  if (textMode.value === "markdown" && text.length <= MARKDOWN_LIMIT) {
    return (
      <div class="prose">
        {blocks(text).map((block, at) => (
          <BlockView key={at} block={block} />
        ))}
        {note && <p class="note">{note}</p>}
      </div>
    );
  }
  return (
    <div class="plain">
      <LongText text={text} {...(note && { note })} />
    </div>
  );
}

function BlockView({ block }: { block: Block }): ComponentChildren {
  switch (block.kind) {
    case "heading":
      return <p class={`heading h${block.level}`}><Inlines parts={block.text} /></p>;
    case "paragraph":
      return <p><Inlines parts={block.text} /></p>;
    case "quote":
      return <blockquote><Inlines parts={block.text} /></blockquote>;
    case "code":
      return <pre tabIndex={0}>{visible(block.text)}</pre>;
    case "rule":
      return <hr />;
    case "list": {
      const items = block.items.map((item, at) => <li key={at}><Inlines parts={item} /></li>);
      return block.ordered ? <ol>{items}</ol> : <ul>{items}</ul>;
    }
    case "table":
      return (
        <div class="scroll-x">
          <table>
            <tbody>
              {block.rows.map((row, at) => (
                <tr key={at}>{row.map((cell, column) => (at === 0 ? <th key={column}><Inlines parts={cell} /></th> : <td key={column}><Inlines parts={cell} /></td>))}</tr>
              ))}
            </tbody>
          </table>
        </div>
      );
  }
}

function Inlines({ parts }: { parts: Inline[] }) {
  return (
    <>
      {parts.map((part, at) => {
        if (typeof part === "string") return visible(part);
        if (part.kind === "code") return <code key={at}>{visible(part.text)}</code>;
        if (part.kind === "strong") return <strong key={at}>{visible(part.text)}</strong>;
        if (part.kind === "em") return <em key={at}>{visible(part.text)}</em>;
        const host = safeUrl(part.url);
        if (!host) return part.text;
        // The host is shown, because the text of a link may say anything.
        return (
          <span key={at}>
            <a href={part.url} target="_blank" rel="noopener noreferrer nofollow">{visible(part.text)}</a> <span class="faint">({host})</span>
          </span>
        );
      })}
    </>
  );
}

/** Something that is not text: what it is, how large, and what can be done with it. */
export function BinaryChip({ binary, name }: { binary: Binary; name?: string }) {
  const { mediaType, bytes: size, url } = binary;
  const isShown = useSignal(false);
  return (
    <span class="binary">
      <span class="tag">
        {name ? `${visible(name)} · ` : ""}
        {mediaType} · {bytes(size)}
      </span>
      {url && <button type="button" class="link" onClick={() => (isShown.value = !isShown.value)}>{isShown.value ? "hide" : "show"}</button>}
      {url && <a href={url} download={`file.${mediaType.split("/")[1] ?? "bin"}`}>save</a>}
      {isShown.value && url && <img class="drawn" src={url} alt={`${mediaType}, ${bytes(size)}`} loading="lazy" />}
    </span>
  );
}

/** An image of a conversation: drawn where it came along and is small, else on a click. Nothing is loaded from other hosts. */
export function Picture({ mediaType, size, data, url }: { mediaType: string; size: number | undefined; data: string | undefined; url: string | undefined }) {
  const source = data ? (data.startsWith("data:") ? data : `data:${mediaType};base64,${data}`) : undefined;
  const length = size ?? (data ? Math.floor((data.length * 3) / 4) : undefined);
  const isShown = useSignal((length ?? 0) <= IMAGE_LIMIT);
  if (source && isDrawable(mediaType)) {
    return (
      <figure class="picture">
        {isShown.value ? <img src={source} alt={`${mediaType}, ${bytes(length)}`} loading="lazy" decoding="async" /> : <button type="button" class="link" onClick={() => (isShown.value = true)}>Show the image</button>}
        <figcaption class="note">{mediaType} · {bytes(length)}</figcaption>
      </figure>
    );
  }
  const host = url ? safeUrl(url) : null;
  return (
    <p class="note">
      <span class="tag">{mediaType || "image"}{length === undefined ? "" : ` · ${bytes(length)}`}</span>{" "}
      {host ? <>at another host, not loaded: <a href={url} target="_blank" rel="noopener noreferrer nofollow">{host}</a></> : source ? <a href={source} download="image">save</a> : url ? visible(url.slice(0, 300)) : "its bytes were not kept"}
    </p>
  );
}
