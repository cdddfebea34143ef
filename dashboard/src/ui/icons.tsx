// Icons as strokes of the text's colour. Each stands beside a word or in a button that has a name.
const PATHS = {
  filter: "M2 3.5h12M4.5 8h7M7 12.5h2",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  up: "M2.5 7.5h2.5v6H2.5zM5 12.8c1 .5 2 .7 3.2.7h2.6c.8 0 1.5-.5 1.7-1.3l.9-3.5c.3-1-.5-2-1.6-2H9.3l.5-2.6c.2-.9-.5-1.6-1.3-1.6L5 7.5",
  down: "M2.5 8.5h2.5v-6H2.5zM5 3.2c1-.5 2-.7 3.2-.7h2.6c.8 0 1.5.5 1.7 1.3l.9 3.5c.3 1-.5 2-1.6 2H9.3l.5 2.6c.2.9-.5 1.6-1.3 1.6L5 8.5",
  left: "M10 3L5 8l5 5",
  right: "M6 3l5 5-5 5",
  open: "M9 2.5h4.5V7M13.5 2.5L7.5 8.5M11.5 9v4.5h-9v-9H7",
  refresh: "M13.5 8a5.5 5.5 0 1 1-1.7-4M13.5 1.5v3h-3",
  menu: "M2 4h12M2 8h12M2 12h12",
  play: "M5 3l8 5-8 5z",
  pause: "M5 3v10M11 3v10",
  plus: "M8 3v10M3 8h10",
  check: "M3 8.5l3.5 3.5L13 4.5",
  warn: "M8 2L1.8 13.5h12.4zM8 6.5v3M8 11.2v.6",
  clock: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 4.5V8l2.5 1.5",
  download: "M8 2v8M4.5 7L8 10.5 11.5 7M2.5 13.5h11",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  moon: "M13 9.8A5.5 5.5 0 0 1 6.2 3a5.5 5.5 0 1 0 6.8 6.8z",
  auto: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
  columns: "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
  person: "M8 2.5a2.7 2.7 0 1 0 0 5.4 2.7 2.7 0 0 0 0-5.4zM2.8 13.5c.6-2.6 2.6-4 5.2-4s4.6 1.4 5.2 4",
  star: "M8 2l1.8 3.8 4.2.5-3.1 2.9.8 4.1L8 11.3l-3.7 2 .8-4.1L2 6.3l4.2-.5z",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 14 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width={size} height={size} aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
