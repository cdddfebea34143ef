// The session of a coding agent, as a client of Anthropic's API sends it: each turn has all messages of the turns before, two more,
// and cache marks that move with them. Tools and the system prompt stand behind the messages.
export const TURNS = 40;

/** Bytes that the last of 40 turns has. */
const LAST = 400_000;

const TOOLS = Array.from({ length: 20 }, (_, n) => ({
  name: `tool_${n}`,
  description: "Reads, writes or searches files of the project. ".repeat(10),
  input_schema: { type: "object", properties: { path: { type: "string" }, offset: { type: "integer" } }, required: ["path"] },
}));

const SYSTEM = [{ type: "text", text: "You are an agent that writes code. Work in small steps, and test each. ".repeat(150), cache_control: { type: "ephemeral" } }];

/** Text that looks like the output of tools, and is another one for each seed. */
function output(seed, length) {
  let text = "";
  for (let line = 1; text.length < length; line += 1) text += `${line}\tlet value_${(seed * 7_919 + line * 104_729) % 99_991} = read("src/file_${seed}.rs")?;\n`;
  return text.slice(0, length);
}

/** The body of the n-th turn, counted from 0. `session` makes another session of it; `first` are members that come first. */
export function turn(n, session = 0, { first = { model: "claude-sonnet-4-5" }, turns = TURNS } = {}) {
  const size = (LAST - JSON.stringify([TOOLS, SYSTEM]).length) / turns / 1.12;
  const messages = [{ role: "user", content: [{ type: "text", text: `Session ${String(session).padStart(8, "0")}\n${output(session * 1_000, size)}` }] }];
  for (let past = 1; past <= n; past += 1) {
    const id = `toolu_${past}`;
    messages.push({ role: "assistant", content: [{ type: "text", text: "I look at the next file." }, { type: "tool_use", id, name: "tool_1", input: { path: `src/file_${past}.rs` } }] });
    messages.push({ role: "user", content: [{ type: "tool_result", tool_use_id: id, content: output(session * 1_000 + past, size) }] });
  }
  const users = messages.filter(({ role }) => role === "user");
  for (const { content } of users.slice(-2)) content.at(-1).cache_control = { type: "ephemeral" };
  return JSON.stringify({ ...first, max_tokens: 8_192, messages, system: SYSTEM, tools: TOOLS });
}

/** A turn for a load that counts its sessions: what stands before and behind the session's number. */
export function counted(n, first) {
  const [before, behind] = turn(n, 0, { first }).split("Session 00000000");
  return [`${before}Session `, behind];
}
