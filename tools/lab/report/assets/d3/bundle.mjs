// Writes d3.min.js, which is committed so that building the lab needs Go alone.
// The licence goes into the file because the report, which is handed on, holds a copy.
import { copyFileSync, readFileSync } from "node:fs";
import { build } from "esbuild";

const { version } = JSON.parse(readFileSync("node_modules/d3/package.json", "utf8"));
const licence = readFileSync("node_modules/d3/LICENSE", "utf8").trim();

await build({
  entryPoints: ["entry.js"],
  outfile: "d3.min.js",
  bundle: true,
  minify: true,
  format: "iife",
  globalName: "d3",
  target: "es2022",
  banner: { js: `/*! Parts of d3 ${version}, https://d3js.org\n\n${licence}\n*/` },
});
copyFileSync("node_modules/d3/LICENSE", "LICENSE");
