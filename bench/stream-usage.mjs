// How much CPU time it takes to take a stream's usage out again: streams of 2,000 events through the built Worker, with
// `stream_usage` as sent and asked. Prints milliseconds of workerd's CPU for a stream, medians of rounds in turn.
//
//   node_modules/.bin/node bench/stream-usage.mjs [rounds]
import { ACCOUNT, Gateway } from "../tests/e2e/harness.mjs";
import { cpuOfWorkerds } from "./load.mjs";
import { median } from "./report.mjs";

const EVENTS = 2_000;
const STREAMS = Number(process.argv[3] ?? 3);
const rounds = Number(process.argv[2] ?? 7);

const chunk = (fields) => `data: ${JSON.stringify({ id: "chatcmpl-123456789", object: "chat.completion.chunk", created: 1, model: "gpt-4o-2024-08-06", service_tier: "default", system_fingerprint: "fp_1", ...fields, obfuscation: "abcdefgh" })}\n\n`;
const word = (usage) => chunk({ choices: [{ index: 0, delta: { content: " word" }, logprobs: null, finish_reason: null }], ...usage });
const ending = "data: [DONE]\n\n";
const plain = [...Array(EVENTS).fill(word({})), ending];
const asked = [...Array(EVENTS).fill(word({ usage: null })), chunk({ choices: [], usage: { prompt_tokens: 1, completion_tokens: EVENTS } }), ending];

const gw = await Gateway.start();
gw.upstream.answer = ({ body }) => ({ events: body.includes("include_usage") ? asked : plain });
for (const id of ["as_sent", "ask"]) await gw.create(id, { stream_usage: id });
async function stream(gateway) {
  const answer = await gw.call("openai/chat/completions", { gateway, json: { model: "gpt-4o", stream: true, messages: [] } });
  return (await answer.text()).length;
}
const taken = { as_sent: [], ask: [] };
for (let round = -1; round < rounds; round += 1) {
  for (const gateway of Object.keys(taken)) {
    const before = cpuOfWorkerds();
    for (let n = 0; n < STREAMS; n += 1) await stream(gateway);
    if (round >= 0) taken[gateway].push((cpuOfWorkerds() - before) / STREAMS);
  }
}
for (const [gateway, all] of Object.entries(taken)) console.log(`${gateway}: ${median(all)} ms of CPU for ${EVENTS} events (${all.join(", ")})`);
await gw.stop();
