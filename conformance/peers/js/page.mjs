// What is run in a page: the driver's part there, between neffos.js and the lines that browser.mjs
// carries in and out.

import { begin, take } from "./client.mjs";

let number;

begin({
  neffos: globalThis.neffos, // as the script of the package leaves it
  write: (line) => globalThis.carryOut(JSON.stringify(line)),
  nextNumber: () => number,
});

/** Take a line, and the number of the connection if it opens one: other pages open some, too. */
globalThis.carryIn = (line, numberOfNext) => {
  number = numberOfNext;
  take(line);
};
