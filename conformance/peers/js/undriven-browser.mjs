// The same as undriven.mjs, in a page of a Chromium without a window. The page has the origin of the
// server, and comes from here.
//
//     npm install && node undriven-browser.mjs URL

import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const BELOW = "/neffos-undriven/";
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const script = createRequire(import.meta.url).resolve("neffos.js");
const FILES = {
  "": { contentType: "text/html", body: `<!doctype html><script type="module" src="neffos.min.js"></script>` },
  "neffos.min.js": { path: join(dirname(script), "neffos.min.js") },
  "undriven.mjs": { path: here("undriven.mjs"), contentType: "text/javascript" },
};

const url = process.argv[2];
const folder = mkdtempSync(join(tmpdir(), "neffos-undriven-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
process.env.TMPDIR = folder;
process.env.DRIVER_FOLDER = folder; // for chromium.sh
process.env.DRIVER_CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const context = await chromium.launchPersistentContext(join(folder, "profile"), {
  executablePath: here("chromium.sh"),
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run"],
  permissions: ["local-network-access"],
});
await context.route(
  (each) => each.pathname.startsWith(BELOW),
  (route) => route.fulfill(FILES[route.request().url().split(BELOW)[1]] ?? { status: 404 }),
);
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => context.close().finally(() => process.exit(0)));
}
const page = await context.newPage();
await page.goto(`${url.replace("ws", "http")}${BELOW.slice(1)}`);
await page.evaluate(
  ([address, dialled]) =>
    void import(address).then(({ live }) => live(globalThis.neffos, dialled)),
  [`${BELOW}undriven.mjs`, url],
);
