// The driver of neffos.js in Node.
//
//     npm install && npm test

import { describe } from "node:test";

import { playScenes } from "./scenes.mjs";

describe("the driver of neffos.js in Node", { concurrency: 2 }, () => {
  playScenes({
    driver: "driver.mjs",
    runtime: /^node v\d+\.\d+\.\d+, ws 8\./u,
    unreachable: /ECONNREFUSED/u,
    seconds: 8,
    header: (request, name) => request.headers[name.toLowerCase()],
    isDeafAfterwards: true, // ws reads no further when what it calls throws
    isChosen: () => true,
  });
});
