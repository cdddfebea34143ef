// How the dashboard is built: one script, one style sheet and one page, which load nothing from elsewhere.
import { defineConfig } from "vite";

export default defineConfig({
  root: import.meta.dirname,
  base: "/dashboard/",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2022",
    // A data: URL of the icon would be text in the script.
    assetsInlineLimit: 0,
    // The polyfill is an inline script, which the page's policy refuses, and there is nothing to preload.
    modulePreload: false,
    rolldownOptions: { output: { entryFileNames: "assets/app-[hash].js", assetFileNames: "assets/[name]-[hash][extname]" } },
    reportCompressedSize: false,
  },
});
