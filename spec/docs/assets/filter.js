/* Filters the table of requirements by role, level, class and implementation; the address keeps the choice. */
(() => {
  const table = document.querySelector("table.requirements");
  if (!table) return;
  const rows = [...table.querySelectorAll("tr[data-level]")];
  const peers = [...table.querySelectorAll("th[data-peer]")].map((head) => head.dataset.peer);
  const choices = {
    role: ["applies to", ["client", "server", "codec"], (row, value) => row.dataset.role.split(" ").includes(value)],
    level: ["level", ["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY"], (row, value) => row.dataset.level === value],
    class: ["class", ["interoperable", "complete only"], (row, value) => row.dataset.class === value],
    violated: ["violated by", peers, (row, value) => row.dataset.violated.split("|").includes(value)],
    text: ["contains", null, (row, value) => row.textContent.toLowerCase().includes(value.toLowerCase())],
  };
  const form = document.createElement("form");
  form.className = "filter";
  form.setAttribute("aria-label", "Filter of requirements");
  for (const [name, [label, values]] of Object.entries(choices)) {
    const element = document.createElement("label");
    const field = document.createElement(values ? "select" : "input");
    field.name = name;
    if (values) for (const value of ["any", ...values]) field.add(new Option(value, value === "any" ? "" : value));
    else field.type = "search";
    element.append(`${label} `, field);
    form.append(element);
  }
  const count = document.createElement("output");
  form.append(count);
  const apply = () => {
    const chosen = Object.keys(choices).map((name) => [name, form.elements[name].value]).filter(([, value]) => value);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !chosen.every(([name, value]) => choices[name][2](row, value));
      shown += !row.hidden;
    }
    for (const body of table.tBodies) body.hidden = ![...body.rows].some((row) => row.dataset.level && !row.hidden);
    count.value = `${shown} of ${rows.length} requirements`;
    const query = new URLSearchParams(chosen).toString();
    if (location.protocol !== "file:") history.replaceState(null, "", `${location.pathname}${query && `?${query}`}${location.hash}`);
  };
  const given = new URLSearchParams(location.search);
  for (const name of Object.keys(choices)) form.elements[name].value = given.get(name) ?? "";
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  table.closest(".wide").before(form);
  apply();
})();
