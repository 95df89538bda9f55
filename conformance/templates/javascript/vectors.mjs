// Plays the session vectors to the peer beside this file: no socket, no clock, no driver.
//
// Run it with `node vectors.mjs FOLDER`, the folder of the vectors (protocol/vectors/session). It
// prints one line of JSON, and exits with 1 if a vector failed. protocol/vectors/README.md describes
// the vectors. To play them to your peer, replace what is in `Played`.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { ANY_EVENT, CONNECT, DISCONNECT, JOIN, LEAVE, NATIVE, Peer, ReplyError } from "./peer.mjs";

const EVENTS = { connect: CONNECT, disconnect: DISCONNECT, join: JOIN, leave: LEAVE };
const CHANGES = { connected: "connect", disconnected: "disconnect", joined: "join", left: "leave" };

/** Why a vector cannot be played to this peer. */
class Skipped extends Error {}

// ---- Payloads and placeholders ----

const filled = (text, names) => text.replace(/<<(\w+)>>/g, (found, name) => names[name] ?? found);

/** Build a payload or a body: a string, or a Buffer if it is binary. */
function built(described = "", names = {}) {
  if (typeof described === "string") return filled(described, names);
  const { binary = "", hex = "" } = described;
  return Buffer.concat([Buffer.from(filled(binary, names)), Buffer.from(hex, "hex")]);
}

const shown = (payload) => (Buffer.isBuffer(payload) ? `hex ${payload.toString("hex")}` : payload);

/** Return whether a payload is the expected one; capture a token or an ID that is new. */
function matches(expected, actual, names) {
  const text = typeof expected === "string" ? expected : expected.binary ?? "";
  const found = filled(text, names).match(/<<(\w+)>>/);
  const rest = found && String(actual).slice(filled(text, names).indexOf(found[0]));
  if (found?.[1] === "text") {
    return rest !== "" && shown(built(expected, { ...names, text: rest })) === shown(actual);
  }
  if (found) {
    const value = text.startsWith("A") ? rest : rest.split(";")[0];
    if (!value || Object.values(names).includes(value)) return false;
    names[found[1]] = value;
  }
  return shown(built(expected, names)) === shown(actual);
}

// ---- A vector ----

/** The peer of one vector, and its application. */
class Played {
  sent = [];
  events = [];
  decisions = []; // the answers to the changes that the other peer asks for in this turn
  replies = new Map(); // by token: what resolves or rejects the promises of handlers

  constructor({ role, given }) {
    const handler = (_, message) => {
      this.#saw(message);
      if (!message.wait) return undefined;
      return new Promise((resolve, reject) => {
        const waiting = this.replies.get(message.wait) ?? [];
        this.replies.set(message.wait, [...waiting, { resolve, reject }]);
      });
    };
    const decide = () => {
      const text = this.decisions.shift();
      if (text !== undefined) throw new ReplyError(text);
    };
    const table = { [ANY_EVENT]: handler };
    for (const change of given.decides ?? []) {
      const isOwn = role === "server" || change === "connect" || change === "join";
      if (isOwn) table[EVENTS[change]] = decide; // a client cannot refuse to leave
    }
    const handlers = Object.fromEntries(given.namespaces.map((name) => [name, { ...table }]));
    if (given.native) handlers[""][NATIVE] = (_, { body }) => this.#native(body);
    const socket = { send: (bytes, isBinary) => this.#sends(bytes, isBinary), close() {} };
    this.peer = new Peer(socket, handlers, role === "client");
    this.peer.changed = (what, namespace, room) => {
      const place = CHANGES[what].match(/join|leave/) ? { namespace, room } : { namespace };
      this.events.push({ event: "changed", change: CHANGES[what], ...place });
    };
  }

  #sends(bytes, isBinary) {
    this.sent.push(isBinary ? Buffer.from(bytes) : bytes.toString());
  }

  #native(body) {
    this.events.push({ event: "native-received", payload: shown(body) });
  }

  #saw({ namespace, room, event, isError, body }) {
    this.events.push({ event: "message", namespace, room, name: event, isError, body: shown(body) });
  }

  receive(payload) {
    this.peer.receive(Buffer.from(payload), Buffer.isBuffer(payload));
  }

  /** Call a command of the application. */
  call(step, names, asked) {
    const { peer } = this;
    const { namespace, room = "", event } = step;
    const body = built(step.body, names);
    const reply = () => (this.replies.get(asked.get(step.ask)) ?? []).shift();
    switch (step.do) {
      case "connect":
      case "disconnect":
      case "join":
      case "leave":
        return void peer.change(EVENTS[step.do], namespace, room).catch(() => {});
      case "ask":
        return void peer.ask(namespace, event, body, room).catch(() => {});
      case "emit":
        return peer.emit(namespace, event, body, room);
      case "broadcast": {
        const rooms = peer.rooms.get(namespace);
        if (rooms && (!room || rooms.has(room))) peer.emit(namespace, event, body, room);
        return undefined;
      }
      case "native":
        return peer.native(body);
      case "reply":
        return reply()?.resolve(body);
      case "reply-error":
        return reply()?.reject(new ReplyError(step.text));
      case "ignore":
        return reply()?.resolve(undefined);
      case "close":
        return peer.end();
      case "allow":
      case "deny":
        return undefined; // it was given before the change was asked for
      default:
        throw new Skipped(`there is no command ${step.do}`);
    }
  }
}

/** Each input from outside, with the commands that the application calls after it. */
function turnsOf(steps) {
  const turns = [];
  for (const step of steps) {
    if (step.misuse) continue; // this peer does not refuse all of them, and nothing changes
    if (step.do && turns.length) turns.at(-1).push(step);
    else turns.push([step]);
  }
  return turns;
}

/** The events of a turn that this peer reports, without what it does not tell. */
function expectedEvents(turn, rooms, names) {
  const events = [];
  for (const each of turn.flatMap((step) => step.events ?? [])) {
    const { event, change, namespace = "", room, cause } = each;
    if (event === "changed") {
      const isOfRoom = change === "join" || change === "leave";
      const place = JSON.stringify([namespace, room]);
      if (change === "join") rooms.add(place);
      if (change === "leave") rooms.delete(place);
      if (change === "leave" && cause === "forced") continue; // it ends with its namespace
      events.push({ event, change, namespace, ...(isOfRoom ? { room } : {}) });
    } else if (event === "received" || event === "asked") {
      const { namespace = "", room = "", event: name = "", is_error, body } = each.message;
      // What comes for a room that is not joined reaches no handler (RM-9).
      if (room && !rooms.has(JSON.stringify([namespace, room]))) continue;
      const content = shown(built(body, names));
      const isError = is_error ?? false;
      events.push({ event: "message", namespace, room, name, isError, body: content });
    } else if (event === "native-received" && !namespace) {
      events.push({ event, payload: shown(built(each.payload, names)) });
    }
  }
  return events;
}

const sorted = (events) => events.map((each) => JSON.stringify(each)).sort();

/** Play a vector; return what differs, or undefined. */
async function play(vector) {
  const { given, steps } = vector;
  if (given.limits) throw new Skipped("limits cannot be set");
  if (given.native === "only") throw new Skipped("there is no native-only peer");
  if (steps.some((step) => "time" in step)) throw new Skipped("asks have no deadlines");
  const opened = steps.findIndex((step) => step.events?.some(({ event }) => event === "opened"));
  const isUsual = (step) => step.do || step.receive === "M" || /^A/.test(step.receive);
  if (!steps.slice(0, opened + 1).every(isUsual)) throw new Skipped("the handshake is elsewhere");
  const played = new Played(vector);
  const [names, asked, rooms] = [{}, new Map(), new Set()];
  const turns = turnsOf(steps.slice(opened));
  turns[0] = turns[0].slice(1); // the handshake
  for (const turn of turns) {
    played.sent = [];
    played.events = [];
    const told = turn.flatMap((step) => step.events ?? []);
    for (const { event, ask, message } of told) {
      if (event === "asked") asked.set(ask, message.wait);
      if (event !== "change-asked") continue;
      const decision = turn.find((step) => step.ask === ask && /allow|deny/.test(step.do));
      if (!decision) throw new Skipped("applications decide at once");
      played.decisions.push(decision.text);
    }
    for (const step of turn) {
      if ("receive" in step) played.receive(built(step.receive, names));
      else if ("end" in step) played.peer.end();
      else played.call(step, names, asked);
      await new Promise(setImmediate); // handlers and asks are promises
    }
    const expected = turn.flatMap((step) => step.send ?? []);
    const number = steps.indexOf(turn[0]) + 1;
    const isSent =
      expected.length === played.sent.length &&
      expected.every((each, index) => matches(each, played.sent[index], names));
    if (!isSent) {
      const [wanted, sent] = [expected.map((each) => shown(built(each, names))), played.sent.map(shown)];
      return { step: number, expected: wanted, actual: sent };
    }
    const [wanted, events] = [sorted(expectedEvents(turn, rooms, names)), sorted(played.events)];
    if (JSON.stringify(wanted) !== JSON.stringify(events)) {
      return { step: number, expected: wanted, actual: events };
    }
    if (told.some(({ event }) => event === "closed")) break;
  }
  return undefined;
}

const folder = process.argv[2];
const result = { played: 0, skipped: {}, failed: {} };
for (const name of readdirSync(folder).sort()) {
  if (!name.endsWith(".json") || name === "schema.json") continue;
  const file = JSON.parse(readFileSync(join(folder, name), "utf-8"));
  if (file.format !== 1) throw new Error(`${name} has another format`);
  for (const vector of file.vectors) {
    try {
      const difference = await play(vector);
      if (difference) result.failed[vector.id] = difference;
      else result.played += 1;
    } catch (error) {
      if (!(error instanceof Skipped)) throw error;
      result.skipped[error.message] = (result.skipped[error.message] ?? 0) + 1;
    }
  }
}
console.log(JSON.stringify(result));
process.exit(Object.keys(result.failed).length || !result.played ? 1 : 0);
