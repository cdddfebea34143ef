// What translation adds: the same question asked of the same stand-in, through the built Worker, as it is and translated. Prints the
// median time of an answer that is no stream, and milliseconds of workerd's CPU for a stream of 2,000 events, of rounds in turn.
//
//   node_modules/.bin/node bench/translation.mjs [rounds]
import { Gateway } from "../tests/e2e/harness.mjs";
import { cpuOfWorkerds } from "./load.mjs";
import { median } from "./report.mjs";

const EVENTS = 2_000;
const STREAMS = 3;
const ANSWERS = 200;
const rounds = Number(process.argv[2] ?? 5);

const chunk = (fields) => `data: ${JSON.stringify({ id: "chatcmpl-123456789", object: "chat.completion.chunk", created: 1, model: "llama-3.3-70b", ...fields })}\n\n`;
const word = chunk({ choices: [{ index: 0, delta: { content: " word" }, finish_reason: null }] });
const end = [chunk({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }), chunk({ choices: [], usage: { prompt_tokens: 1, completion_tokens: EVENTS, total_tokens: EVENTS + 1 } }), "data: [DONE]\n\n"];
const whole = JSON.stringify({ id: "chatcmpl-1", object: "chat.completion", created: 1, model: "llama-3.3-70b", choices: [{ index: 0, message: { role: "assistant", content: "A bowl of ramen. ".repeat(20) }, finish_reason: "stop" }], usage: { prompt_tokens: 17, completion_tokens: 60, total_tokens: 77 } });

const gw = await Gateway.start();
gw.upstream.answer = ({ body }) => (body.includes('"stream":true') ? { body: [...Array(EVENTS).fill(word), ...end].join(""), chunked: true, headers: { "content-type": "text/event-stream" } } : { body: whole, headers: { "content-type": "application/json" } });
await gw.create("gw");
const messages = [{ role: "user", content: "What should I eat for lunch?" }];
const LANES = {
  "as it is": ["ai/v1/chat/completions", { model: "groq/llama", messages }],
  translated: ["ai/v1/messages", { model: "groq/llama", max_tokens: 500, messages }],
};
async function ask(lane, stream) {
  const [path, json] = LANES[lane];
  const answer = await gw.call(path, { json: { ...json, stream }, headers: { authorization: "Bearer sk-bench" } });
  const text = await answer.text();
  if (answer.status !== 200 || !text.includes(stream ? " word" : "ramen")) throw new Error(`${lane}: ${answer.status} ${text.slice(0, 200)}`);
}
const times = Object.fromEntries(Object.keys(LANES).map((lane) => [lane, { whole: [], cpu: [] }]));
for (let round = -1; round < rounds; round += 1) {
  for (const lane of Object.keys(LANES)) {
    const taken = [];
    for (let n = 0; n < ANSWERS; n += 1) {
      const at = performance.now();
      await ask(lane, false);
      taken.push(performance.now() - at);
    }
    const before = cpuOfWorkerds();
    for (let n = 0; n < STREAMS; n += 1) await ask(lane, true);
    if (round < 0) continue;
    times[lane].whole.push(median(taken));
    times[lane].cpu.push((cpuOfWorkerds() - before) / STREAMS);
  }
}
for (const [lane, { whole, cpu }] of Object.entries(times)) console.log(`${lane}: ${median(whole).toFixed(2)} ms for an answer, ${median(cpu).toFixed(0)} ms of CPU for ${EVENTS} events`);
await gw.stop();
