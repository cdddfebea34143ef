// How the dashboard is built. The first load is one page, one script and one style sheet; charts and the pages that are opened less
// often are scripts of their own. Nothing is loaded from elsewhere.
import { defineConfig } from "vite";
import { licences } from "./licences.mjs";

export default defineConfig({
  root: import.meta.dirname,
  base: "/dashboard/",
  plugins: [licences()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    // The first that know light-dark() and AbortSignal.any.
    target: ["chrome123", "firefox124", "safari17.5"],
    // A data: URL of the icon would be text in the script.
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    // The polyfill is an inline script, which the page's policy refuses, and there is nothing to preload.
    modulePreload: false,
    rolldownOptions: { output: { entryFileNames: "assets/app-[hash].js", chunkFileNames: "assets/[name]-[hash].js", assetFileNames: "assets/[name]-[hash][extname]" } },
    reportCompressedSize: false,
  },
});
