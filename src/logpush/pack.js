// A batch of logs as gzipped lines. The runtime packs and seals; nothing of that is in wasm.

const NAMES = ["Metadata", "RequestBody", "ResponseBody"];

/** The runtime's gzip, into which lines go one by one. */
export class Pack {
  #lines = new CompressionStream("gzip");
  #writer = this.#lines.writable.getWriter();
  #packed = new Response(this.#lines.readable).arrayBuffer();
  #sealing;

  /** `publicKey` is an RSA key in PEM (SPKI); without one, what is private stays readable. */
  constructor(publicKey) {
    this.#sealing = publicKey === undefined ? undefined : sealingFor(publicKey);
    // Each is told to the caller of `add` and `end`; here a failure would pass for one that is not handled.
    this.#sealing?.catch(() => {});
    this.#packed.catch(() => {});
  }

  /** A log: its fields as JSON, then its metadata (JSON), its request and its answer; undefined for what it has not. */
  async add(fields, ...parts) {
    const line = JSON.parse(fields);
    const seal = await this.#sealing;
    const sealed = seal === undefined ? parts.map((part, n) => (part === undefined ? null : n === 0 ? JSON.parse(part) : part)) : await seal(parts);
    NAMES.forEach((name, n) => (line[name] = sealed[n]));
    await this.#writer.write(new TextEncoder().encode(`${JSON.stringify(line)}\n`));
  }

  async end() {
    await this.#writer.close();
    return new Uint8Array(await this.#packed);
  }
}

async function sealingFor(pem) {
  const text = /^\s*-----BEGIN PUBLIC KEY-----([^-]+)-----END PUBLIC KEY-----\s*$/.exec(pem)?.[1];
  let publicKey;
  try {
    const der = Uint8Array.from(atob(text.replace(/\s/g, "")), (char) => char.charCodeAt(0));
    publicKey = await crypto.subtle.importKey("spki", der, { name: "RSA-OAEP", hash: "SHA-256" }, false, ["encrypt"]);
  } catch {
    throw new Error("logpush_public_key is no public RSA key in PEM (BEGIN PUBLIC KEY), as `openssl rsa -pubout` writes it");
  }
  // A key for each log, and an iv for each of its parts.
  return async (parts) => {
    const raw = crypto.getRandomValues(new Uint8Array(32));
    const aes = await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt"]);
    const key = base64(await crypto.subtle.encrypt({ name: "RSA-OAEP" }, publicKey, raw));
    const sealed = async (part) => {
      if (part === undefined) return {};
      const iv = crypto.getRandomValues(new Uint8Array(12));
      const data = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, aes, new TextEncoder().encode(part));
      return { key, iv: base64(iv), data: base64(data) };
    };
    return Promise.all(parts.map(sealed));
  };
}

function base64(bytes) {
  const all = new Uint8Array(bytes);
  let text = "";
  for (let at = 0; at < all.length; at += 8_192) text += String.fromCharCode(...all.subarray(at, at + 8_192));
  return btoa(text);
}
