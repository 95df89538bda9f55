// The codec of the frame inspector: what neffos_codec reads and writes, for a browser.
//
// It owns no words about the protocol and knows no page. A plain script and no module, since a
// browser loads no modules for a page that was opened from a file; it leaves one name behind,
// `neffosCodec`. The tests ask it every vector, and much more beside neffos_codec.
//
// Text is a string and binary a Uint8Array, both ways. A byte of a text that is not UTF-8 is
// kept as the surrogate U+DC00 plus its value, as Python keeps it, so that it can be shown where
// it stands. Offsets count code points in text and bytes in binary.

"use strict";

globalThis.neffosCodec = (() => {
  const ESCAPE = "@%!semicolon@%!"; // what stands for ";" in a namespace, room or event (FR-3)
  const SEPARATORS = 6; // those behind them belong to the body (FR-1)
  const FIELDS = Object.freeze([
    "wait",
    "namespace",
    "room",
    "event",
    "is_error",
    "is_no_op",
    "body",
  ]);
  const TEXTS = FIELDS.slice(0, 4);
  const ESCAPED = FIELDS.slice(1, 4);

  /** The requirement that each reason rests on. */
  const REQUIREMENT_OF = Object.freeze({
    empty: "FR-14",
    "payload-type": "FR-11",
    "payload-too-large": "SEC-1",
    "field-too-long": "SEC-1",
    utf8: "FR-12",
    separators: "FR-2",
    flag: "FR-6",
    "handshake-letter": "HS-1",
    "handshake-trailing": "HS-2",
    "handshake-binary": "HS-5",
    "handshake-id": "HS-6",
    "wait-separator": "FR-5",
    "escape-literal": "FR-4",
    "empty-error-text": "FR-9",
    "no-wait": "FR-13",
    "native-mode": "NM-1",
    "native-looks-like-frame": "NM-3",
  });

  /** Every refusal of the codec, with what, where and which requirement. */
  class CodecError extends Error {
    constructor(reason, explanation, offset = 0, field = null) {
      super(explanation);
      this.name = "CodecError";
      this.reason = reason;
      this.requirement = REQUIREMENT_OF[reason];
      this.offset = offset;
      this.field = field;
    }
  }

  // ---- Text and bytes ----

  const LONE_SURROGATE = /\p{Surrogate}/u; // with the flag u it finds no half of a pair
  const LONE_SURROGATES = /\p{Surrogate}/gu;
  const utf8 = new TextEncoder();
  const fatal = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  const isText = (value) => typeof value === "string";

  /** Count the code points of a text, or of its first units. */
  function points(text, end = text.length) {
    let count = 0;
    for (let at = 0; at < end; at += text.codePointAt(at) > 0xffff ? 2 : 1) count += 1;
    return count;
  }

  /** Give how many bytes form the character at a place, and 0 where they form none. */
  function sequence(bytes, at) {
    const first = bytes[at];
    if (first < 0x80) return 1;
    const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (!length || at + length > bytes.length) return 0;
    const second = bytes[at + 1];
    if (first === 0xe0 && second < 0xa0) return 0; // overlong
    if (first === 0xed && second > 0x9f) return 0; // a surrogate
    if (first === 0xf0 && second < 0x90) return 0; // overlong
    if (first === 0xf4 && second > 0x8f) return 0; // behind the last character
    for (let next = at + 1; next < at + length; next += 1) {
      if ((bytes[next] & 0xc0) !== 0x80) return 0;
    }
    return length;
  }

  /** Give the place of the first byte that belongs to no character, or -1. */
  function firstBroken(bytes) {
    for (let at = 0, length; at < bytes.length; at += length) {
      length = sequence(bytes, at);
      if (!length) return at;
    }
    return -1;
  }

  /** Read bytes as UTF-8; those that are none become surrogates. */
  function textOf(bytes) {
    try {
      return fatal.decode(bytes);
    } catch {
      // Piece by piece below.
    }
    let text = "";
    let start = 0;
    for (let at = 0; at < bytes.length;) {
      const length = sequence(bytes, at);
      if (!length) {
        text += fatal.decode(bytes.subarray(start, at)) + String.fromCharCode(0xdc00 + bytes[at]);
        start = at + 1;
      }
      at += length || 1;
    }
    return text + fatal.decode(bytes.subarray(start));
  }

  /**
   * Give the bytes of a text as they go over the wire. A surrogate that stands for no byte
   * becomes U+FFFD, as in what a browser sends.
   */
  function bytesOf(text) {
    if (!LONE_SURROGATE.test(text)) return utf8.encode(text);
    const parts = [];
    let start = 0;
    for (const { 0: lone, index } of text.matchAll(LONE_SURROGATES)) {
      const code = lone.charCodeAt(0);
      parts.push(utf8.encode(text.slice(start, index)));
      parts.push(
        code >= 0xdc80 && code <= 0xdcff ? Uint8Array.of(code & 0xff) : utf8.encode("\ufffd"),
      );
      start = index + 1;
    }
    parts.push(utf8.encode(text.slice(start)));
    return joined(parts);
  }

  function joined(parts) {
    const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  /** Give a value as a string or a Uint8Array, or null where it is no payload. */
  function content(value) {
    if (isText(value) || value instanceof Uint8Array) return value;
    if (value instanceof ArrayBuffer) return new Uint8Array(value);
    if (ArrayBuffer.isView(value)) {
      return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    }
    return null;
  }

  function payloadOf(value) {
    const payload = content(value);
    if (payload === null) throw new CodecError("payload-type", "a payload is text or bytes");
    return payload;
  }

  // ---- Reading a frame ----

  const escaped = (field) => field.replaceAll(";", ESCAPE);
  const unescaped = (field) => field.replaceAll(ESCAPE, ";");

  /**
   * Read one WebSocket message: a message, or with `native` other than "never" possibly
   * `{ native: payload }`.
   */
  function decode(value, { reading = "lenient", native = "never", limits = null } = {}) {
    const payload = payloadOf(value);
    if (limits) checkLimits(payload, limits, native);
    if (native === "only") return nativeOf(payload, reading);
    const ends = separators(payload);
    if (ends.length < SEPARATORS) return notAFrame(payload, ends.length, reading, native);
    const start = ends[SEPARATORS - 1] + 1;
    if (reading === "strict") checkUtf8(payload, start);
    const fields = ends.map((end, index) => {
      const field = cut(payload, index ? ends[index - 1] + 1 : 0, end);
      return isText(field) ? field : textOf(field);
    });
    if (reading === "strict") checkFlags(payload, ends, fields);
    return Object.freeze({
      wait: fields[0],
      namespace: unescaped(fields[1]),
      room: unescaped(fields[2]),
      event: unescaped(fields[3]),
      is_error: fields[4] === "1",
      is_no_op: fields[5] === "1",
      body: payload.slice(start), // of bytes a copy, which nobody else can change
    });
  }

  const cut = (payload, start, end) =>
    isText(payload) ? payload.slice(start, end) : payload.subarray(start, end);

  /** Give the places of the first six separators, or of as many as there are. */
  function separators(payload) {
    const separator = isText(payload) ? ";" : 0x3b;
    const ends = [];
    for (let at = -1; ends.length < SEPARATORS;) {
      at = payload.indexOf(separator, at + 1);
      if (at < 0) break;
      ends.push(at);
    }
    return ends;
  }

  /** Give the place as it is counted: code points of a text, bytes of binary. */
  const offsetOf = (payload, at) => (isText(payload) ? points(payload, at) : at);

  function notAFrame(payload, found, reading, native) {
    if (!payload.length) refuseEmpty();
    if (native === "fallback") return nativeOf(payload, reading);
    throw new CodecError(
      "separators",
      `a frame has ${SEPARATORS} ';' before its body, this has ${found}`,
      offsetOf(payload, payload.length),
      FIELDS[found],
    );
  }

  function nativeOf(payload, reading) {
    if (!payload.length) refuseEmpty();
    if (reading === "strict" && isText(payload)) {
      const bad = payload.search(LONE_SURROGATE);
      if (bad >= 0) refuseText(points(payload, bad));
    }
    return Object.freeze({ native: payload });
  }

  function refuseEmpty() {
    throw new CodecError("empty", "an empty payload is no message");
  }

  function refuseText(offset, field = null) {
    throw new CodecError("utf8", "text must be UTF-8; a surrogate is not", offset, field);
  }

  /** Refuse a text, or a head of a binary frame, that is not UTF-8 (FR-12). */
  function checkUtf8(payload, start) {
    if (isText(payload)) {
      const bad = payload.search(LONE_SURROGATE);
      if (bad >= 0) refuseText(points(payload, bad), FIELDS[fieldAt(payload, bad)]);
      return;
    }
    const bad = firstBroken(payload.subarray(0, start));
    if (bad >= 0) {
      const field = FIELDS[fieldAt(payload, bad)];
      throw new CodecError("utf8", "the fields before the body must be UTF-8", bad, field);
    }
  }

  const fieldAt = (payload, at) => separators(payload).filter((end) => end < at).length;

  /** Refuse flags other than 0 and 1, but for the short empty reply (FR-6, FR-13). */
  function checkFlags(payload, ends, fields) {
    const hasBody = ends[SEPARATORS - 1] + 1 < payload.length;
    if (fields[0] && !hasBody && fields.slice(1).every((field) => field === "")) return;
    for (const index of [4, 5]) {
      if (fields[index] !== "0" && fields[index] !== "1") {
        const shown = Array.from(fields[index].slice(0, 16)).slice(0, 8).join("");
        throw new CodecError(
          "flag",
          `a flag is '0' or '1', not '${shown}'`,
          offsetOf(payload, ends[index - 1] + 1),
          FIELDS[index],
        );
      }
    }
  }

  /** Refuse a payload, or a field of a frame, that is over its limit (SEC-1). */
  function checkLimits(payload, { payload: most = null, field: longest = null }, native) {
    const size = offsetOf(payload, payload.length);
    if (most !== null && size > most) {
      throw new CodecError(
        "payload-too-large",
        `the payload has a length of ${size}, the limit is ${most}`,
        most,
      );
    }
    if (longest === null || native === "only") return;
    const ends = separators(payload);
    if (native === "fallback" && ends.length < SEPARATORS) return; // a native message
    for (let index = 0, start = 0; index < SEPARATORS; index += 1) {
      const end = ends[index] ?? payload.length;
      if (offsetOf(cut(payload, start, end), end - start) > longest) {
        throw new CodecError(
          "field-too-long",
          `this field is longer than the limit of ${longest}`,
          offsetOf(payload, start) + longest,
          FIELDS[index],
        );
      }
      if (index >= ends.length) return; // not a frame; the decoder says so
      start = end + 1;
    }
  }

  // ---- Writing a frame ----

  /** Build a message; what can be built can be written, and reads back the same. */
  function message(fields) {
    const { is_error = false, is_no_op = false, body = "" } = fields;
    if (typeof is_error !== "boolean" || typeof is_no_op !== "boolean") {
      throw new TypeError("is_error and is_no_op must be booleans");
    }
    const kept = content(body);
    if (kept === null) throw new TypeError("body must be text or bytes");
    const built = { is_error, is_no_op, body: isText(kept) ? kept : kept.slice() };
    for (const name of TEXTS) {
      built[name] = fields[name] ?? "";
      checkText(built[name], name);
    }
    if (isText(kept)) checkText(kept, "body");
    const semicolon = built.wait.indexOf(";");
    if (semicolon >= 0) {
      throw new CodecError(
        "wait-separator",
        "a wait token is never escaped and cannot hold ';'",
        points(built.wait, semicolon),
        "wait",
      );
    }
    for (const name of ESCAPED) checkEscape(built[name], name);
    return Object.freeze(built);
  }

  function checkText(value, field) {
    if (!isText(value)) throw new TypeError(`${field} must be text`);
    const bad = value.search(LONE_SURROGATE);
    if (bad >= 0) {
      throw new CodecError(
        "utf8",
        "a surrogate has no UTF-8 form and cannot be sent",
        points(value, bad),
        field,
      );
    }
  }

  function checkEscape(value, field) {
    // Comparing the round trip, not searching the literal: "@%!semicolon;" holds no literal, but
    // escaping its ";" makes one that begins earlier.
    const back = unescaped(escaped(value));
    if (back === value) return;
    let same = 0;
    while (back[same] === value[same]) same += 1;
    throw new CodecError(
      "escape-literal",
      `a field that holds '${ESCAPE}', or nearly, would come back changed`,
      points(value, same),
      field,
    );
  }

  /** Whether this is the reply that says only "done" (FR-13). */
  function isEmptyReply({ wait, namespace, room, event, is_error, is_no_op, body }) {
    const others = [namespace, room, event, body];
    return wait !== "" && !is_error && !is_no_op && others.every((field) => !field.length);
  }

  /** Write a message, or `{ native: payload }`: a string to be sent as text, or bytes. */
  function encode(written, { native = "never" } = {}) {
    if ("native" in written) return encodeNative(payloadOf(written.native), native);
    if (native === "only") {
      throw new CodecError("native-mode", "a peer in native-only mode does not read frames");
    }
    const flag = (value) => (isEmptyReply(written) ? "" : value ? "1" : "0");
    const head = [
      written.wait,
      ...ESCAPED.map((name) => escaped(written[name])),
      flag(written.is_error),
      flag(written.is_no_op),
      "",
    ].join(";");
    return isText(written.body) ? head + written.body : joined([bytesOf(head), written.body]);
  }

  function encodeNative(payload, native) {
    if (native === "never") {
      throw new CodecError("native-mode", "this peer reads frames only, no native message");
    }
    const bad = isText(payload) ? payload.search(LONE_SURROGATE) : -1;
    if (bad >= 0) {
      throw new CodecError("utf8", "a surrogate has no UTF-8 form", points(payload, bad));
    }
    if (!payload.length) refuseEmpty();
    if (native === "fallback" && separators(payload).length === SEPARATORS) {
      throw new CodecError(
        "native-looks-like-frame",
        `a native message with ${SEPARATORS} ';' or more reads as a frame`,
      );
    }
    return payload;
  }

  // ---- Replies ----

  /** Give the reply of a handler: this message with another body, in its kind (AR-7). */
  const reply = (ask, body = "") => answer(ask, body, false);

  /** Give the reply that refuses: this message with an error text (AR-7, FR-9). */
  function errorReply(ask, text) {
    if (!isText(text)) throw new TypeError("an error text must be text");
    if (!text) {
      const explanation = "an error without a text reads as success at the other end";
      throw new CodecError("empty-error-text", explanation, 0, "body");
    }
    return answer(ask, text, true);
  }

  /** Give the reply that says only "done"; always a text message (FR-13). */
  function emptyReply({ wait }) {
    if (!wait) {
      throw new CodecError("no-wait", "an empty reply needs the token of an ask", 0, "wait");
    }
    return message({ wait });
  }

  function answer(ask, given, is_error) {
    let body = content(given);
    if (body === null) throw new TypeError("body must be text or bytes");
    if (isText(body)) {
      checkText(body, "body");
      if (!isText(ask.body)) body = bytesOf(body);
    } else if (isText(ask.body)) {
      const bad = firstBroken(body);
      if (bad >= 0) {
        const explanation = "the reply to a text message must be UTF-8";
        throw new CodecError("utf8", explanation, bad, "body");
      }
      body = textOf(body);
    }
    return Object.freeze({ ...ask, is_error, body });
  }

  // ---- The handshake ----

  /** Read what came before the handshake was complete: request, accept or refuse. */
  function decodeHandshake(value, { reading = "lenient" } = {}) {
    const payload = payloadOf(value);
    const text = isText(payload) ? payload : textOf(payload);
    if (!text) refuseEmpty();
    const letter = text[0];
    const rest = text.slice(1);
    if (!"MAH".includes(letter)) {
      const shown = String.fromCodePoint(text.codePointAt(0));
      throw new CodecError(
        "handshake-letter",
        `a handshake message begins with M, A or H, not '${shown}'`,
      );
    }
    if (reading === "strict") {
      if (!isText(payload)) throw new CodecError("handshake-binary", "a handshake message is text");
      const bad = text.search(LONE_SURROGATE);
      if (bad >= 0) refuseText(points(text, bad));
      if (letter === "M" && rest)
        throw new CodecError("handshake-trailing", "nothing follows the M", 1);
      if (letter === "A" && !rest)
        throw new CodecError("handshake-id", "an A is followed by an id", 1);
    }
    if (letter === "M") return Object.freeze({ request: Object.freeze({}) });
    return Object.freeze(letter === "A" ? { accept: rest } : { refuse: rest });
  }

  /** Write a handshake message; it is to be sent as text (HS-5). */
  function encodeHandshake(handshake) {
    if ("request" in handshake) return "M";
    const isAccept = "accept" in handshake;
    const [letter, field, rest] = isAccept
      ? ["A", "id", handshake.accept]
      : ["H", "text", handshake.refuse];
    if (isAccept && rest === "") {
      throw new CodecError("handshake-id", "a connection has an id", 0, "id");
    }
    checkText(rest, field);
    return letter + rest;
  }

  // ---- The wait field ----

  /** Say what a wait field means: its kind, its token, and where the ask came from. */
  function parseWait(wait) {
    const parsed = { kind: "none", token: "", from_exchange: false, sender: "" };
    if (!wait) return parsed;
    if (wait.startsWith("neffos(0x")) return { ...parsed, kind: "explicit-sender", sender: wait };
    // The marker is the second byte, and something follows it (SX-2).
    const first = wait.charCodeAt(0);
    const isOneOctet = first < 0x80 || (first >= 0xdc80 && first <= 0xdcff);
    parsed.from_exchange = wait.length > 2 && wait[1] === "!" && isOneOctet;
    parsed.token = parsed.from_exchange ? String.fromCharCode(first & 0xff) + wait.slice(2) : wait;
    const kinds = { "#": "confirmation", $: "client-ask" };
    parsed.kind = kinds[parsed.token[0]] ?? "server-ask";
    return parsed;
  }

  let made = 0;

  /** Make a token: the time, a running number and 128 random bits (AR-2, AR-5, AR-6). */
  function makeToken(isClient) {
    const random = crypto.getRandomValues(new Uint8Array(16));
    made += 1;
    return `${isClient ? "$" : ""}${Date.now()}-${made}-${hexOf(random)}`;
  }

  const hexOf = (bytes) =>
    Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

  return Object.freeze({
    CodecError,
    ESCAPE,
    FIELDS,
    decode,
    decodeHandshake,
    emptyReply,
    encode,
    encodeHandshake,
    errorReply,
    hexOf,
    isEmptyReply,
    isText,
    makeToken,
    message,
    bytesOf,
    parseWait,
    points,
    reply,
    separators,
    textOf,
  });
})();
