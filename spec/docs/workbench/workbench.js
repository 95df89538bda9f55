// The page of the workbench. All that it says of a session is Python's, which runs in worker.js:
// HTML comes from there, escaped, and everything else is set as text.
"use strict";

const element = (id) => document.getElementById(id);
const LINK = "#recording=";
const KINDS = ["handshake", "ask", "reply", "event", "error", "native", "stray", "opening", "close"];

// ---- Python ----

say("Python is being loaded …");
const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let calls = 0;

worker.onmessage = ({ data: { id, ready, failed, read, answer } }) => {
  if (ready) {
    say("Ready. Open a session.");
  } else if (failed) {
    say(`Python cannot be loaded: ${failed}`, true);
  } else if (answer !== undefined) {
    waiting.get(id).resolve(JSON.parse(answer));
    waiting.delete(id);
  } else {
    waiting.get(id).progress(read);
  }
};
worker.onerror = () => say("Python cannot be loaded. Try: another browser, or neffos-wire check FILE", true);

function ask(method, values = {}, data = undefined, progress = () => {}) {
  calls += 1;
  const id = calls;
  worker.postMessage({ id, method, values, data }, data ? [data] : []);
  return new Promise((resolve) => waiting.set(id, { resolve, progress }));
}

function say(text, isProblem = false) {
  element("status").textContent = text;
  element("status").classList.toggle("problem", isProblem);
}

// ---- Opening ----

let opened = []; // {index, name, size}
let shown; // the index of the recording that is shown

async function open(files) {
  for (const file of files) {
    say(`${file.name} is being read …`);
    const data = await file.arrayBuffer();
    if (await take(ask("take", { name: file.name }, data), file.size)) {
      return;
    }
  }
  await show(opened.at(-1)?.index);
}

async function take(answering, size) {
  const { problem, recordings } = await answering;
  if (problem) {
    say(problem, true);
    return problem;
  }
  for (const each of recordings) {
    opened.push({ ...each, size });
    element("which").add(new Option(each.name, each.index));
  }
  element("choice").hidden = opened.length < 2;
  return "";
}

async function show(index) {
  if (index === undefined) {
    return;
  }
  shown = index;
  element("which").value = index;
  const { name, size } = opened.find((each) => each.index === index);
  const bar = element("progress");
  bar.value = 0;
  bar.hidden = false;
  let done = 0;
  say(`${name} is being checked …`);
  const { problem, html } = await ask("check", { index }, undefined, (read) => {
    done += read;
    bar.value = size ? done / size : 1;
  });
  bar.hidden = true;
  if (problem) {
    say(problem, true);
    return;
  }
  element("report").innerHTML = html;
  element("session").hidden = false;
  element("filters").reset();
  await view(1, []);
  say(`${name} was checked.`);
}

element("file").onchange = ({ target }) => {
  const files = [...target.files];
  target.value = "";
  open(files);
};
element("which").onchange = ({ target }) => show(Number(target.value));
element("paste").onsubmit = (event) => {
  event.preventDefault();
  open([new File([element("frames").value], "pasted frames")]);
};
element("example").onclick = async () => {
  const response = await fetch("example.jsonl");
  open([new File([await response.blob()], "example.jsonl")]);
};
addEventListener("dragover", (event) => {
  event.preventDefault();
  element("drop").classList.add("over");
});
addEventListener("dragleave", () => element("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  element("drop").classList.remove("over");
  open([...event.dataTransfer.files]);
});

// ---- The picture ----

let rows = []; // [line, whether it violates a requirement]
let next = null; // the first line of the next part
let first = 1;
let before = []; // the first lines of the parts before
let chosen = 0;

for (const kind of KINDS) {
  element("kind").add(new Option(kind, kind));
}

async function view(from, earlier) {
  const kind = element("kind").value;
  const answer = await ask("view", {
    index: shown,
    first: from,
    connection: Number(element("connection").value) || null,
    kinds: kind ? [kind] : [],
    words: element("words").value,
    violating: element("violating").checked,
  });
  if (answer.problem) {
    say(answer.problem, true);
    return;
  }
  ({ rows, next } = answer);
  first = from;
  before = earlier;
  chosen = 0;
  element("view").innerHTML = answer.html;
  element("back").disabled = !before.length;
  element("on").disabled = next === null;
}

const later = () => view(next, [...before, first]);
const earlier = () => view(before.at(-1), before.slice(0, -1));

function choose(line) {
  for (const each of element("view").querySelectorAll(".chosen")) {
    each.classList.remove("chosen");
  }
  chosen = line;
  const arrow = element(`a${line}`);
  element(`m${line}`)?.classList.add("chosen");
  arrow?.classList.add("chosen");
  arrow?.scrollIntoView({ block: "nearest" });
}

async function jump(line) {
  if (!rows.some(([each]) => each === line)) {
    element("filters").reset();
    await view(Math.max(1, line - 20), [1]);
  }
  choose(line);
}

async function step(by, isMatch) {
  const at = rows.findIndex(([line]) => line === chosen);
  const lines = by > 0 ? rows.slice(at + 1) : rows.slice(0, Math.max(at, 0)).reverse();
  const found = lines.find(isMatch);
  if (found) {
    choose(found[0]);
  } else if (by > 0 && next !== null) {
    await later();
    await step(by, isMatch);
  } else if (by < 0 && before.length) {
    await earlier();
    chosen = Infinity; // behind all of them
    const last = rows.findLast(isMatch);
    if (last) {
      choose(last[0]);
    }
  }
}

const any = () => true;
const violates = ([, isBad]) => isBad;
const KEYS = {
  j: () => step(1, any),
  k: () => step(-1, any),
  n: () => step(1, violates),
  p: () => step(-1, violates),
  "/": () => element("words").focus(),
  Escape: () => choose(0),
};

addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input, textarea, select");
  if (event.ctrlKey || event.metaKey || event.altKey || element("session").hidden) {
    return;
  }
  if (isTyping) {
    if (event.key === "Escape") {
      event.target.blur();
    }
    return;
  }
  if (event.key in KEYS) {
    event.preventDefault();
    KEYS[event.key]();
  }
});
element("view").onclick = (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link) { // #m and a line: its message; #a and a line: back to its arrow
    event.preventDefault();
    const [, where, line] = /^#([am])([0-9]+)$/.exec(link.getAttribute("href"));
    choose(where === "m" ? Number(line) : 0);
    element(`a${line}`)?.focus();
  }
};
element("report").onclick = ({ target }) => {
  if (target.dataset.line) {
    jump(Number(target.dataset.line));
  }
};
element("filters").onsubmit = (event) => event.preventDefault();
element("filters").onchange = () => view(1, []);
element("on").onclick = later;
element("back").onclick = earlier;

// ---- Sharing ----

async function share() {
  const answer = await ask("share", { index: shown });
  element("shared").textContent = answer.problem ?? "";
  return answer.problem ? undefined : answer;
}

function save(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href));
}

element("save").onclick = async () => {
  const answer = await share();
  if (answer) {
    save(answer.recording, "recording.jsonl");
  }
};
element("save-page").onclick = async () => {
  const answer = await share();
  if (answer) {
    save(answer.page, "recording.html");
  }
};
element("copy").onclick = async () => {
  const answer = await share();
  if (!answer) {
    return;
  }
  if (!answer.link) {
    element("shared").textContent = "The recording is too long for a link. Try: save it.";
    return;
  }
  const url = `${location.href.split("#")[0]}${LINK}${answer.link}`;
  await navigator.clipboard.writeText(url);
  element("shared").textContent = `Copied: a link of ${url.length} characters that holds the session.`;
};

async function followLink() {
  if (location.hash.startsWith(LINK)) {
    const packed = location.hash.slice(LINK.length);
    history.replaceState(null, "", location.pathname);
    if (!(await take(ask("link", { packed }), 0))) {
      await show(opened.at(-1)?.index);
    }
  }
}
addEventListener("hashchange", followLink);
followLink();

// ---- The prompt ----

element("prompt").onsubmit = async (event) => {
  event.preventDefault();
  const input = element("line");
  const line = input.value;
  input.value = "";
  const printed = element("printed");
  printed.textContent += `${element("mark").textContent} ${line}\n`;
  const answer = await ask("run", { line });
  printed.textContent += answer.problem ?? answer.printed;
  element("mark").textContent = answer.more ? "..." : ">>>";
  printed.scrollTop = printed.scrollHeight;
};
