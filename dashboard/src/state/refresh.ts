// "Refresh", for whatever the page shows.
import { signal } from "@preact/signals";

export const refreshes = signal(0);
