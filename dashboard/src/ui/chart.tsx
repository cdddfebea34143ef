// Charts over time. They share a cursor; dragging over one chooses a range, a click leads to the logs behind a mark.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { stacked, type Series } from "../core/charts.ts";
import { clock, date } from "../core/format.ts";
import { painted, zone } from "../state/preferences.ts";

const HEIGHT = 150;
const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7"];

interface ChartProps {
  name: string;
  starts: number[];
  step: number;
  series: Series[];
  /** Lines instead of stacked bars. */
  lines?: { name: string; values: (number | null)[] }[];
  format: (value: number) => string;
  /** The same for the axis. */
  tick?: (value: number) => string;
  /** Whether the last bucket is still being filled. */
  isPartial: boolean;
  zoom: (from: number, to: number) => void;
  open: (from: number, to: number, group: string | null) => void;
}

/** A colour of the style sheet as the canvas needs it. */
function colour(name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

export function Chart({ name, starts, step, series, lines, format, tick = format, isPartial, zoom, open }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const hovered = useSignal<number | null>(null);
  const shown = lines ?? series;
  // Signals that the drawing depends on, read while rendering.
  const round = `${painted.value} ${zone.value}`;
  const actions = useRef({ zoom, open });
  actions.current = { zoom, open };
  useEffect(() => {
    const element = box.current;
    if (!element || starts.length === 0) return;
    const colours = COLOURS.map(colour);
    const ink = colour("--faint");
    const grid = colour("--line");
    const times = starts.map((start) => start / 1000);
    const heights = lines ? lines.map(({ values }) => values) : stacked(series).toReversed();
    const count = heights.length;
    const bars = uPlot.paths.bars?.({ size: [0.86, 40], align: 1 });
    const inZone = (seconds: number) => (zone.value === "utc" ? uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC") : new Date(seconds * 1000));
    const chart = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        tzDate: inZone,
        // The time axis ends where the last bucket ends.
        scales: { x: { time: true, range: () => [times[0] ?? 0, (times.at(-1) ?? 0) + step / 1000] }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] } },
        cursor: { sync: { key: "figures" }, drag: { x: true, y: false, setScale: false }, points: { show: false }, y: false },
        select: { show: true, left: 0, top: 0, width: 0, height: 0 },
        axes: [
          { stroke: ink, grid: { show: false }, ticks: { stroke: grid, size: 4 }, font: "11px system-ui", space: 70, size: 26, values: (_, splits) => splits.map((split, at) => label(split, splits[at - 1], step)) },
          { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "11px system-ui", size: 58, values: (_, splits) => splits.map(tick) },
        ],
        series: [
          {},
          ...heights.map((_, at) => {
            const paint = colours[(lines ? at : count - 1 - at) % colours.length] ?? ink;
            return lines ? { stroke: paint, width: 1.5, spanGaps: false, points: { show: isSparse(starts, lines[at]?.values ?? []), size: 4 } } : { stroke: paint, fill: paint, width: 0, points: { show: false }, ...(bars && { paths: bars }) };
          }),
        ],
        hooks: {
          setCursor: [(plot) => (hovered.value = plot.cursor.idx ?? null)],
          setSelect: [
            (plot) => {
              const { left, width } = plot.select;
              if (width < 6) return;
              const from = plot.posToVal(left, "x") * 1000;
              const to = plot.posToVal(left + width, "x") * 1000;
              plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              actions.current.zoom(Math.floor(from / step) * step, Math.ceil(to / step) * step);
            },
          ],
          draw: [(plot) => void (isPartial && !lines && hatch(plot, times, step / 1000, colour("--surface")))],
        },
      },
      [times, ...heights],
      element,
    );
    let pressedAt = 0;
    const down = (event: MouseEvent) => (pressedAt = event.clientX);
    const up = (event: MouseEvent) => {
      const start = starts[chart.cursor.idx ?? -1];
      if (Math.abs(event.clientX - pressedAt) < 4 && start !== undefined) actions.current.open(start, start + step, null);
    };
    chart.over.addEventListener("mousedown", down);
    chart.over.addEventListener("mouseup", up);
    const resized = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      chart.destroy();
    };
  }, [starts, series, lines, round]);
  const at = hovered.value;
  const start = at === null ? undefined : starts[at];
  return (
    <div class="chart">
      <div ref={box} class="canvas" role="img" aria-label={`${name} over time`} />
      <ul class="legend">
        {shown.map((one, index) => {
          const value = at === null ? ("total" in one ? (one as Series).total : null) : (one.values[at] ?? null);
          const content = (
            <>
              <i style={{ background: `var(${COLOURS[index % COLOURS.length]})` }} />
              <span>{one.name}</span>
              {value !== null && <b>{format(value)}</b>}
            </>
          );
          const group = "group" in one ? (one as Series).group : null;
          return (
            <li key={one.name}>
              {group !== null && group !== "all" ? <button type="button" onClick={() => open(starts[0] ?? 0, (starts.at(-1) ?? 0) + step, group)}>{content}</button> : <span class="legend-item">{content}</span>}
            </li>
          );
        })}
        <li class="legend-time">{start === undefined ? "" : `${date(new Date(start), zone.value)} ${clock(new Date(start), zone.value).slice(0, 5)}`}</li>
      </ul>
    </div>
  );
}

/** A value with gaps at both sides would not be seen as a line. */
function isSparse(starts: number[], values: (number | null)[]): boolean {
  return values.filter((value) => value !== null).length * 3 < starts.length || starts.length < 3;
}

function label(seconds: number, before: number | undefined, step: number): string {
  const at = new Date(seconds * 1000);
  const day = date(at, zone.value).slice(5);
  if (step >= 86_400_000) return day;
  const time = clock(at, zone.value).slice(0, 5);
  return time === "00:00" || (before !== undefined && date(new Date(before * 1000), zone.value) !== date(at, zone.value)) ? day : time;
}

/** The last bucket is not full yet: lines in the colour of the ground say so. */
function hatch(plot: uPlot, times: number[], step: number, ground: string): void {
  const last = times.at(-1);
  if (last === undefined) return;
  const { ctx, bbox } = plot;
  const left = plot.valToPos(last, "x", true);
  const right = plot.valToPos(last + step, "x", true);
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, bbox.top, right - left, bbox.height);
  ctx.clip();
  ctx.strokeStyle = ground;
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  for (let x = left - bbox.height; x < right; x += 6) {
    ctx.moveTo(x, bbox.top + bbox.height);
    ctx.lineTo(x + bbox.height, bbox.top);
  }
  ctx.stroke();
  ctx.restore();
}
