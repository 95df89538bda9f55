// The driver of neffos.js in Node: operations on standard input, what came of them on standard
// output. What it does with them is in client.mjs.
//
//     npm install && node driver.mjs

import { createRequire } from "node:module";

import * as library from "neffos.js";

import { begin, take } from "./client.mjs";
import { end, readLines, writeReady, writeText } from "./lines.mjs";

/** The version of a package, as the one that needs it sees it. */
function versionOf(name, parent) {
  return createRequire(parent)(`${name}/package.json`).version;
}

let dialled = 0;

function main() {
  // What neffos.js throws where nobody can catch it, as in the handling of a message, must not
  // end the driver: it is for people to read, and what it hindered runs into its deadline.
  process.on("uncaughtException", (error) => console.error(error));
  process.on("unhandledRejection", (error) => console.error(error));

  begin({
    // Of its versions some have names to import, some a default, some both.
    neffos: library.default ?? library,
    write: (line) => writeText(JSON.stringify(line)),
    nextNumber: () => (dialled += 1),
  });
  readLines(take);
  // Open sockets would keep Node alive.
  process.stdin.on("end", () => end(0));
  // ws is named because neffos.js leaves to it in which order messages and promises run.
  const ws = versionOf("ws", createRequire(import.meta.url).resolve("neffos.js"));
  writeReady(versionOf("neffos.js", import.meta.url), `node ${process.version}, ws ${ws}`);
}

main();
