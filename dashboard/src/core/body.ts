// How much of a body is shown, and what of it is not text.

/** A body up to here is shown as a whole. JSON of this size is parsed in some 20 ms, so it needs no thread of its own. */
export const BODY_LIMIT = 2_000_000;
/** Of a longer one the beginning is shown. */
export const HEAD_LIMIT = 64_000;
/** A single text up to here is shown as a whole, and then in pieces. */
export const TEXT_LIMIT = 20_000;
export const TEXT_STEP = 100_000;
/** Members of an object or elements of an array that are drawn at a time. */
export const TREE_STEP = 200;
export const TREE_DEPTH = 100;
/** Images up to here are shown at once, larger ones on a click. */
export const IMAGE_LIMIT = 1_000_000;

const IMAGES = /^image\/(png|jpeg|gif|webp|avif|bmp)$/i;

/** Whether the browser may draw this. SVG is a program, and is not drawn. */
export function isDrawable(mediaType: string | undefined): boolean {
  return IMAGES.test(mediaType ?? "");
}

export interface Binary {
  mediaType: string;
  bytes: number;
  /** A data: URL, for an image that may be drawn. */
  url: string | null;
}

/** Base64, with or without `data:` in front, which is not for reading. */
export function binaryOf(text: string): Binary | null {
  if (/^data:[^,]{0,200};base64,/.test(text.slice(0, 300))) {
    const type = mediaTypeOf(text);
    return { mediaType: type, bytes: Math.floor(((text.length - text.indexOf(",") - 1) * 3) / 4), url: isDrawable(type) ? text : null };
  }
  if (text.length < 400 || !/^[A-Za-z0-9+/_-]{400}/.test(text) || !/^[A-Za-z0-9+/_-]+={0,2}$/.test(text.slice(-400))) return null;
  const found = magic(text);
  return { mediaType: found ?? "base64", bytes: Math.floor((text.length * 3) / 4), url: found && isDrawable(found) ? `data:${found};base64,${text}` : null };
}

function mediaTypeOf(url: string): string {
  return /^data:([\w.+-]+\/[\w.+-]+)/.exec(url.slice(0, 200))?.[1]?.toLowerCase() ?? "application/octet-stream";
}

function magic(base64: string): string | null {
  const known: [string, string][] = [["iVBORw0KGgo", "image/png"], ["/9j/", "image/jpeg"], ["R0lGOD", "image/gif"], ["UklGR", "image/webp"], ["JVBERi", "application/pdf"], ["SUQz", "audio/mpeg"]];
  return known.find(([head]) => base64.startsWith(head))?.[1] ?? null;
}
