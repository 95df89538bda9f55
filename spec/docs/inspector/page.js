// The frame inspector's page: what is typed goes to the codec, and what comes of it is shown.
//
// All that it shows is set as text, never as markup. Nothing leaves the page. A plain script, as
// codec.js is.

"use strict";

(() => {
  const { FIELDS } = neffosCodec;
  const { explain, fieldMeanings, labelOf, shortened, visible } = neffosMeaning;

  const SHOWN = 400; // characters of a field that are shown, enough for some lines
  const LONGEST_LINK = 8000; // characters of a link; mail programs and chats cut longer ones
  const QUIET = 500; // milliseconds without typing before the result is read out

  const EXAMPLES = [
    ["Handshake request", { message: "M" }],
    ["Acceptance", { message: "A5f0c6f1e" }],
    ["Refusal", { message: "Hcome back later" }],
    ["Connect a namespace", { message: "$1;app;;_OnNamespaceConnect;0;0;" }],
    ["Empty reply", { message: "$1;;;;;;" }],
    ["Refused", { message: "$1;app;;_OnNamespaceConnect;1;0;bad namespace" }],
    ["Join a room", { message: "$2;app;lobby;_OnRoomJoin;0;0;" }],
    ["Event", { message: ";app;lobby;say;0;0;hi; there" }],
    ["Client's ask", { message: "$3;app;;say;0;0;hi" }],
    ["Server's ask", { message: "1700000000000000000;app;;say;0;0;hi", sender: "server" }],
    ["Escaped name", { message: ";a@%!semicolon@%!b;;say;0;0;hi" }],
    ["Binary body", { hex: "3b6170703b3b7361793b303b303b00ff10", kind: "binary" }],
    ["Odd flag", { message: ";app;;say;true;0;hi" }],
    ["Error without a text", { message: "$1;app;;say;1;0;" }],
    ["A client's wrong token", { message: "7;app;;_OnNamespaceConnect;0;0;", sender: "client" }],
    ["Too few separators", { message: "$1;app;;say;0;0" }],
    ["Native message", { message: "hello", native: "fallback" }],
    ["Not UTF-8", { hex: "3b6170703bff3b7361793b303b303b6869" }],
  ];
  const FIRST = { message: "$1;chat;lobby;say;0;0;hi; there" };

  const byId = (id) => document.getElementById(id);
  const input = byId("fi-input");
  if (!input) return;
  const form = byId("fi-form");
  const build = byId("fi-build");
  const result = byId("fi-result");

  // ---- Elements ----

  /** Make an element; children that are texts stay texts. */
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children.flat().filter((child) => child !== null));
    return made;
  }

  /** The page of a requirement. */
  const addressOf = (requirement) => `requirements/${requirement}.html`;
  const linkTo = (requirement) => element("a", { href: addressOf(requirement) }, requirement);

  /** Give a sentence of ours whose last word may be a requirement in brackets. */
  function linked(sentence) {
    const [, said, requirement] = /^(.*\()([A-Z]+-\d+)\)$/su.exec(sentence) ?? [];
    return requirement ? [said, linkTo(requirement), ")"] : [sentence];
  }

  // ---- Hex ----

  /** Read hex as people write it; gives the bytes, or says what is wrong. */
  function bytesOfHex(text) {
    const digits = text.replace(/0x|\\x|[\s:,]/giu, "");
    const wrong = /[^0-9a-f]/iu.exec(digits);
    if (wrong)
      return { error: `Hex has the digits 0 to 9 and a to f, not '${visible(wrong[0])}'.` };
    if (digits.length % 2) return { error: "Hex has two digits for each byte; one is missing." };
    const pairs = digits.match(/../gu) ?? [];
    return { bytes: Uint8Array.from(pairs, (pair) => parseInt(pair, 16)) };
  }

  const spaced = (bytes) => neffosCodec.hexOf(bytes).replace(/..(?=.)/gu, "$& ");

  /** Give bytes as a text that a text field keeps as it is, or null. */
  function textKept(bytes) {
    const text = neffosCodec.textOf(bytes);
    return /[\r\p{Surrogate}]/u.test(text) ? null : text;
  }

  /** Give what is written in a field as a payload of a kind, or the error. */
  function contentOf(text, written, kind) {
    const { bytes, error } =
      written === "hex" ? bytesOfHex(text) : { bytes: neffosCodec.bytesOf(text) };
    if (error) return { error };
    if (kind === "binary") return { content: bytes };
    return { content: written === "hex" ? neffosCodec.textOf(bytes) : text };
  }

  function complain(field, message) {
    const error = byId(`${field.id}-error`);
    error.replaceChildren(...(message ? [message].flat() : []));
    if (message) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }

  /** Turn text into hex, or back where a text field can hold it. */
  function rewrite(field, options) {
    if (options.written.value === "hex") {
      field.value = spaced(neffosCodec.bytesOf(field.value));
      return true;
    }
    const { bytes } = bytesOfHex(field.value);
    const text = bytes ? textKept(bytes) : null;
    if (text === null) {
      options.written.value = "hex";
      return false;
    }
    field.value = text;
    return true;
  }

  // ---- Inspecting ----

  let shown = null; // what is shown, for the buttons below it

  function inspect() {
    const options = form.elements;
    const { content, error } = contentOf(input.value, options.written.value, options.kind.value);
    complain(input, error);
    if (error) {
      shown = null;
      result.replaceChildren();
      announce("");
    } else {
      const { sender, moment, native } = options;
      shown = explain(content, {
        sender: sender.value,
        moment: moment.value,
        native: native.value,
      });
      show(shown, content);
    }
    byId("fi-edit").disabled = !shown?.message;
    byId("fi-answer").disabled = !shown?.message?.wait;
    byId("fi-copy-link").disabled = !shown || linkOf() === null;
    byId("fi-action-note").textContent = "";
    keepLink();
  }

  const FORMS = {
    frame: "frame",
    native: "native message",
    handshake: "handshake message",
    none: "message that is not a frame",
    empty: "empty message",
  };

  function show(told, payload) {
    const isText = neffosCodec.isText(payload);
    const bytes = isText ? neffosCodec.bytesOf(payload) : payload;
    const kind = isText ? "text" : "binary";
    const length = `${bytes.length.toLocaleString("en")} byte${bytes.length === 1 ? "" : "s"}`;
    const article = told.form === "empty" ? "An" : `A ${kind}`;
    const title = `${article} ${FORMS[told.form]}, ${length}`;
    const sayings = [...told.saying].sort((one, two) => one.broken.length - two.broken.length);
    result.replaceChildren(
      element("p", {}, element("strong", { id: "fi-title" }, title)),
      ...(told.message ? [showBar(bytes, isText)] : []),
      ...sayings.map((saying) => showSaying(saying, sayings.length > 1)),
      ...(told.message ? [showTable(told.message, bytes)] : []),
      element("p", { class: "fi-readings" }, ...showReadings(told.readings)),
    );
    announce([title, ...sayings.map(spoken)].join(". "));
  }

  function showSaying({ role, sentence, broken, depends }, isOneOfTwo) {
    const who = { client: "If the client sends it", server: "If the server sends it" }[role];
    const list = (found) =>
      element(
        "ul",
        {},
        found.map(({ requirement, explanation }) =>
          element("li", {}, linkTo(requirement), " ", ...linked(explanation)),
        ),
      );
    const parts = [
      isOneOfTwo ? element("p", { class: "fi-who" }, who) : null,
      element("p", { class: "fi-sentence" }, sentence),
      element("p", { class: "fi-verdict" }, verdict(broken)),
      broken.length ? list(broken) : null,
    ];
    if (depends.length) {
      const heading = element("p", {}, "Depends on what came before, or follows from it:");
      parts.push(element("div", { class: "fi-depends" }, heading, list(depends)));
    }
    const name = broken.length ? "fi-saying fi-is-broken" : "fi-saying";
    return element("div", { class: name, "data-role": role }, parts);
  }

  function verdict(broken) {
    if (!broken.length) return "Breaks no requirement";
    return broken.length === 1 ? "Breaks a requirement" : `Breaks ${broken.length} requirements`;
  }

  function spoken({ role, sentence, broken }) {
    const ids = broken.map(({ requirement }) => requirement).join(", ");
    return `${sentence} ${broken.length ? `Breaks ${ids}` : "Breaks no requirement"}`;
  }

  function showReadings(readings) {
    const outcome = ({ refusal }) => {
      if (!refusal) return ["accepted"];
      const where = refusal.field ? `${labelOf(refusal.field)}, ` : "";
      return [
        `refused (${refusal.reason}, ${where}offset ${refusal.offset}, `,
        linkTo(refusal.requirement),
        ")",
      ];
    };
    return [
      "Lenient decoding: ",
      ...outcome(readings.lenient),
      ". Strict decoding: ",
      ...outcome(readings.strict),
      ".",
    ];
  }

  let announcing = 0;

  /** Have a result read out, once the typing has stopped. */
  function announce(text) {
    clearTimeout(announcing);
    announcing = setTimeout(() => {
      byId("fi-status").textContent = text;
    }, QUIET);
  }

  // ---- The fields ----

  /** Give where each field begins and ends, in bytes. */
  function spans(bytes) {
    const ends = [...neffosCodec.separators(bytes), bytes.length];
    return ends.map((end, index) => [index ? ends[index - 1] + 1 : 0, end]);
  }

  /** Give the bytes of a field as they are shown: text where they are text, else hex. */
  function shownBytes(bytes, isText) {
    const start = bytes.subarray(0, 4 * SHOWN + 4);
    if (isText) return visible(shortened(neffosCodec.textOf(start), SHOWN));
    const text = neffosCodec.textOf(start);
    const isReadable = !/[\p{Surrogate}\p{Cc}]/u.test(
      start.length < bytes.length ? text.slice(0, -2) : text,
    );
    if (isReadable) return visible(shortened(text, SHOWN));
    return shortened(spaced(start.subarray(0, SHOWN)), SHOWN);
  }

  function showBar(bytes, isText) {
    const parts = spans(bytes).map(([start, end], index) => {
      const name = FIELDS[index];
      const isBody = name === "body";
      const piece = shownBytes(bytes.subarray(start, end), isText || !isBody);
      return element(
        "div",
        { class: "fi-part", "data-field": name },
        element(
          "div",
          {},
          element("span", { class: "fi-piece" }, piece),
          isBody ? null : element("span", { class: "fi-separator" }, ";"),
        ),
        element("small", {}, labelOf(name)),
      );
    });
    // The table below says the same to who cannot see it.
    return element("div", { class: "fi-bar", "aria-hidden": "true" }, parts);
  }

  function showTable(message, bytes) {
    const meanings = fieldMeanings(message);
    const columns = ["Field", "Bytes", "Value", "Meaning"];
    const head = columns.map((each) => element("th", { role: "columnheader", scope: "col" }, each));
    const rows = spans(bytes).map(([start, end], index) => {
      const name = FIELDS[index];
      return element(
        "tr",
        { role: "row", "data-field": name },
        element("th", { role: "rowheader", scope: "row" }, labelOf(name)),
        element("td", { role: "cell" }, placeOf(start, end)),
        element("td", { role: "cell" }, ...showValue(message[name], bytes.subarray(start, end))),
        element("td", { role: "cell" }, ...linked(meanings[name])),
      );
    });
    // The roles keep it a table where the style makes cards of its rows.
    return element(
      "table",
      { class: "fi-table", role: "table", "aria-label": "The seven fields" },
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, head)),
      element("tbody", { role: "rowgroup" }, rows),
    );
  }

  function placeOf(start, end) {
    if (start === end) return `none, at ${start}`;
    return end - start === 1 ? `${start}` : `${start} to ${end - 1}`;
  }

  function showValue(value, bytes) {
    if (typeof value === "boolean") {
      const raw = neffosCodec.textOf(bytes.subarray(0, 40));
      const isUsual = raw === (value ? "1" : "0");
      if (isUsual) return [String(value)];
      return raw
        ? [`${value}, written `, element("code", {}, visible(raw))]
        : [`${value}, left empty`];
    }
    if (!value.length) return ["empty"];
    if (!neffosCodec.isText(value)) return [element("code", {}, shownBytes(value, false))];
    return [element("code", {}, visible(shortened(value, SHOWN)))];
  }

  // ---- Links ----

  /** Give what is typed as the part of a link behind #, or null where it would be too long. */
  function linkOf() {
    const { written, kind, sender, moment, native } = form.elements;
    const isHex = written.value === "hex";
    const parts = new URLSearchParams(
      isHex ? { hex: input.value.replace(/\s/gu, "") } : { message: input.value },
    );
    if (kind.value !== "text") parts.set("kind", kind.value);
    if (sender.value !== "either") parts.set("sender", sender.value);
    if (moment.value !== "auto") parts.set("moment", moment.value);
    if (native.value !== "never") parts.set("native", native.value);
    const link = `#${parts}`;
    return link.length <= LONGEST_LINK ? link : null;
  }

  /** Keep the address in step with what is typed, without a step back for each key. */
  function keepLink() {
    const link = shown ? linkOf() : null;
    if (link === null || isFresh) return;
    try {
      history.replaceState(history.state, "", link);
    } catch {
      // Some browsers allow it only so often, or not at all for files.
    }
  }

  let isFresh = true; // nothing has been typed, and the address is as it was opened

  /** Read what a link says; gives whether it says anything. */
  function follow(link) {
    const parts = new URLSearchParams(link.replace(/^#/u, ""));
    if (!parts.has("message") && !parts.has("hex")) return false;
    fill(Object.fromEntries(parts));
    return true;
  }

  function fill({ message, hex, kind, sender, moment, native }) {
    const options = form.elements;
    options.written.value = hex === undefined ? "text" : "hex";
    input.value = hex === undefined ? message : hex.replace(/[0-9a-f]{2}(?=[0-9a-f])/giu, "$& ");
    choose(options.kind, kind, "text");
    choose(options.sender, sender, "either");
    choose(options.moment, moment, "auto");
    choose(options.native, native, "never");
    inspect();
  }

  /** Choose a value that there is, or else the default. */
  function choose(field, value, usual) {
    field.value = value ?? usual;
    if (field.value !== value) field.value = usual;
  }

  // ---- Copying ----

  async function copy(text, note) {
    note.textContent = (await copied(text)) ? "Copied." : "It could not be copied; select it.";
  }

  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // No permission, or a page that came over plain HTTP.
    }
    const field = element("textarea", { readonly: "", style: "position:fixed;opacity:0" });
    field.value = text;
    const active = document.activeElement;
    document.body.append(field);
    field.select();
    try {
      return document.execCommand("copy");
    } finally {
      field.remove();
      active?.focus();
    }
  }

  // ---- Building ----

  let built = null; // the payload of the builder, or null

  function rebuild() {
    const options = build.elements;
    const errors = {};
    const fields = { is_error: options.is_error.checked, is_no_op: options.is_no_op.checked };
    for (const name of FIELDS.slice(0, 4)) fields[name] = options[name].value;
    const body = contentOf(options.body.value, options.written.value, options.kind.value);
    if (body.error) errors.body = [body.error];
    else fields.body = body.content;
    // Each field by itself, so that every one that has to change says so.
    for (const name of Object.keys(fields)) {
      try {
        neffosCodec.message({ [name]: fields[name] });
      } catch (error) {
        errors[name] = refusal(error);
      }
    }
    if (fields.is_error && fields.body?.length === 0) {
      errors.body = [
        "An error has a text: without one it reads as success (",
        linkTo("FR-9"),
        ").",
      ];
    }
    for (const name of [...FIELDS.slice(0, 4), "body"]) complain(byId(`fi-${name}`), errors[name]);
    const wrong = Object.keys(errors);
    built = wrong.length ? null : neffosCodec.encode(neffosCodec.message(fields));
    showBuilt(fields, wrong);
  }

  function refusal(error) {
    if (!(error instanceof neffosCodec.CodecError)) throw error;
    const at = `, at ${error.offset} (`;
    return [
      error.message[0].toUpperCase() + error.message.slice(1) + at,
      linkTo(error.requirement),
      ").",
    ];
  }

  function showBuilt(fields, wrong) {
    const note = byId("fi-built-note");
    const bytes = built === null ? null : asBytes(built);
    const text = bytes && textKept(bytes);
    byId("fi-built").value = text ?? "";
    byId("fi-built-hex").value = bytes ? spaced(bytes) : "";
    byId("fi-built").placeholder = bytes ? "not text: see the hex" : "";
    byId("fi-copy").disabled = text === null;
    byId("fi-copy-hex").disabled = bytes === null;
    byId("fi-inspect").disabled = bytes === null;
    byId("fi-copy-note").textContent = "";
    let said;
    if (bytes === null) {
      said = [`No frame can carry this; see ${wrong.map(labelOf).join(", ")}.`];
    } else {
      const kind = neffosCodec.isText(built) ? "text" : "binary";
      said = [`A ${kind} frame of ${bytes.length.toLocaleString("en")} bytes.`];
      if (neffosCodec.isEmptyReply(fields)) {
        said.push(" The empty reply is written in its short form (", linkTo("FR-13"), ").");
      }
    }
    // Not set again where it says the same, so that it is read out only when it changes.
    const old = note.textContent;
    const next = element("span", {}, ...said);
    if (next.textContent !== old) note.replaceChildren(next);
  }

  const asBytes = (payload) =>
    neffosCodec.isText(payload) ? neffosCodec.bytesOf(payload) : payload;

  /** Put a message into the builder; gives whether its fields can hold it. */
  function edit(message) {
    const options = build.elements;
    // A field of one line would drop a line break without a word.
    if (FIELDS.slice(0, 4).some((name) => /[\r\n]/u.test(message[name]))) return false;
    for (const name of FIELDS.slice(0, 4)) options[name].value = message[name];
    options.is_error.checked = message.is_error;
    options.is_no_op.checked = message.is_no_op;
    const isText = neffosCodec.isText(message.body);
    const bytes = asBytes(message.body);
    const text = textKept(bytes);
    options.kind.value = isText ? "text" : "binary";
    options.written.value = text === null ? "hex" : "text";
    options.body.value = text ?? spaced(bytes);
    rebuild();
    return true;
  }

  function editFrom(message, focused) {
    if (edit(message)) {
      byId("fi-builder").scrollIntoView();
      byId(focused).focus();
    } else {
      byId("fi-action-note").textContent =
        "A name with a line break does not fit into the builder.";
    }
  }

  /** Give the reply that a peer would build: "done" to what the protocol asks, else a body. */
  function replyTo(message) {
    const isChange = /^_On(?:Namespace(?:Connect|Disconnect)|Room(?:Join|Leave))$/u;
    return isChange.test(message.event)
      ? neffosCodec.emptyReply(message)
      : neffosCodec.reply(message);
  }

  // ---- Events ----

  const onClick = (id, action) => byId(id).addEventListener("click", action);

  function start() {
    for (const [name, example] of EXAMPLES) {
      const button = element("button", { type: "button" }, name);
      button.addEventListener("click", () => {
        isFresh = false;
        fill(example);
      });
      byId("fi-example-buttons").append(button);
    }
    for (const each of [form, build])
      each.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", ({ target }) => {
      isFresh = false;
      if (target.name === "written" && !rewrite(input, form.elements)) {
        inspect();
        complain(input, "This is not hex of a text that a text field keeps; it stays hex.");
        return;
      }
      inspect();
    });
    build.addEventListener("input", ({ target }) => {
      const isKept = target.name !== "written" || rewrite(byId("fi-body"), build.elements);
      rebuild();
      if (!isKept)
        complain(
          byId("fi-body"),
          "This is not hex of a text that a text field keeps; it stays hex.",
        );
    });
    onClick("fi-copy-link", () => {
      const address = new URL(linkOf(), location.href);
      return copy(address.href, byId("fi-action-note"));
    });
    onClick("fi-edit", () => editFrom(shown.message, "fi-wait"));
    onClick("fi-answer", () => {
      try {
        editFrom(replyTo(shown.message), "fi-body");
      } catch (error) {
        byId("fi-action-note").replaceChildren(...refusal(error));
      }
    });
    onClick("fi-copy", () => copy(textKept(asBytes(built)), byId("fi-copy-note")));
    onClick("fi-copy-hex", () => copy(neffosCodec.hexOf(asBytes(built)), byId("fi-copy-note")));
    onClick("fi-inspect", () => {
      const kind = neffosCodec.isText(built) ? "text" : "binary";
      const text = textKept(asBytes(built));
      isFresh = false;
      fill(
        text === null ? { hex: neffosCodec.hexOf(asBytes(built)), kind } : { message: text, kind },
      );
      byId("fi-inspector").scrollIntoView();
      input.focus();
    });
    for (const role of ["client", "server"]) {
      onClick(`fi-${role}-token`, () => {
        byId("fi-wait").value = neffosCodec.makeToken(role === "client");
        rebuild();
      });
    }
    window.addEventListener("hashchange", () => follow(location.hash));
    if (!follow(location.hash)) fill(FIRST);
    rebuild();
  }

  start();
})();
