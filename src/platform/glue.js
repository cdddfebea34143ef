// What would take Rust many crossings into JavaScript, each in one. Every request passes here.
import { waitUntil } from "cloudflare:workers";

/** Keeps the request that is being answered going until the function that is returned is called. */
export function hold() {
  const { promise, resolve } = Promise.withResolvers();
  waitUntil(promise);
  return resolve;
}

/** A request but for its body, as JSON. */
export function requestHead(request) {
  return JSON.stringify([request.method, request.url, Object.fromEntries(request.headers)]);
}

/** An answer but for its body, as JSON. */
export function answerHead(answer) {
  return JSON.stringify([answer.status, Object.fromEntries(answer.headers)]);
}

/** Sends a request with the headers of another one, which are changed first. */
export function send(url, method, headers, edits, body, signal) {
  return fetch(url, { method, headers: edited(new Headers(headers), edits), body, signal, redirect: "manual" });
}

/** The given answer with another body, and with headers that are changed. */
export function answered(answer, body, edits) {
  const made = new Response(body, answer);
  edited(made.headers, edits);
  return made;
}

/** Changes headers as a JSON list of names and values says; a value of null removes. */
export function edited(headers, edits) {
  for (const [name, value] of JSON.parse(edits)) {
    if (value === null) headers.delete(name);
    else {
      try {
        headers.set(name, value);
      } catch {
        // What is no header is not sent as one.
      }
    }
  }
  return headers;
}
