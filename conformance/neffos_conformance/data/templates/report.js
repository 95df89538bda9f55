
"use strict";
// Everything is put into the page as text: what a peer said is never read as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const cases = [...document.querySelectorAll(".case")];
  const chips = [...document.querySelectorAll(".chip")];
  const search = find("search");
  const selects = ["family", "level", "applies_to"].map(find);
  const SCROLLED = 150; // characters of a payload that may have to be scrolled, also by key

  const make = (name, className, ...children) => {
    const element = document.createElement(name);
    if (className) element.className = className;
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };

  const withCode = (text) => text.split("`").map((part, index) => (index % 2 ? make("code", "", part) : part));

  // ---- filters

  const haystacks = new Map();
  const haystack = (element) => {
    if (!haystacks.has(element)) {
      const found = data.cases[element.id];
      const parts = [element.querySelector("summary").textContent, ...found.facts.map((fact) => fact[1]),
        ...found.steps.map((line) => line[1]),
        ...found.rows.flatMap((row) => [row.words, row.payload]),
        ...found.requirements.flatMap((id) => [id, data.requirements[id].text])];
      haystacks.set(element, parts.join("\n").toLowerCase());
    }
    return haystacks.get(element);
  };

  const fits = (element, words, verdicts, marks) => {
    const [family, level, applies_to] = selects.map((select) => select.value);
    const rules = data.cases[element.id].requirements.map((id) => data.requirements[id]);
    return (!verdicts.length || verdicts.includes(element.dataset.verdict))
      && marks.every((mark) => mark in element.dataset)
      && (!family || element.dataset.family === family)
      && (!level || rules.some((rule) => rule.level === level))
      && (!applies_to || rules.some((rule) => rule.applies_to.includes(applies_to)))
      && words.every((word) => haystack(element).includes(word));
  };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const pressed = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true");
    const verdicts = pressed.map((chip) => chip.dataset.verdict).filter(Boolean);
    const marks = pressed.map((chip) => chip.dataset.mark).filter(Boolean);
    let shown = 0;
    for (const element of cases) {
      element.hidden = !fits(element, words, verdicts, marks);
      shown += element.hidden ? 0 : 1;
    }
    find("shown").textContent = `${shown} of ${cases.length} cases`;
    find("none").hidden = shown > 0;
  };

  const reset = () => {
    search.value = "";
    for (const select of selects) select.value = "";
    for (const chip of chips) chip.setAttribute("aria-pressed", "false");
    filter();
  };

  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      filter();
    });
  }
  for (const select of selects) select.addEventListener("change", filter);
  search.addEventListener("input", filter);
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("reset").addEventListener("click", reset);

  const unfold = find("unfold");
  unfold.addEventListener("click", () => {
    const isOpening = unfold.textContent === "Open all";
    for (const element of cases) if (!element.hidden) element.open = isOpening;
    unfold.textContent = isOpening ? "Close all" : "Open all";
  });

  // ---- a case

  const hexdump = (row) => {
    const bytes = row.hex === undefined ? new TextEncoder().encode(row.payload)
      : Uint8Array.from(row.hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
    const lines = [];
    for (let start = 0; start < bytes.length; start += 8) {
      const part = [...bytes.subarray(start, start + 8)];
      const hex = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
      const text = part.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·"));
      lines.push(`${start.toString(16).padStart(4, "0")}  ${hex.padEnd(23)}  ${text.join("")}`);
    }
    if (row.size) lines.push(`… ${row.size} in all`);
    return lines.join("\n");
  };

  const arrow = (row, lives, isMany) => {
    if (row.gap) return make("li", "gap", `… ${row.gap} more …`);
    const to = row.from === "client" ? "server" : "client";
    const from = row.from ? ` from-${row.from}` : "";
    const item = make("li", `row ${row.kind}${from}${row.bad ? " is-bad" : ""}`);
    item.style.setProperty("--life", String(Math.max(0, lives.indexOf(row.connection))));
    const on = isMany ? `, connection ${row.connection}` : "";
    const said = row.kind === "missing" ? `missing${on}: `
      : `${row.from} to ${to}${on}${row.bad ? ", failing" : ""}: `;
    const words = row.kind === "missing" ? `missing: ${row.words}` : row.words;
    item.append(make("span", "hidden", said), make("div", "words", words));
    if (row.kind === "missing") return item;
    item.append(make("div", "shaft"));
    const below = make("div", "below");
    if (row.time !== undefined) below.append(make("time", "", `${row.time.toFixed(1)} ms`));
    item.append(below);
    if (row.payload !== undefined) {
      const size = row.size ? `… ${row.size} in all` : "";
      const payload = make("code", "", `${row.binary ? "binary " : ""}${row.payload}${size}`);
      if (row.payload.length > SCROLLED) payload.tabIndex = 0;
      below.append(payload);
      const button = make("button", "", "bytes");
      button.type = "button";
      button.setAttribute("aria-expanded", "false");
      button.addEventListener("click", () => {
        const shown = item.querySelector(".bytes");
        if (shown) shown.remove();
        else {
          const dump = make("pre", "bytes", hexdump(row));
          dump.tabIndex = 0;
          item.append(dump);
        }
        button.setAttribute("aria-expanded", String(!shown));
      });
      below.append(button);
    }
    return item;
  };

  const drawing = (rows) => {
    const numbers = rows.map((row) => row.connection).filter(Boolean);
    const lives = [...new Set(numbers)].sort((a, b) => a - b).slice(0, 6);
    const isMany = lives.length > 1;
    const list = make("ol", "sequence");
    list.style.setProperty("--lives", String(Math.max(1, lives.length)));
    list.setAttribute("aria-label", "Log");
    const life = (left, label) => {
      const line = make("li", "life", label ? make("span", "", label) : null);
      line.setAttribute("aria-hidden", "true");
      line.style.left = left;
      list.append(line);
    };
    (isMany ? lives : [1]).forEach((number, index) => {
      life(`calc(var(--client) + ${index} * var(--step))`, isMany ? String(number) : "");
    });
    life("calc(100% - var(--server))", "");
    list.append(...rows.map((row) => arrow(row, lives, isMany)));
    const names = { client: "client", server: "server" };
    names[data.role === "client" ? "server" : "client"] += ", played by the suite";
    if (data.role === "codec") Object.assign(names, { client: "the suite", server: "the codec" });
    const heads = make("div", "peers", make("span", "", names.client), make("span", "", names.server));
    if (isMany) heads.style.paddingBottom = "1.1rem";
    return [heads, list];
  };

  const copy = async (text, node, button) => {
    let isDone = false;
    try {
      await navigator.clipboard.writeText(text);
      isDone = true;
    } catch { // no leave, or an old browser: it is selected, to be copied by hand
      const range = document.createRange();
      range.selectNodeContents(node);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      try { isDone = document.execCommand("copy"); } catch { isDone = false; }
    }
    button.textContent = isDone ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };

  const pair = (list, name, value, className) => {
    list.append(make("dt", "", name), make("dd", className ?? "", value));
  };

  const fill = (element) => {
    const body = element.querySelector(".body");
    if (body.dataset.full) return;
    body.dataset.full = "yes";
    const found = data.cases[element.id];
    body.replaceChildren();
    const wrong = make("dl", "wrong");
    for (const [name, text] of found.facts) {
      if (name === "expected" || name === "actual") pair(wrong, name, make("code", "", text));
      else pair(wrong, name, text, name === "problem" ? "is" : "");
    }
    if (wrong.children.length) body.append(wrong);
    if (found.known) {
      const { reason, link, source } = found.known;
      const aside = make("div", "aside", make("p", "", `Known failure: ${reason}`));
      if (/^https?:\/\//.test(link)) {
        const anchor = make("a", "", link);
        anchor.href = link;
        anchor.rel = "noreferrer";
        aside.append(make("p", "", anchor));
      } else aside.append(make("p", "faint", link));
      if (source) aside.append(make("p", "faint", source));
      body.append(aside);
    }
    const left = make("div");
    left.append(make("h2", "", "Log"));
    if (found.rows.length) left.append(...drawing(found.rows));
    else left.append(make("p", "faint", "nothing"));
    const right = make("div");
    if (found.steps.length) {
      const script = make("ol", "script");
      for (const [number, text, leadsUp] of found.steps) {
        const line = make("li", [leadsUp ? "up" : "", number === found.step ? "bad" : ""].join(" ").trim(), text);
        line.value = number;
        script.append(line);
      }
      right.append(make("h2", "", "Script"), script);
    }
    const list = make("ul", "sentences");
    for (const id of found.requirements) {
      const rule = data.requirements[id];
      list.append(make("li", "", make("b", "", id), " ", make("span", "level", rule.level), " ",
        ...withCode(rule.text)));
    }
    right.append(make("h2", "", "Requirements"), list);
    body.append(make("div", "columns", left, right));
    const code = make("code", "", found.rerun);
    const button = make("button", "", "Copy");
    button.type = "button";
    button.addEventListener("click", () => copy(found.rerun, code, button));
    body.append(make("div", "rerun", make("span", "faint", "Rerun:"), code, button));
  };

  for (const element of cases) {
    element.addEventListener("toggle", () => {
      if (!element.open) return;
      fill(element);
    });
    element.querySelector("summary").addEventListener("click", () => {
      if (!element.open) history.replaceState(null, "", `#${element.id}`);
    });
  }

  const openNamed = () => {
    const element = cases.find((each) => each.id === decodeURIComponent(location.hash.slice(1)));
    if (!element) return;
    if (element.hidden) reset();
    element.open = true;
    fill(element);
    element.scrollIntoView();
  };
  addEventListener("hashchange", openNamed);

  // ---- keys

  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, select, textarea");
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "Escape" && event.target === search) {
      event.preventDefault();
      if (search.value) {
        search.value = "";
        filter();
      } else search.blur();
    } else if (event.key === "Escape") {
      const element = event.target.closest(".case[open]");
      if (!element) return;
      element.open = false;
      element.querySelector("summary").focus();
    }
  });

  // ---- light and dark

  const theme = find("theme");
  const themes = ["auto", "light", "dark"];
  const setTheme = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    theme.querySelector("span").textContent = name;
  };
  const remembered = () => {
    try { return localStorage.getItem("neffos-wire-theme"); } catch { return null; }
  };
  let current = themes.includes(remembered()) ? remembered() : "auto";
  theme.addEventListener("click", () => {
    current = themes[(themes.indexOf(current) + 1) % themes.length];
    setTheme(current);
    try { localStorage.setItem("neffos-wire-theme", current); } catch { /* not remembered, then */ }
  });

  // ---- paper: what is shown and did not pass is printed whole

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = cases.filter((each) => !each.hidden && !each.open
      && !["pass", "skipped"].includes(each.dataset.verdict));
    for (const element of opened) {
      fill(element);
      element.open = true;
    }
  });
  addEventListener("afterprint", () => {
    for (const element of opened) element.open = false;
  });

  for (const bar of document.querySelectorAll("[data-share]")) bar.style.width = `${bar.dataset.share}%`;
  setTheme(current);
  theme.hidden = false;
  find("filters").hidden = false;
  filter();
  openNamed();
})();
