// Measures the row of neffos.js: node node.mjs MODULE, a request as JSON on standard input, the
// times as JSON on standard output. MODULE is the installed package with its two functions
// exported, which they are not as published.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { deserializeMessage, serializeMessage } = await import(pathToFileURL(process.argv[2]));
const request = JSON.parse(readFileSync(0, "utf8"));

const decode = (payload) => deserializeMessage(payload, false);

// Joining text gives V8 a rope that points at its parts; the sender has to copy them
// into one piece first. Looking at a character makes V8 do that here, where it is measured.
function encode(message) {
  const payload = serializeMessage(message);
  if (typeof payload === "string") payload.charCodeAt(0);
  return payload;
}

// Strings that come out of a buffer are flat, as those that a WebSocket library hands over.
const flat = (text) => Buffer.from(text, "latin1").toString("latin1");
const octets = (text) => new Uint8Array(Buffer.from(text, "latin1"));

let kept; // what was computed last, so that no call is computed for nothing

function run(call, argument, number) {
  const start = process.hrtime.bigint();
  for (let i = 0; i < number; i++) kept = call(argument);
  return Number(process.hrtime.bigint() - start);
}

function samples(call, argument) {
  // The compiler of V8 works beside the program, on the same core here: it needs its time.
  const warm = process.hrtime.bigint() + BigInt(request.warm);
  let number = 1;
  let took = run(call, argument, number);
  while (took < request.nanoseconds / 4 || process.hrtime.bigint() < warm) {
    if (took < request.nanoseconds / 4) number *= 2;
    took = run(call, argument, number);
  }
  number = Math.max(1, Math.floor((number * request.nanoseconds) / took));
  return Array.from({ length: request.samples }, () => run(call, argument, number) / number);
}

const times = {};
for (const { key, head, size, binary } of request.frames) {
  const body = request.fill.repeat(Math.ceil(size / request.fill.length)).slice(0, size - head.length);
  const payload = binary ? octets(head + body).buffer : flat(head + body);
  const message = decode(payload);
  message.Body = binary ? octets(body) : flat(body);
  const again = encode(message);
  if (!Buffer.from(again).equals(Buffer.from(payload))) {
    throw new Error("the payload does not survive decoding and encoding");
  }
  times[key] = { decode: samples(decode, payload), encode: samples(encode, message) };
}
process.stdout.write(JSON.stringify({ times }));
