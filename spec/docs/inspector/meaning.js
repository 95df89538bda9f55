// What one message says in the protocol, in words, and which requirements it breaks.
//
// It knows the message, perhaps its sender and whether the handshake is complete, and nothing of
// what came before: what depends on that is given as such. It knows no page. A plain script, as
// codec.js is; it leaves `neffosMeaning` behind.

"use strict";

globalThis.neffosMeaning = (() => {
  const { decode, decodeHandshake, encode, isEmptyReply, isText, parseWait, points, separators } =
    neffosCodec;

  /** Who sends, as it stands in a sentence, and who gets it. */
  const NAMES = {
    client: { me: "The client", them: "the server", other: "server" },
    server: { me: "The server", them: "the client", other: "client" },
    either: { me: "A peer", them: "the other peer", other: "either" },
  };

  /** What an event of the protocol asks for. */
  const CHANGES = {
    _OnNamespaceConnect: ({ namespace }) => `connect ${space(namespace)}`,
    _OnNamespaceDisconnect: ({ namespace }) => `disconnect ${space(namespace)}`,
    _OnRoomJoin: ({ namespace, room }) => `join ${chamber(room)} of ${space(namespace)}`,
    _OnRoomLeave: ({ namespace, room }) => `leave ${chamber(room)} of ${space(namespace)}`,
  };

  /** Events that a peer tells itself, and never sends (EV-5). */
  const LOCAL = ["_OnNamespaceConnected", "_OnRoomJoined", "_OnRoomLeft", "_OnAnyEvent"];
  const NATIVE_EVENT = "_OnNativeMessage";

  const SHOWN = 60; // characters of a name or a body in a sentence, enough to recognise it

  // ---- Pieces of sentences ----

  const LETTERS = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  // Controls, marks of writing direction and the like, and spaces that look like none.
  const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

  /** Give a text in which everything can be seen; a byte that is no UTF-8 becomes \xff. */
  function visible(text) {
    return text.replace(UNSEEN, (each) => {
      const code = each.codePointAt(0);
      if (code >= 0xdc80 && code <= 0xdcff) return `\\x${(code & 0xff).toString(16)}`;
      if (each in LETTERS) return LETTERS[each];
      return code < 0x80 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
    });
  }

  /** Cut a text to so many characters, never through one. */
  function shortened(text, most) {
    const start = Array.from(text.slice(0, 2 * most + 2));
    return start.length > most ? `${start.slice(0, most).join("")}…` : start.join("");
  }

  const quoted = (text) => `"${visible(shortened(text, SHOWN))}"`;
  const name = (text) => (/^[\w.$#!-]+$/u.test(text) ? shortened(text, SHOWN) : quoted(text));
  const space = (namespace) => (namespace ? `namespace ${name(namespace)}` : "the empty namespace");
  const chamber = (room) => (room ? `room ${name(room)}` : "a room without a name");
  const place = ({ namespace, room }) =>
    room ? `room ${name(room)} of ${space(namespace)}` : space(namespace);
  const count = (number, word) =>
    `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

  function bodied(body) {
    if (!body.length) return "without a body";
    return `with the body ${isText(body) ? quoted(body) : `[${count(body.length, "byte")}]`}`;
  }

  function errorText(body) {
    if (!body.length) return "without a text";
    return quoted(isText(body) ? body : neffosCodec.textOf(body.subarray(0, 4 * SHOWN)));
  }

  const capital = (sentence) => sentence[0].toUpperCase() + sentence.slice(1);

  const finding = (requirement, explanation) => ({ requirement, explanation });

  // ---- The whole ----

  /**
   * Say what a payload is.
   *
   * `sender` is "client", "server" or "either"; `moment` is "before" the handshake is complete,
   * "after" it, or "auto", which is before it for what looks like a handshake message.
   *
   * Gives `form`, what was read; `message`, the fields where it is a frame; `readings`, each of
   * the two with its refusal or none; `native`, the payload of a native message; and `saying`, for
   * one sender or for both, a sentence, what is broken, and what depends on what came before.
   */
  function explain(payload, { sender = "either", moment = "auto", native = "never" } = {}) {
    const isEarly =
      native !== "only" &&
      (moment === "before" || (moment === "auto" && looksEarly(payload, native)));
    if (isEarly) {
      const first = handshake(payload, sender, moment);
      if (first) return first;
    }
    const readings = eachReading((reading) => decode(payload, { reading, native }));
    const read = readings.lenient.read;
    const told = { readings, form: "none", message: null, native: null };
    if (!payload.length) {
      told.form = "empty";
    } else if (read && "native" in read) {
      told.form = "native";
      told.native = read.native;
    } else if (read) {
      told.form = "frame";
      told.message = read;
    }
    const sayings = { none: sayNothing, empty: sayEmpty, native: sayNative, frame: sayFrame };
    told.saying = rolesOf(sender, told, isEarly).map((role) => {
      const saying = { role, sentence: "", broken: [], depends: [] };
      const { refusal } = readings.strict;
      if (refusal) saying.broken.push(placed(refusal, payload));
      sayings[told.form](saying, payload, read, native);
      if (refusal?.reason === "utf8" && isText(payload)) {
        saying.depends.push(
          finding("TR-17", "The receiver fails the connection with the code 1007."),
        );
      }
      if (isEarly && payload.length) sayEarly(saying);
      return saying;
    });
    return told;
  }

  /** Give who is to be told of: both, where it is not said who sends and it matters. */
  function rolesOf(sender, { message }, isEarly) {
    if (sender !== "either") return [sender];
    const isTelling = message && ownerOf(parseWait(message.wait));
    return isTelling || isEarly ? ["client", "server"] : ["either"];
  }

  const eachReading = (read) =>
    Object.fromEntries(["lenient", "strict"].map((reading) => [reading, attempt(read, reading)]));

  function attempt(read, reading) {
    try {
      return { read: read(reading), refusal: null };
    } catch (error) {
      if (error instanceof neffosCodec.CodecError) return { read: null, refusal: error };
      throw error;
    }
  }

  /** Say a refusal and where it was noticed. */
  function placed({ requirement, message, offset, field }, payload) {
    const unit = isText(payload) ? "character" : "byte";
    const where = field ? `in ${labelOf(field)}, at ${unit} ${offset}` : `at ${unit} ${offset}`;
    return finding(requirement, `${capital(message)} (${where}).`);
  }

  const labelOf = (field) => ({ is_error: "isError", is_no_op: "isNoOp" })[field] ?? field;

  // ---- Before the handshake is complete ----

  function looksEarly(payload, native) {
    if (native !== "never" || !payload.length || separators(payload).length === 6) return false;
    const first = isText(payload) ? payload[0] : String.fromCharCode(payload[0]);
    return "MAH".includes(first);
  }

  function handshake(payload, sender, moment) {
    const readings = eachReading((reading) => decodeHandshake(payload, { reading }));
    const { read } = readings.lenient;
    if (!read) return null;
    const proper = "request" in read ? "client" : "server";
    const role = sender === "either" ? proper : sender;
    const saying = { role, sentence: "", broken: [], depends: [] };
    if ("request" in read) {
      saying.sentence = "The client asks to be accepted: the handshake request.";
    } else if ("accept" in read) {
      saying.sentence = `The server lets the client in: an acceptance with the connection id ${
        read.accept ? name(read.accept) : '""'
      }.`;
    } else {
      saying.sentence = `The server does not let the client in, and closes: a refusal ${
        read.refuse ? `with the text ${quoted(read.refuse)}` : "without a text"
      }.`;
    }
    const { refusal } = readings.strict;
    if (role !== proper) {
      const known = "request" in read ? "request" : "accept" in read ? "acceptance" : "refusal";
      saying.sentence = `The ${role} sends a handshake ${known}, which is the ${proper}'s to send.`;
      saying.broken.push(
        role === "client"
          ? finding("HS-1", "A client's first message is the request M.")
          : finding("HS-12", "A server sends nothing before its answer, an A or an H."),
      );
      saying.depends.push(
        finding(
          "HS-9",
          `${capital(NAMES[role].them)} does not act on what only its own role sends.`,
        ),
      );
    } else if (refusal) {
      saying.broken.push(placed(refusal, payload));
    }
    if ("refuse" in read && !read.refuse && proper === role) {
      saying.broken.push(
        finding("HS-15", "A refusal without an error text says nothing (a SHOULD)."),
      );
    }
    if (moment === "auto") {
      saying.depends.push(
        finding(
          "HS-8",
          "Once the handshake is complete this is no handshake message, and as not a frame is dropped.",
        ),
      );
    }
    return {
      readings,
      form: "handshake",
      message: null,
      native: null,
      handshake: read,
      saying: [saying],
    };
  }

  function sayEarly(saying) {
    if (saying.role === "server") {
      saying.broken.unshift(
        finding("HS-12", "The server sends nothing before its answer to the handshake request."),
      );
      saying.depends.push(
        finding("HS-14", "The client holds it back until the acceptance, and handles it then."),
      );
    } else {
      saying.broken.unshift(
        finding(
          "HS-11",
          "The client sends nothing before the acceptance but M, and that first (HS-1)",
        ),
      );
      saying.depends.push(
        finding(
          "HS-13",
          "The server holds it back until the handshake is complete, and handles it then.",
        ),
      );
    }
  }

  // ---- What is not a frame ----

  function sayEmpty(saying) {
    saying.sentence = "No message at all: it is ignored.";
  }

  function sayNothing(saying) {
    saying.sentence = "No frame: the receiver drops it and keeps the connection.";
    saying.depends.push(finding("FR-16", "It is dropped without a reply."));
    saying.broken.push(
      finding("NM-1", "The peer takes only frames, and what is none is a native message to it."),
    );
  }

  function sayNative(saying, payload, read, native) {
    const shown = isText(payload) ? quoted(payload) : `[${count(payload.length, "byte")}]`;
    saying.sentence = `${NAMES[saying.role].me} sends the native message ${shown}.`;
    if (native === "fallback") {
      saying.depends.push(
        finding("NM-4", "It is delivered only once the empty namespace is connected."),
      );
    } else if (separators(payload).length === 6) {
      saying.depends.push(
        finding("NM-1", "Meant as a frame, it may not go to a peer of native messages only."),
      );
    }
  }

  // ---- Frames ----

  function sayFrame(saying, payload, message) {
    const meaning = parseWait(message.wait);
    if (message.is_error && !message.body.length) {
      saying.broken.push(
        finding("FR-9", "An error has a text: without one the Go client takes it for success."),
      );
    }
    if (meaning.kind === "explicit-sender") {
      saying.broken.push(
        finding("SX-1", "The wait field names a connection between servers, and is no token."),
      );
    }
    const isReply = isFor(meaning, saying.role);
    if (LOCAL.includes(message.event)) {
      // A reply repeats the event of the ask, whatever it was (AR-7).
      (isReply ? saying.depends : saying.broken).push(
        finding("EV-5", `${message.event} is a notice inside one peer, and never sent.`),
      );
    }
    if (isEmptyReply(message)) sayEmptyReply(saying, payload, message, isReply);
    else if (message.event in CHANGES) sayChange(saying, message, isReply);
    else sayEvent(saying, message, isReply);
    if (message.wait) sayToken(saying, message, meaning);
  }

  /** Give who made a token, as far as it tells. */
  function ownerOf({ kind }) {
    return { "client-ask": "client", "server-ask": "server" }[kind] ?? null;
  }

  /** Whether a token has the form of those that the other peer makes. */
  const isFor = (meaning, role) => ownerOf(meaning) === NAMES[role].other;

  function sayEmptyReply(saying, payload, message, isReply) {
    const written = encode(message);
    const token = name(message.wait);
    const { me, them } = NAMES[saying.role];
    saying.sentence = isReply
      ? `${me} answers "done" to ${them}'s ask ${token}: the empty reply.`
      : `${me} sends the empty reply to ${token}.`;
    if (!isText(payload)) {
      saying.broken.push(
        finding("FR-13", "The empty reply is a text message, whatever the ask was."),
      );
    } else if (payload !== written) {
      saying.broken.push(finding("FR-13", `The empty reply is written ${visible(written)}`));
    }
  }

  function sayChange(saying, message, isReply) {
    const { me, them } = NAMES[saying.role];
    const asked = CHANGES[message.event](message);
    if (message.is_error) {
      saying.sentence =
        message.wait && isReply
          ? `${me} refuses to ${asked}: the error ${errorText(message.body)}.`
          : `${me} sends an error about a wish to ${asked}: ${errorText(message.body)}.`;
      saying.depends.push(
        finding("NS-12", `${capital(them)} acts on it only as the reply to an ask of its own.`),
      );
      return;
    }
    saying.sentence = `${me} asks ${them} to ${asked}.`;
    if (!message.wait || message.is_no_op) {
      saying.sentence = `${me} wants to ${asked}, and is ignored.`;
      const why = message.wait ? "isNoOp is 1" : "there is no token to answer";
      saying.broken.push(finding("NS-20", `${capital(them)} ignores it, since ${why}.`));
    }
    if (message.event === "_OnRoomJoin" && !message.room) {
      saying.depends.push(
        finding("RM-12", "A join without a room is refused with the error text bad room."),
      );
    }
    if (message.event.startsWith("_OnRoom")) {
      saying.depends.push(
        finding("RM-6", `It is carried out only while ${space(message.namespace)} is connected.`),
      );
    }
  }

  function sayEvent(saying, message, isReply) {
    const { me, them } = NAMES[saying.role];
    const { wait, event, body } = message;
    if (event === NATIVE_EVENT) {
      saying.sentence = `${me} sends a native message in a frame, in ${place(message)}, ${bodied(body)}.`;
      saying.depends.push(
        finding("NM-5", "A peer in fallback mode takes it for a native message."),
      );
      return;
    }
    const what = `the event ${event ? name(event) : "without a name"} in ${place(message)}`;
    const token = name(wait);
    if (wait && isReply) {
      saying.sentence = message.is_error
        ? `${me} answers ${them}'s ask ${token}, ${what}, with the error ${errorText(body)}.`
        : `${me} answers ${them}'s ask ${token}, ${what}, ${bodied(body)}.`;
      return;
    }
    if (message.is_error) {
      saying.sentence = `${me} sends an error in ${what}: ${errorText(body)}.`;
      saying.depends.push(finding("EV-6", "The handler gets it as an error and not as a body."));
    } else if (wait) {
      saying.sentence = `${me} asks with ${what}, ${bodied(body)}, and waits for a reply to ${token}.`;
    } else {
      saying.sentence = `${me} sends ${what}, ${bodied(body)}; no reply is wanted.`;
    }
    if (message.is_no_op) {
      saying.depends.push(finding("EV-7", "What isNoOp asks for in an event is left open."));
    }
    if (LOCAL.includes(event)) return;
    saying.depends.push(
      finding("NS-11", `This may be sent only while ${space(message.namespace)} is connected.`),
    );
    if (message.room) {
      saying.depends.push(
        finding("RM-10", `This may be sent only while ${chamber(message.room)} is joined.`),
      );
    }
  }

  function sayToken(saying, message, meaning) {
    const { role } = saying;
    const token = name(message.wait);
    const isAsk = message.event in CHANGES && !message.is_error;
    if (meaning.kind === "confirmation") {
      saying.broken.push(
        finding("AR-4", `The token ${token} has the reserved form, which begins with #.`),
      );
    } else if (isFor(meaning, role) && isAsk) {
      const elsewise = "a reply would be the empty one or an error (AR-20)";
      saying.broken.push(
        role === "client"
          ? finding("AR-2", `The client's token ${token} does not begin with $; ${elsewise}`)
          : finding("AR-3", `The server's token ${token} begins with $; ${elsewise}`),
      );
    } else if (isFor(meaning, role)) {
      saying.depends.push(
        finding(
          "AR-22",
          `It has to answer an ask ${token} on this connection, and be the only reply to it.`,
        ),
        role === "client"
          ? finding(
              "AR-2",
              `As an ask of the client's own it would break the form of tokens, which begin with $.`,
            )
          : finding("AR-17", `A client's token that did not come from this client is another's.`),
      );
    } else if (ownerOf(meaning) === role && isEmptyReply(message)) {
      saying.depends.push(
        finding(
          "AR-22",
          `A reply answers an ask of the other peer, and ${token} has the form of the ${role}'s own.`,
        ),
      );
    }
  }

  // ---- The fields one by one ----

  const TOKENS = {
    none: "no reply is wanted",
    "client-ask": "the token of a client's ask, or of the reply to it",
    "server-ask": "the token of a server's ask, or of the reply to it",
    confirmation: "a confirmation, which is reserved (AR-4)",
    "explicit-sender": "names a sender, between servers only (SX-1)",
  };

  const EVENTS = {
    _OnNamespaceConnect: "asks to connect a namespace",
    _OnNamespaceDisconnect: "asks to disconnect a namespace",
    _OnRoomJoin: "asks to join a room",
    _OnRoomLeave: "asks to leave a room",
    [NATIVE_EVENT]: "makes the frame a native message (NM-5)",
  };

  /** Say of each field of a message what it tells. */
  function fieldMeanings(message) {
    const { wait, namespace, room, event, is_error, is_no_op, body } = message;
    const meaning = parseWait(wait);
    const exchange = meaning.from_exchange
      ? `; it came over an exchange, and its maker wrote ${name(meaning.token)} (SX-2)`
      : "";
    const isDone = isEmptyReply(message);
    const length = isText(body) ? count(points(body), "character") : count(body.length, "byte");
    return {
      wait: TOKENS[meaning.kind] + exchange,
      namespace: namespace
        ? "the namespace"
        : isDone
          ? "empty in an empty reply"
          : "the empty namespace",
      room: room ? "the room inside the namespace" : "no room",
      event: LOCAL.includes(event)
        ? "a notice inside one peer, never sent (EV-5)"
        : (EVENTS[event] ??
          (event
            ? "an event of the application"
            : isDone
              ? "an empty reply"
              : "an event without a name")),
      is_error: is_error ? "the body is an error text (FR-8)" : "no error",
      is_no_op: is_no_op ? "nothing is to be done" : "an ordinary message",
      body: body.length ? `${is_error ? "an error text, " : ""}${length}` : "no body",
    };
  }

  return Object.freeze({ explain, fieldMeanings, labelOf, shortened, visible });
})();
