// The driver of neffos.js in a browser: all that the one in Node does, and what it leaves behind.
//
//     npm install && npm test
//
// Each start of Chromium takes seconds of a processor. With NEFFOS_WIRE_SHARE, a number, tests that
// need a start of their own run by turns: one in four, other ones with the next number.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Driver, playScenes } from "./scenes.mjs";

const DRIVER = "browser.mjs";
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

const SHARES = 4;
const SHARE = process.env.NEFFOS_WIRE_SHARE;
const isChosen = (number) => SHARE === undefined || (number + Number(SHARE)) % SHARES === 0;

const skip = existsSync(CHROMIUM) ? false : `there is no Chromium at ${CHROMIUM}`;

/** The ids of the processes that have all these texts in their command line. */
function processesWith(...texts) {
  const ids = readdirSync("/proc").filter((name) => /^\d+$/u.test(name));
  return ids.filter((id) => {
    try {
      const line = readFileSync(`/proc/${id}/cmdline`, "utf8");
      return texts.every((text) => line.includes(text));
    } catch {
      return false; // it has ended
    }
  });
}

describe("the driver of neffos.js in a browser", { concurrency: 3, skip }, () => {
  playScenes({
    driver: DRIVER,
    runtime: /^Chromium \d+\.\d+\./u,
    unreachable: /^error$/u,
    seconds: 60, // of which Chromium needs some for its start
    // A page cannot set headers, so neffos.js sends parameters.
    header: (request, name) =>
      new URL(request.url, "ws://server").searchParams.get(`X-Websocket-Header-${name}`),
    isDeafAfterwards: false,
    isChosen,
  });

  const ends = {
    "its input ends": (driver) => driver.end(),
    "it is told to end": (driver) => driver.signal("SIGTERM"),
    "it is killed": (driver) => driver.signal("SIGKILL"),
    "Chromium is killed": (driver, folder) => {
      const first = processesWith(folder, "--remote-debugging-pipe");
      first.forEach((id) => process.kill(id, "SIGKILL"));
    },
  };
  const chosen = Object.entries(ends).filter((_, number) => isChosen(number));
  for (const [how, end] of chosen) {
    it(`nothing is left when ${how}`, { timeout: 60_000 }, async () => {
      const folder = mkdtempSync(join(tmpdir(), "neffos-test-"));
      const driver = new Driver(DRIVER, { TMPDIR: folder });
      await driver.lines.next();
      assert.notDeepEqual(processesWith(folder), []);
      const ended = driver.ended();
      end(driver, folder);
      await ended;
      while (processesWith(folder).length > 0 || readdirSync(folder).length > 0) {
        await sleep(100);
      }
      rmdirSync(folder);
    });
  }
});

it("without Chromium the driver in a browser says so", async () => {
  const driver = new Driver(DRIVER, { CHROMIUM: "/nowhere/chromium" });
  assert.equal(await driver.ended(), 4);
  assert.match(driver.complaints, /^there is no Chromium at \/nowhere\/chromium: /u);
});
