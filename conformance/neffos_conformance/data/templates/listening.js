"use strict";
// Shows the state of the run, which it asks for every second. All text of a client is set as text.
const EVERY = 1000;
const HOMES = {
  fail: "wrong", error: "wrong", "non-strict": "wrong", informational: "wrong", skipped: "rest",
};
const get = (id) => document.getElementById(id);
const rows = new Map();

function row(each) {
  let element = rows.get(each.id);
  if (!element) {
    element = get("row").content.firstElementChild.cloneNode(true);
    element.querySelector(".id").textContent = each.id;
    element.querySelector(".title").textContent = each.title;
    element.querySelector(".requirement").textContent = each.requirement;
    element.querySelector(".own code").textContent = `${get("url").textContent}case/${each.id}`;
    rows.set(each.id, element);
  }
  const state = `${each.status}\n${each.why}\n${each.callable}`;
  if (element.dataset.state !== state) {
    element.dataset.state = state;
    element.className = `case ${each.status}`;
    element.querySelector(".verdict").textContent = each.status;
    element.querySelector(".why").textContent = each.why;
    element.querySelector(".why").hidden = !each.why;
    element.querySelector(".own").hidden = !each.callable;
  }
  const home = get(HOMES[each.status] ?? "judged");
  if (element.parentElement !== home) home.append(element);
}

function show(state) {
  get("notice").textContent = state.over ? "Every case has its result." : state.notice;
  get("notice").classList.remove("lost");
  get("bar").style.width = `${state.total ? (100 * state.done) / state.total : 0}%`;
  const others = state.driver ? `; ${state.driver} more need a driver` : "";
  get("share").textContent = `${state.done} of ${state.total} cases have a result${others}`;
  get("counts").replaceChildren(...state.counts.map(([verdict, count]) => {
    const chip = document.createElement("span");
    chip.className = `chip ${verdict}`;
    chip.textContent = `${count} ${verdict}`;
    return chip;
  }));
  const known = [
    state.peer && `The client calls itself ${state.peer}.`,
    state.namespace && `The client connects the namespace "${state.namespace}", which the cases use.`,
  ];
  get("client").textContent = known.filter(Boolean).join(" ");
  state.cases.forEach(row);
  const skipped = state.cases.filter((each) => each.status === "skipped").length;
  get("rest-title").textContent = `${skipped} cases are skipped`;
  get("rest-title").parentElement.hidden = !skipped;
}

let over = false;
async function poll() {
  try {
    const response = await fetch("/state.json", { cache: "no-store" });
    const state = await response.json();
    show(state);
    over = state.over;
  } catch {
    get("notice").textContent = over
      ? "The run has ended: its report is where the command says."
      : "The suite does not answer: the run has ended, or the network is lost.";
    get("notice").classList.toggle("lost", !over);
  }
  setTimeout(poll, EVERY);
}

if (navigator.clipboard) {
  get("copy").hidden = false;
  get("copy").addEventListener("click", () => navigator.clipboard.writeText(get("url").textContent));
}
poll();
