// The driver of neffos.js in a browser: the script that its package has for pages, in pages of a
// Chromium without a window. Standard input and output are carried to and from what runs there,
// which is client.mjs, as in Node.
//
// A page is opened for every server, and its address is one of that server's: a WebSocket has the
// page's origin, and servers refuse a foreign one. Nobody asks the server for the page; it comes
// from here.
//
//     npm install && node browser.mjs
//
// Where Chromium is not what CHROMIUM or Debian says, it ends with status 4.

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { parse } from "./client.mjs";
import { end, readLines, writeReady, writeText } from "./lines.mjs";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const NO_CHROMIUM = 4;

const FLAGS = [
  "--no-sandbox", // it could not start as root, and only pages from here are opened
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** The path below which the files of a page are, on every server. */
const BELOW = "/neffos-driver/";

/** Where the page is for what goes to no server: a name that is never given to one. */
const NOWHERE = "http://driver.invalid";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

// --- Pages ---------------------------------------------------------------------------------------

const script = createRequire(import.meta.url).resolve("neffos.js");
const manifest = JSON.parse(readFileSync(join(dirname(script), "..", "package.json")));

/** The files of a page, by what follows BELOW. */
const FILES = {
  "": {
    contentType: "text/html",
    // Old packages have a plain script, newer ones a module.
    body: `<!doctype html><title>neffos.js</title>
<script src="neffos.min.js" type="${manifest.type === "module" ? "module" : "text/javascript"}"></script>`,
  },
  "neffos.min.js": { path: join(dirname(script), "neffos.min.js") },
  "client.mjs": { path: here("client.mjs"), contentType: "text/javascript" },
  "page.mjs": { path: here("page.mjs"), contentType: "text/javascript" },
};

/** What becomes a page, by origin. */
const pages = new Map();

/** The page of every connection, by number. */
const pageOf = new Map();

function open(context, origin) {
  if (!pages.has(origin)) {
    pages.set(origin, newPage(context, origin));
  }
  return pages.get(origin);
}

async function newPage(context, origin) {
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(error));
  page.on("console", (message) => console.error(message.text()));
  page.on("crash", () => fail(new Error("the page has crashed")));
  await page.goto(`${origin}${BELOW}`);
  await page.evaluate((address) => import(address), `${BELOW}page.mjs`);
  return page;
}

/** The origin of the server that a line wants to be connected to, and NOWHERE if to none. */
function originOf({ url }) {
  const { protocol, host } = URL.canParse(url) ? new URL(url) : {};
  return /^wss?:$/u.test(protocol) ? `${protocol.replace("ws", "http")}//${host}` : NOWHERE;
}

/**
 * Give a line to the page that it is for. By the answer to one that is for none, the suite knows
 * that it has read what came before, so it waits until each page has handed that over.
 */
async function carryIn(context, line) {
  const operation = parse(line);
  const isDial = operation.op === "dial";
  if (!isDial && !pageOf.has(operation.connection)) {
    await Promise.all([...pages.values()].map(async (page) => (await page).evaluate(() => 0)));
  }
  const page = isDial
    ? await open(context, originOf(operation))
    : (pageOf.get(operation.connection) ?? (await open(context, NOWHERE)));
  const number = pageOf.size + 1;
  if (isDial) {
    pageOf.set(number, page);
  }
  await page.evaluate((parts) => globalThis.carryIn(...parts), [line, number]);
}

// --- The process ---------------------------------------------------------------------------------

function fail(error) {
  console.error(error);
  end(1);
}

async function main() {
  if (!existsSync(CHROMIUM)) {
    console.error(
      `there is no Chromium at ${CHROMIUM}: ` +
        "install Debian's package chromium, or say in CHROMIUM where it is",
    );
    process.exit(NO_CHROMIUM);
  }
  const folder = mkdtempSync(join(tmpdir(), "neffos-driver-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  process.env.TMPDIR = folder; // for what Playwright and Chromium put down
  process.env.DRIVER_FOLDER = folder;
  process.env.DRIVER_CHROMIUM = CHROMIUM;

  const context = await chromium.launchPersistentContext(join(folder, "profile"), {
    executablePath: here("chromium.sh"),
    headless: true,
    args: FLAGS,
    // The page did not come from the server, so that Chromium takes it for one of the internet, and
    // would ask whoever is at the screen whether it may connect to this machine.
    permissions: ["local-network-access"],
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
  });
  let isQuitting = false;
  const quit = async (status) => {
    isQuitting = true;
    await context.close();
    end(status);
  };
  context.on("close", () => isQuitting || fail(new Error("Chromium has ended")));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => quit(1));
  }
  await context.exposeFunction("carryOut", writeText);
  await context.route(
    (url) => url.pathname.startsWith(BELOW),
    (route) => route.fulfill(FILES[route.request().url().split(BELOW)[1]] ?? { status: 404 }),
  );
  await open(context, NOWHERE);

  // One line after the other, so that each page has its own in the order in which they came.
  let carried = Promise.resolve();
  readLines((line) => (carried = carried.then(() => carryIn(context, line)).catch(fail)));
  process.stdin.on("end", async () => {
    await carried;
    await quit(0);
  });
  writeReady(manifest.version, `Chromium ${context.browser().version()}`);
}

main().catch(fail);
