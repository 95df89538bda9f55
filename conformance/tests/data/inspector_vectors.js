// Asks the codec of the frame inspector, in its page, what vectors want of it.
//
// Evaluated there by test_inspector.py. codec/vectors/README.md says what a vector means.

/** Judge vectors; gives how often each was judged, and what went wrong. */
function judgeVectors(vectors) {
  const codec = neffosCodec;
  const utf8 = new TextEncoder();

  /** Build the bytes that are described. */
  function bytes(data) {
    if (typeof data === "string") return utf8.encode(data);
    if ("hex" in data) return Uint8Array.from(data.hex.match(/../g), (pair) => parseInt(pair, 16));
    if ("repeat" in data) return repeated(bytes(data.repeat), data.times);
    const parts = data.concat.map(bytes);
    const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  function repeated(part, times) {
    const all = new Uint8Array(part.length * times);
    all.set(part);
    for (let filled = part.length; filled < all.length; filled *= 2) {
      all.copyWithin(filled, 0, filled);
    }
    return all;
  }

  /** Build the text that is described; what is not UTF-8 becomes surrogates, as in Python. */
  const text = (data) => codec.textOf(bytes(data));
  const content = (data, kind) => (kind === "text" ? text(data) : bytes(data));

  /** Build the seven fields of a message. */
  function fields(described, kind) {
    const { is_error = false, is_no_op = false, body = "" } = described;
    const built = { is_error, is_no_op, body: content(body, kind) };
    for (const name of codec.FIELDS.slice(0, 4)) built[name] = text(described[name] ?? "");
    return built;
  }

  function handshake(described) {
    const [[name, value]] = Object.entries(described);
    return { [name]: name === "request" ? {} : text(value) };
  }

  /** Give each form in which a browser may deliver a payload (FR-15). */
  function deliveries({ payload, kind }) {
    if (kind === "other") return [payload];
    const given = content(payload, kind);
    return kind === "text" ? [given] : [given, given.buffer, new DataView(given.buffer)];
  }

  function same(got, wanted) {
    if (wanted instanceof Uint8Array) {
      if (!(got instanceof Uint8Array) || got.length !== wanted.length) return false;
      for (let at = 0; at < wanted.length; at += 1) if (got[at] !== wanted[at]) return false;
      return true;
    }
    if (typeof wanted !== "object" || wanted === null) return got === wanted;
    const names = Object.keys(wanted);
    return (
      typeof got === "object" &&
      got !== null &&
      Object.keys(got).length === names.length &&
      names.every((name) => same(got[name], wanted[name]))
    );
  }

  /** Show the beginning of a value; some have mebibytes. */
  function brief(value) {
    const cut = (_, each) => {
      if (each instanceof Uint8Array) return `bytes ${codec.hexOf(each.subarray(0, 60))}`;
      return typeof each === "string" ? each.slice(0, 120) : each;
    };
    return JSON.stringify(value, cut);
  }

  /** Check what a call gives, or that it is refused for the reason and at the place given. */
  function check(vector, outcome, call, wanted) {
    let got;
    try {
      got = call();
    } catch (error) {
      if (!(error instanceof codec.CodecError)) throw error;
      const { reason, offset, field, requirement } = error;
      const refused = { reject: reason, offset, field };
      const { reject, offset: place, field: name = null } = outcome;
      if (!same(refused, { reject, offset: place, field: name }))
        return `refused: ${brief(refused)}`;
      return vector.requirements.includes(requirement) ? "" : `refused by ${requirement}`;
    }
    if ("reject" in outcome) return `not refused: ${brief(got)}`;
    return same(got, wanted()) ? "" : `gave ${brief(got)}, not ${brief(wanted())}`;
  }

  /** Check that what the strict reading accepts is written again. */
  function* again(vector, native) {
    if ("reject" in vector.strict) return;
    const payload = content(vector.payload, vector.kind);
    const message = codec.decode(payload, { reading: "strict", native });
    const written = codec.encode(message, { native });
    for (const reading of ["lenient", "strict"]) {
      if (!same(codec.decode(written, { reading, native }), message)) yield "reads otherwise again";
    }
    // The empty reply has two spellings, and only one of them is ever written (FR-13).
    const isEmpty = !("native" in message) && codec.isEmptyReply(message);
    if (!isEmpty && !same(written, payload)) yield `is written ${brief(written)}`;
  }

  const JUDGES = {
    *decode(vector) {
      const { kind, native = "never", limits = null } = vector;
      for (const reading of ["lenient", "strict"]) {
        const outcome = vector[reading];
        for (const payload of deliveries(vector)) {
          const call = () => codec.decode(payload, { reading, native, limits });
          yield check(vector, outcome, call, () =>
            "native" in outcome
              ? { native: content(outcome.native, kind) }
              : fields(outcome.message, kind),
          );
        }
      }
      if (kind !== "other") yield* again(vector, native);
    },

    *encode(vector) {
      const { kind, native = "never" } = vector;
      const build = () =>
        "message" in vector
          ? codec.message(fields(vector.message, kind))
          : { native: content(vector.native_payload, kind) };
      const call = () => codec.encode(build(), { native });
      yield check(vector, vector, call, () => content(vector.payload, kind));
    },

    *"decode-handshake"(vector) {
      for (const reading of ["lenient", "strict"]) {
        const outcome = vector[reading];
        for (const payload of deliveries(vector)) {
          const call = () => codec.decodeHandshake(payload, { reading });
          yield check(vector, outcome, call, () => handshake(outcome.handshake));
        }
      }
      if ("handshake" in vector.strict) {
        const call = () => codec.encodeHandshake(handshake(vector.strict.handshake));
        yield check(vector, {}, call, () => text(vector.payload));
      }
    },

    *"encode-handshake"(vector) {
      const call = () => codec.encodeHandshake(handshake(vector.handshake));
      yield check(vector, vector, call, () => text(vector.payload));
    },

    *reply({ kind, message, reply, ...vector }) {
      const answer = () => {
        const ask = codec.message(fields(message, kind));
        if ("error" in reply) return codec.errorReply(ask, text(reply.error));
        if ("body" in reply) return codec.reply(ask, content(reply.body, reply.kind ?? kind));
        return codec.emptyReply(ask);
      };
      const call = () => codec.encode(answer());
      yield check(vector, vector, call, () => content(vector.answer.payload, vector.answer.kind));
    },

    *"parse-wait"(vector) {
      const { kind, token = "", from_exchange = false, sender = "" } = vector.parsed;
      const wanted = () => ({ kind, token: text(token), from_exchange, sender: text(sender) });
      yield check(vector, {}, () => codec.parseWait(text(vector.wait)), wanted);
    },
  };

  const failures = [];
  const judged = {};
  for (const vector of vectors) {
    judged[vector.id] = 0;
    for (const failure of JUDGES[vector.operation](vector)) {
      judged[vector.id] += 1;
      if (failure) failures.push([vector.id, failure]);
    }
  }
  return { judged, failures };
}
