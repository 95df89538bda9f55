// Lines of this process: those on standard input, and those that it writes.

/** Node's own readline would also split at U+2028, which JSON texts may hold. */
export function readLines(onLine) {
  let rest = "";
  process.stdin.setEncoding("utf8");
  process.stdin.on("data", (chunk) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    lines.forEach(onLine);
  });
}

export function writeText(line) {
  process.stdout.write(`${line}\n`);
}

/** The first line of a driver: who is there. */
export function writeReady(version, runtime) {
  const ready = { ready: true, driver: 1, peer: "neffos.js", version, runtime };
  writeText(JSON.stringify(ready));
}

/** End with that status when all that was written has gone out. */
export function end(status) {
  process.stdout.write("", () => process.exit(status));
}
