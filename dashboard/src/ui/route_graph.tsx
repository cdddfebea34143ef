// A dynamic route, drawn: its elements from left to right, and on each way how often it was taken.
import { edgeKey, edgesOf, placed, summary, type Element } from "../core/graph.ts";
import type { Passed } from "../core/way.ts";
import { integer, percent, visible } from "../core/format.ts";

const WIDTH = 150;
/** The longest figures of a way, such as "fallback 200 · 100%", have room in it. */
const GAP = 134;
const OUTPUT = 20;
const HEIGHT = 54;

interface GraphProps {
  elements: Element[];
  /** How often each way was taken, by its element and output. */
  counts?: Map<string, number> | undefined;
  /** The way of one request, which stands out. */
  way?: Passed[] | undefined;
  chosen?: string | null;
  choose?: (id: string) => void;
}

export function RouteGraph({ elements, counts, way = [], chosen, choose }: GraphProps) {
  const edges = edgesOf(elements);
  const rowHeight = Math.max(HEIGHT, ...elements.map(({ outputs }) => Object.keys(outputs).length * OUTPUT + 10)) + 26;
  const all = placed(elements);
  const places = new Map(all.map(({ element, column, row }) => [element.id, { x: column * (WIDTH + GAP), y: row * rowHeight, height: Math.max(HEIGHT, Object.keys(element.outputs).length * OUTPUT + 10) }]));
  const width = Math.max(...[...places.values()].map(({ x }) => x + WIDTH), WIDTH) + 2;
  const height = Math.max(...[...places.values()].map(({ y, height: tall }) => y + tall), HEIGHT) + 2;
  const taken = new Set(way.map(({ element, output }) => edgeKey(element, output)));
  const passed = new Set(way.flatMap(({ element, output }) => [element, edges.find(({ from, name }) => from === element && name === output)?.to]));
  const lines = edges.map((edge) => {
    const from = places.get(edge.from) ?? { x: 0, y: 0, height: HEIGHT };
    const to = places.get(edge.to) ?? from;
    const names = Object.keys(elements.find(({ id }) => id === edge.from)?.outputs ?? {});
    const y = from.y + ((names.indexOf(edge.name) + 0.5) * from.height) / names.length;
    const key = edgeKey(edge.from, edge.name);
    const sum = names.reduce((total, name) => total + (counts?.get(edgeKey(edge.from, name)) ?? 0), 0);
    return { ...edge, key, x: from.x + WIDTH, y, toX: to.x, toY: to.y + to.height / 2, count: counts?.get(key) ?? 0, sum };
  });
  return (
    <div class="drawn-route" tabIndex={0} role="group" aria-label="The route as a drawing">
      <div style={{ width: `${width}px`, height: `${height}px` }}>
        <svg width={width} height={height} aria-hidden="true">
          {lines.map(({ key, x, y, toX, toY, count, sum }) => {
            const bend = Math.max(40, (toX - x) / 2);
            return <path key={key} class={taken.has(key) ? "taken" : ""} d={`M${x},${y}C${x + bend},${y} ${toX - bend},${toY} ${toX},${toY}`} stroke-width={1 + (sum > 0 ? (count / sum) * 3 : 0.5)} />;
          })}
        </svg>
        {all.map(({ element }) => {
          const { x, y, height: tall } = places.get(element.id) ?? { x: 0, y: 0, height: HEIGHT };
          const kind = element.type === "rate_limit" ? "rate" : element.type;
          return (
            <button key={element.id} type="button" class={`element ${kind} ${passed.has(element.id) ? "taken" : ""}`} aria-pressed={chosen === element.id} style={{ left: `${x}px`, top: `${y}px`, width: `${WIDTH}px`, height: `${tall}px` }} onClick={() => choose?.(element.id)}>
              <b>{visible(element.id)}</b>
              <span title={summary(element)}>{visible(summary(element)) || kind}</span>
            </button>
          );
        })}
        {lines.map(({ key, name, x, y, count, sum }) => (
          <span key={key} class={`way ${taken.has(key) ? "taken" : ""}`} style={{ left: `${x + 5}px`, top: `${y - 18}px`, maxWidth: `${GAP - 12}px` }} title={sum > 0 ? `${name}: ${integer(count)} of ${integer(sum)}` : name}>
            {visible(name)}
            {sum > 0 && <i> {integer(count)} · {percent(count, sum)}</i>}
          </span>
        ))}
      </div>
    </div>
  );
}
