// Numbers, money, sizes and times as the dashboard shows them.
import { now as serverNow } from "./clock.ts";

/** Narrow, and no place for the end of a line. */
const THIN = "\u202f";
/** What stands where a value is not known. */
export const UNKNOWN = "–";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** An integer in groups of three. */
export function integer(value: number | null | undefined): string {
  if (value === null || value === undefined) return UNKNOWN;
  const text = String(Math.round(Math.abs(value))).replace(/\B(?=(\d{3})+$)/g, THIN);
  return value < 0 ? `−${text}` : text;
}

/** An integer in three or four characters: 1.2k, 34M. */
export function compact(value: number | null | undefined): string {
  if (value === null || value === undefined) return UNKNOWN;
  const size = Math.abs(value);
  for (const [unit, name] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]] as const) {
    // 999.6k would otherwise be written as 1000k.
    if (size >= unit * 0.9995) return `${trimmed((value / unit).toPrecision(3))}${name}`;
  }
  return Number.isInteger(value) ? String(value) : trimmed(value.toPrecision(3));
}

/** US dollars. Below a cent six significant digits are shown, because many requests cost that little. */
export function cost(value: number | null | undefined): string {
  if (value === null || value === undefined) return UNKNOWN;
  if (value === 0) return "$0";
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size < 0.01) return `${sign}$${plain(size, 6)}`;
  if (size < 1) return `${sign}$${size.toFixed(4)}`;
  const [whole = "0", cents = "00"] = size.toFixed(2).split(".");
  return `${sign}$${whole.replace(/\B(?=(\d{3})+$)/g, THIN)}.${cents}`;
}

/** The same beside the axis of a chart, without zeros at the end. */
export function costTick(value: number): string {
  return trimmed(cost(value));
}

/** So many significant digits without an exponent and without zeros at the end. */
function plain(value: number, digits: number): string {
  const exponent = Math.floor(Math.log10(value));
  return trimmed(value.toFixed(Math.min(20, Math.max(0, digits - 1 - exponent))));
}

function trimmed(text: string): string {
  return text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text;
}

/** Milliseconds. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return UNKNOWN;
  if (ms < SECOND) return `${Math.round(ms)}${THIN}ms`;
  if (ms < 10 * SECOND) return `${(ms / SECOND).toFixed(2)}${THIN}s`;
  if (ms < MINUTE) return `${(ms / SECOND).toFixed(1)}${THIN}s`;
  if (ms < HOUR) return twoUnits(ms, MINUTE, "min", SECOND, "s");
  if (ms < 48 * HOUR) return twoUnits(ms, HOUR, "h", MINUTE, "min");
  return `${Math.round(ms / (24 * HOUR))}${THIN}days`;
}

/** A length in two units, the smaller one only where it is not zero. */
function twoUnits(ms: number, large: number, largeName: string, small: number, smallName: string): string {
  const whole = Math.round(ms / small);
  const rest = whole % (large / small);
  const head = `${Math.floor(whole / (large / small))}${THIN}${largeName}`;
  return rest === 0 ? head : `${head} ${rest}${THIN}${smallName}`;
}

export function seconds(value: number): string {
  return duration(value * SECOND);
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < 1000) return `${value}${THIN}B`;
  if (value < 999_500) return `${trimmed((value / 1000).toPrecision(3))}${THIN}KB`;
  return `${trimmed((value / 1e6).toPrecision(3))}${THIN}MB`;
}

/** A share of 1, or nothing where there is no whole. */
export function percent(part: number | null | undefined, whole = 1): string {
  if (part === null || part === undefined || !whole) return UNKNOWN;
  const value = (part / whole) * 100;
  if (value === 0) return "0%";
  if (Math.abs(value) < 10) return `${trimmed(value.toFixed(1))}%`;
  return `${Math.round(value)}%`;
}

/** How much a figure has changed against an earlier one, with its sign; null where there was nothing before. */
export function change(now: number | null, before: number | null | undefined): string | null {
  if (now === null || before === null || before === undefined || before === 0) return null;
  const share = (now - before) / before;
  const text = Math.abs(share) >= 10 ? `${compact(Math.abs(share) + 1)}×` : percent(Math.abs(share));
  return share === 0 ? "0%" : `${share > 0 ? "+" : "−"}${text}`;
}

const serverTime = () => new Date(serverNow());

export type Zone = "local" | "utc";

export function zoneName(zone: Zone, at = new Date()): string {
  if (zone === "utc") return "UTC";
  const parts = new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(at);
  return parts.find(({ type }) => type === "timeZoneName")?.value ?? "local";
}

const two = (value: number) => String(value).padStart(2, "0");

function fields(at: Date, zone: Zone) {
  return zone === "utc"
    ? { y: at.getUTCFullYear(), mo: at.getUTCMonth() + 1, d: at.getUTCDate(), h: at.getUTCHours(), mi: at.getUTCMinutes(), s: at.getUTCSeconds() }
    : { y: at.getFullYear(), mo: at.getMonth() + 1, d: at.getDate(), h: at.getHours(), mi: at.getMinutes(), s: at.getSeconds() };
}

export function date(at: Date, zone: Zone): string {
  const { y, mo, d } = fields(at, zone);
  return `${y}-${two(mo)}-${two(d)}`;
}

export function clock(at: Date, zone: Zone): string {
  const { h, mi, s } = fields(at, zone);
  return `${two(h)}:${two(mi)}:${two(s)}`;
}

/** The time of a row: without the day where that is today. */
export function when(at: Date, zone: Zone, now = serverTime()): string {
  const day = date(at, zone);
  if (day === date(now, zone)) return clock(at, zone);
  const { mo, d } = fields(at, zone);
  const short = day.slice(0, 4) === date(now, zone).slice(0, 4) ? `${two(mo)}-${two(d)}` : day;
  return `${short} ${clock(at, zone)}`;
}

export function dateTime(at: Date, zone: Zone): string {
  return `${date(at, zone)} ${clock(at, zone)}`;
}

/** How long ago, in one unit. */
export function ago(at: Date, now = serverTime()): string {
  const ms = now.getTime() - at.getTime();
  if (ms < -MINUTE) return `in ${rough(-ms)}`;
  return ms < MINUTE ? "just now" : `${rough(ms)} ago`;
}

function rough(ms: number): string {
  if (ms < HOUR) return `${Math.round(ms / MINUTE)} min`;
  if (ms < 48 * HOUR) return `${Math.round(ms / HOUR)} h`;
  return `${Math.round(ms / (24 * HOUR))} days`;
}

/**
 * Text from outside as it may be shown: characters that turn the direction of what follows, or that are not seen, become
 * visible names. Otherwise a log could be made to read as something that it does not say.
 */
export function visible(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (found) => {
    const code = found.codePointAt(0) ?? 0;
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${integer(count)} ${count === 1 ? one : many}`;
}
