// A server that is killed while it answers: which of the answers have their row after the next start.
import { ACCOUNT, TOKEN, raw, until } from "./harness.mjs";

const CHAT = JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] });

/** Asks over 16 connections until so many answers were read `before`, carries out `kill`, and goes on for a moment. Returns each answer that was read to its end, as `{id, at}`. */
export async function killedUnderLoad(served, kill, { connections = 16, before = 200, after = 300 } = {}) {
  const answered = [];
  let isOver = false;
  const ask = async () => {
    while (!isOver) {
      try {
        const answer = await fetch(`${served.url}/v1/${ACCOUNT}/gw/openai/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: CHAT });
        await answer.arrayBuffer();
        if (answer.status === 200) answered.push({ id: answer.headers.get("cf-aig-log-id"), at: Date.now() });
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
  const load = Array.from({ length: connections }, ask);
  await until(() => answered.length >= before, `${before} answers`, 120_000);
  // What can be read now was written, whatever happens next.
  const written = await ids(served);
  const killedAt = Date.now();
  kill();
  await new Promise((resolve) => setTimeout(resolve, after));
  isOver = true;
  await Promise.all(load);
  return { answered, written, killedAt };
}

/** The ids of all logs. */
export async function ids(served) {
  // By a connection of its own: those of fetch may lead to the server that was killed.
  const { body } = await raw(`${served.url}/accounts/${ACCOUNT}/ai-gateway/gateways/gw/logs/export?format=jsonl`, { headers: { authorization: `Bearer ${TOKEN}` } });
  return new Set(String(body).split("\n").filter(Boolean).map((line) => JSON.parse(line).id));
}
