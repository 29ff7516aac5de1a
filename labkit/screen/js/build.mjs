// Bundle the page side of the screen into one file, and collect the licences of what is in it.
import { build } from "esbuild";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

const out = process.argv[2] ?? "../static";
const result = await build({
  entryPoints: ["main.js"],
  outfile: `${out}/screen.js`,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "none", // THIRD-PARTY-LICENSES.txt has them whole
  loader: { ".css": "text" },
  metafile: true,
});

const packages = new Set();
for (const input of Object.keys(result.metafile.inputs)) {
  const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
  if (found) packages.add(found[1]);
}
const texts = [...packages].sort().map((name) => {
  const folder = `node_modules/${name}`;
  const { version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  if (!file) throw new Error(`${name} comes without its licence`);
  return `${name} ${version} (${license})\n\n${readFileSync(`${folder}/${file}`, "utf8").trim()}\n`;
});
writeFileSync(
  `${out}/THIRD-PARTY-LICENSES.txt`,
  `screen.js holds these packages.\n\n${texts.join(`\n${"-".repeat(78)}\n\n`)}`,
);
