// What the providers' answers have in common.

/** What every model says, and the pieces it says it in. */
export const PIECES = ["A bowl ", "of ramen, ", "味玉 🥚."];
export const TEXT = PIECES.join("");
/** What every model asks for when it has a tool, and what it then says of the result. */
export const CITY = "Kyōto";
export const WEATHER = "It is raining in Kyōto: ramen.";

let made = 0;
/** An id that no other answer has. */
export const id = (prefix) => `${prefix}${String((made += 1)).padStart(8, "0")}`;

export const now = () => Math.floor(Date.now() / 1000);

export const bearer = ({ headers }) => /^Bearer (.+)$/.exec(headers.authorization ?? "")?.[1];

/** Events as OpenAI streams them: data alone. */
export const data = (value) => `data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`;
/** Events with a name of their own, which is also their `type`. */
export const named = (value) => `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`;

/** Files that were uploaded in this run. */
export const files = new Map();

/** The middle of a vector of `size` numbers. */
export const vector = (size) => Array.from({ length: size }, (_, n) => (n % 7) / 10 - 0.25);

/** A PNG of one pixel. */
export const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
/** Bytes that stand for sound: an MP3 frame's head and silence. */
export const SOUND = Buffer.concat([Buffer.from([0xff, 0xfb, 0x90, 0x00]), Buffer.alloc(413)]);

/** What a coding agent runs when it is asked to, whatever its tool is called: the tool's name and input, or nothing without such a tool. */
const COMMAND = "echo 'ramen from the shell'";
const SHELLS = {
  exec_command: { cmd: COMMAND },
  shell_command: { command: COMMAND },
  shell: { command: ["bash", "-lc", COMMAND] },
  Bash: { command: COMMAND, description: "says ramen" },
};
export function shellOf(names) {
  const name = Object.keys(SHELLS).find((known) => names.includes(known));
  return name && { name, input: SHELLS[name] };
}
