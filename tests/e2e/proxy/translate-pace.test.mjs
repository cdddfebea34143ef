// A translated stream keeps pace with its provider: the next word is sent only when the client has the one before, so that a
// word that is held back ends the stream.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
});
after(() => gw.stop());

const WORDS = ["alpha ", "bravo ", "charlie ", "delta "];
const named = (event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
const data = (event) => `data: ${JSON.stringify(event)}\n\n`;
const chunk = (fields) => data({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "llama", ...fields });
const candidate = (text, more) => data({ candidates: [{ index: 0, content: { role: "model", parts: [{ text }] }, ...more }], modelVersion: "gemini", responseId: "r1", usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 4, totalTokenCount: 7 } });

/** What comes before the words, a word, and what comes behind them, as each provider says it. */
const PROVIDERS = {
  "groq/llama": {
    opening: [],
    word: (text) => chunk({ choices: [{ index: 0, delta: { role: "assistant", content: text }, finish_reason: null }] }),
    ending: [chunk({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }), chunk({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } }), "data: [DONE]\n\n"],
  },
  "anthropic/claude-sonnet-4-5": {
    opening: [
      { type: "message_start", message: { id: "msg_1", type: "message", role: "assistant", model: "claude", content: [], stop_reason: null, stop_sequence: null, usage: { input_tokens: 3, output_tokens: 1 } } },
      { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
    ].map(named),
    word: (text) => named({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } }),
    ending: [{ type: "content_block_stop", index: 0 }, { type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 4 } }, { type: "message_stop" }].map(named),
  },
  "google-ai-studio/gemini-2.5-flash": { opening: [], word: (text) => candidate(text), ending: [candidate("", { finishReason: "STOP" })] },
};

const messages = [{ role: "user", content: "Lunch?" }];
const CALLERS = {
  chat: ["ai/v1/chat/completions", { messages }],
  messages: ["ai/v1/messages", { max_tokens: 50, messages }],
  responses: ["ai/v1/responses", { input: "Lunch?", store: false }],
};
const NATIVE = { chat: "groq/llama", messages: "anthropic/claude-sonnet-4-5" };

for (const [caller, [path, body]] of Object.entries(CALLERS)) {
  for (const [model, { opening, word, ending }] of Object.entries(PROVIDERS)) {
    if (NATIVE[caller] === model) continue;
    test(`${caller} by ${model}: each word reaches the client before the next one is sent`, async () => {
      let seen = "";
      const before = (index) => {
        const sent = WORDS.slice(0, Math.max(0, index - opening.length));
        return until(() => sent.every((word) => seen.includes(word.trim())), `${sent.at(-1)} to reach the client`);
      };
      gw.upstream.next({ events: [...opening, ...WORDS.map(word), ...ending], before });
      const answer = await gw.call(path, { json: { ...body, model, stream: true }, headers: { authorization: "Bearer sk-client-0123456789" } });
      for await (const piece of answer.body) seen += new TextDecoder().decode(piece);
      assert.equal(answer.status, 200, seen);
      for (const word of WORDS) assert.ok(seen.includes(word.trim()), seen);
      const log = await gw.logOf(answer);
      assert.deepEqual([log.success, log.translated_from, log.tokens_in, log.tokens_out], [true, caller, 3, 4]);
    });
  }
}
