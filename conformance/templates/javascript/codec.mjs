// A codec adapter in JavaScript, to start your own from; `node codec.mjs` runs it.
//
// Above the line is a codec for neffos frames; replace it with yours. Below it is the codec
// protocol of spec/docs/codec-contract.md. It needs only Node, 18.14 or newer.

import { isUtf8 } from "node:buffer";
import { pathToFileURL } from "node:url";
import { StringDecoder } from "node:string_decoder";

const ESCAPE = "@%!semicolon@%!";
const FIELDS = ["wait", "namespace", "room", "event", "is_error", "is_no_op", "body"];
const NAMES = FIELDS.slice(1, 4); // the fields in which a semicolon is escaped

/** A payload that is not a frame, or a message that a frame cannot carry. */
export class Refused extends Error {
  constructor(reason, field) {
    super(reason);
    this.field = field;
  }
}

// Texts are buffers here, since a JavaScript string cannot contain text that is not UTF-8. If your
// WebSocket library checks that, use strings.

/** Read a payload, a Buffer, into the seven fields; the names and the body are Buffers. */
export function decode(payload, isBinary, strict = false) {
  if (!payload.length) throw new Refused("empty");
  const parts = [];
  let start = 0;
  for (let end; parts.length < 6; start = end + 1) {
    end = payload.indexOf(";", start);
    if (end < 0) throw new Refused("separators", FIELDS[parts.length]);
    parts.push(payload.subarray(start, end));
  }
  parts.push(payload.subarray(start));
  if (strict) {
    // In a binary frame the body may be any bytes.
    const wrong = parts.findIndex((part, index) => !isUtf8(part) && !(isBinary && index === 6));
    if (wrong >= 0) throw new Refused("utf8", FIELDS[wrong]);
    checkFlags(parts);
  }
  const message = Object.fromEntries(FIELDS.map((name, index) => [name, parts[index]]));
  for (const name of NAMES) message[name] = replace(message[name], ESCAPE, ";");
  message.is_error = message.is_error.equals(Buffer.from("1"));
  message.is_no_op = message.is_no_op.equals(Buffer.from("1"));
  return message;
}

/** Write a message: the payload, a Buffer, to be sent as binary if the body is. */
export function encode(message) {
  for (const name of [...FIELDS.slice(0, 4), "body"]) {
    if (name === "body" && message.isBinary) continue;
    if (!isUtf8(message[name])) throw new Refused("utf8", name);
  }
  if (message.wait.includes(";")) throw new Refused("wait-separator", "wait");
  const names = NAMES.map((name) => replace(message[name], ";", ESCAPE));
  NAMES.forEach((name, index) => {
    const back = replace(names[index], ESCAPE, ";");
    if (!back.equals(message[name])) throw new Refused("escape-literal", name);
  });
  const flags = [message.is_error, message.is_no_op].map((flag) => (flag ? "1" : "0"));
  const isEmpty = flags.every((flag) => flag === "0") && ![...names, message.body].some(isThere);
  if (isEmpty && isThere(message.wait)) flags.fill(""); // the empty reply
  const head = [message.wait, ...names, ...flags.map((flag) => Buffer.from(flag))];
  const fields = head.flatMap((field) => [field, Buffer.from(";")]);
  return Buffer.concat([...fields, message.body]);
}

const isThere = (bytes) => bytes.length > 0;

/** Refuse flags other than 0 and 1, but for the empty reply. */
function checkFlags(parts) {
  const [wait, ...rest] = parts;
  if (wait.length && rest.every((part) => !part.length)) return;
  for (const index of [4, 5]) {
    const flag = parts[index].toString("latin1");
    if (flag !== "0" && flag !== "1") throw new Refused("flag", FIELDS[index]);
  }
}

/** Replace in bytes; Latin-1 has one character for each. */
function replace(bytes, from, to) {
  return Buffer.from(bytes.toString("latin1").replaceAll(from, to), "latin1");
}

// ------------------------------------------------------------------------------------------

/** A request that this adapter does not know, or its codec does not support. */
class Unsupported extends Error {}

/** Return the bytes of a value of a line, and whether the message is binary. */
function contentOf(value) {
  if (typeof value === "string") return { bytes: Buffer.from(value), isBinary: false };
  if (typeof value.hex === "string") {
    return { bytes: Buffer.from(value.hex, "hex"), isBinary: false };
  }
  if (typeof value.base64 === "string") {
    return { bytes: Buffer.from(value.base64, "base64"), isBinary: true };
  }
  throw new TypeError("neither text, nor hex, nor base64");
}

/** Return the value that stands for bytes in a line. */
function valueOf(bytes, isBinary = false) {
  if (isBinary) return { base64: bytes.toString("base64") };
  return isUtf8(bytes) ? bytes.toString() : { hex: bytes.toString("hex") };
}

const OPERATIONS = {
  decode(request) {
    knowOnly(request, ["payload", "reading", "native"]);
    const { reading = "lenient", native = "never" } = request;
    if (native !== "never" || !["lenient", "strict"].includes(reading)) throw new Unsupported();
    const { bytes, isBinary } = contentOf(request.payload);
    const read = decode(bytes, isBinary, reading === "strict");
    const message = {};
    for (const name of FIELDS) {
      const value = read[name];
      const isBody = name === "body";
      message[name] = typeof value === "boolean" ? value : valueOf(value, isBody && isBinary);
    }
    return { message };
  },

  encode(request) {
    knowOnly(request, ["message", "native"]);
    if ((request.native ?? "never") !== "never") throw new Unsupported();
    const message = { ...request.message };
    for (const name of [...FIELDS.slice(0, 4), "body"]) {
      const { bytes, isBinary } = contentOf(message[name]);
      message[name] = bytes;
      message.isBinary = isBinary; // the body's, which is the last
    }
    return { payload: valueOf(encode(message), message.isBinary) };
  },
};

function knowOnly(request, known) {
  for (const name of Object.keys(request)) {
    if (!["id", "op", ...known].includes(name)) throw new Unsupported();
  }
}

/** Return the answer to any line. */
function answerTo(line) {
  let id = null;
  try {
    const request = JSON.parse(line);
    if (!Number.isInteger(request.id)) throw new TypeError("id is a whole number");
    id = request.id;
    if (typeof request.op !== "string") throw new TypeError("op is a text");
    if (!Object.hasOwn(OPERATIONS, request.op)) throw new Unsupported();
    return { id, ...OPERATIONS[request.op](request) };
  } catch (error) {
    if (error instanceof Unsupported) return { id, unsupported: true };
    // It may have an offset too; this codec does not count.
    if (error instanceof Refused) return { id, reject: error.message, field: error.field };
    return { id, error: String(error) }; // whatever it is, and the next line is answered
  }
}

function main() {
  const write = (line) => process.stdout.write(JSON.stringify(line) + "\n");
  const runtime = `node ${process.version}`;
  write({ ready: true, codec: 1, peer: "template", version: "1", runtime });
  const decoder = new StringDecoder();
  let pieces = []; // of a line that has not ended: joined once, since a line may be long
  process.stdin.on("data", (data) => {
    const [first, ...lines] = decoder.write(data).split("\n");
    pieces.push(first);
    for (const line of lines) {
      write(answerTo(pieces.join("")));
      pieces = [line];
    }
  });
  process.stdin.on("end", () => {
    const last = pieces.join("") + decoder.end();
    if (last) write(answerTo(last));
  });
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) main();
