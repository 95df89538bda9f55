// What is run in a page: the driver's part there, between neffos.js and the lines that browser.mjs
// carries in and out.

import { begin, take } from "./client.mjs";

const { neffos } = globalThis; // as the script of the package leaves it
if (neffos === undefined) {
  throw new Error("the script of this neffos.js leaves nothing in a page");
}

let number;

begin({
  neffos,
  write: (line) => globalThis.carryOut(JSON.stringify(line)),
  nextNumber: () => number,
});

/** Take a line, and the number of the connection if it opens one: other pages open some, too. */
globalThis.carryIn = (line, numberOfNext) => {
  number = numberOfNext;
  take(line);
};
