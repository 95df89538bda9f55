// A peer of a neffos connection, as small as it can be, instead of your library. The templates of
// the driver and of the server run on it until you replace it with yours.

import { isUtf8 } from "node:buffer";
import { randomBytes } from "node:crypto";

import { decode, encode, Refused } from "./codec.mjs";

export const CONNECT = "_OnNamespaceConnect";
export const DISCONNECT = "_OnNamespaceDisconnect";
export const JOIN = "_OnRoomJoin";
export const LEAVE = "_OnRoomLeave";
export const NATIVE = "_OnNativeMessage";
export const ANY_EVENT = "*";
const CHANGES = {
  [CONNECT]: "connected",
  [DISCONNECT]: "disconnected",
  [JOIN]: "joined",
  [LEAVE]: "left",
};
// Local events, which no frame carries.
const NO_EVENTS = ["_OnNamespaceConnected", "_OnRoomJoined", "_OnRoomLeft", "_OnAnyEvent"];
const [ROOMS, ASKS] = [1000, 1000]; // limits: rooms of all namespaces, and pending asks

/** Return the own property of a name that the peer chose, which may be "constructor". */
export const own = (object, name) => (Object.hasOwn(object, name) ? object[name] : undefined);

/** An error as a reply: thrown by a handler to send one, and by an ask that gets one. */
export class ReplyError extends Error {}

/** A connection whose handshake is complete. */
export class Peer {
  rooms = new Map(); // the joined rooms, by connected namespace
  changed = (what, namespace, room) => {};
  #asks = new Map(); // pending asks, by token
  #ended = []; // settled tokens, whose late replies are not asks
  #isMixed;

  /**
   * `handlers` has functions by namespace and event; each is given this object and the message,
   * and returns the reply's body or undefined to send nothing, or a promise of either. Those for
   * connect, disconnect, join and leave return nothing, and may refuse with ReplyError. If the
   * empty namespace has one for NATIVE, a payload that is not a frame is a native message. A body
   * is a string, or a Buffer in a binary message.
   */
  constructor(socket, handlers, isClient) {
    this.socket = socket;
    this.handlers = handlers;
    this.isClient = isClient;
    this.#isMixed = Boolean(handlers[""]?.[NATIVE]);
  }

  /** Handle a payload; a handler that waits does not delay later payloads. */
  receive(bytes, isBinary) {
    const message = this.#read(bytes, isBinary);
    if (!message || this.#ended.includes(message.wait)) return;
    const ask = this.#asks.get(message.wait);
    if (ask) this.#replied(ask, message);
    else this.#answer(message);
  }

  /** Report that the connection has ended. */
  end() {
    for (const namespace of [...this.rooms.keys()]) this.#change([DISCONNECT, namespace, ""]);
    this.#drop(() => true, "the connection is closed");
  }

  // Commands of this peer.

  emit(namespace, event, body, room = "") {
    this.#say("", namespace, room, event, body);
  }

  /** Send a native message. */
  native(body) {
    if (!this.#isMixed || !this.rooms.has("")) throw new ReplyError("bad namespace");
    const bytes = Buffer.from(body);
    if (!bytes.length) return;
    if (read(bytes, true)) throw new ReplyError("this would be taken for a frame");
    this.socket.send(bytes, Buffer.isBuffer(body));
  }

  /** Send an event, and return the reply. */
  async ask(namespace, event, body = "", room = "") {
    if (this.#asks.size === ASKS) throw new ReplyError("too many asks wait for a reply");
    const token = (this.isClient ? "$" : "") + randomBytes(16).toString("hex");
    this.#say(token, namespace, room, event, body);
    return new Promise((resolve, reject) => {
      this.#asks.set(token, { asked: [event, namespace, room], resolve, reject });
    });
  }

  /** Ask to connect or disconnect a namespace, or to join or leave a room. */
  async change(event, namespace, room = "") {
    await this.ask(namespace, event, "", room);
  }

  #say(wait, namespace, room, event, body) {
    const rooms = this.rooms.get(namespace);
    const isChange = own(CHANGES, event) !== undefined;
    if (NO_EVENTS.includes(event) || (isChange && !wait)) throw new ReplyError("bad event");
    if (!rooms && event !== CONNECT) throw new ReplyError("bad namespace");
    if (room && !isChange && !rooms.has(room)) throw new ReplyError("bad room");
    this.#write({ wait, namespace, room, event, body });
  }

  #write(message) {
    this.socket.send(...written(message));
  }

  // Messages of the other peer.

  #read(bytes, isBinary) {
    if (!bytes.length) return null;
    const message = read(bytes, isBinary);
    if (!message && this.#isMixed) {
      const body = isBinary ? bytes : bytes.toString();
      return { wait: "", namespace: "", room: "", event: NATIVE, body };
    }
    // A marker in the second byte is for the server alone.
    if (message && !this.isClient) message.wait = message.wait.replace(/^([\0-\x7f])!(?=.)/s, "$1");
    return message;
  }

  #replied({ asked, resolve, reject }, message) {
    const { wait, namespace, room, event, body, isError } = message;
    this.#forget(wait);
    if (isError) return reject(new ReplyError(String(body)));
    if (own(CHANGES, asked[0])) {
      if (namespace || room || event || body.length) {
        return reject(new ReplyError("this is no answer to a change"));
      }
      if (this.#wouldChange(asked)) this.#change(asked);
    }
    resolve(message);
  }

  #answer(message) {
    const rooms = this.rooms.get(message.namespace);
    const done = (body) => this.#reply(message, rooms, body, false);
    const failed = (error) => {
      if (!(error instanceof ReplyError || error instanceof Refused)) console.error(error);
      this.#reply(message, rooms, error.message || "no text was given", true);
    };
    try {
      const body = this.#handle(message, rooms);
      if (body instanceof Promise) body.then(done).catch(failed);
      else done(body);
    } catch (error) {
      failed(error);
    }
  }

  #reply(message, rooms, body, isError) {
    const { wait, namespace, room, event } = message;
    // There is no reply, or the namespace was disconnected meanwhile.
    if (body === undefined || (rooms && this.rooms.get(namespace) !== rooms)) return;
    if (event === NATIVE && this.#isMixed && !wait) {
      if (!isError) this.native(body);
    } else if (wait || !room || rooms.has(room)) {
      // else it was left meanwhile
      if (Buffer.isBuffer(message.body)) body = Buffer.from(body);
      this.#write({ ...message, isError, body });
    }
  }

  #handle(message, rooms) {
    const { wait, namespace, event, room, isError, isNoOp } = message;
    const mayAnswer = wait && !isError;
    if (own(CHANGES, event)) {
      if (!mayAnswer || isNoOp) return;
      this.#agree(message, [event, namespace, room]);
      this.socket.send(Buffer.from(`${wait};;;;;;`), false);
    } else if (!rooms) {
      if (mayAnswer) throw new ReplyError("bad namespace");
    } else if (!NO_EVENTS.includes(event) && (!room || rooms.has(room))) {
      const handlers = this.handlers[namespace];
      const isNative = event === NATIVE && this.#isMixed;
      const handler = own(handlers, event) ?? (isNative ? undefined : handlers[ANY_EVENT]);
      return handler?.(this, message);
    }
  }

  #agree(message, asked) {
    const [event, namespace, room] = asked;
    const isKnown = event === CONNECT ? own(this.handlers, namespace) : this.rooms.has(namespace);
    if (!isKnown && event !== DISCONNECT) throw new ReplyError("bad namespace");
    if (event === JOIN && !room) throw new ReplyError("bad room");
    if (!this.#wouldChange(asked)) return;
    const joined = [...this.rooms.values()].reduce((sum, { size }) => sum + size, 0);
    if (event === JOIN && joined === ROOMS) {
      throw new ReplyError("too many rooms");
    }
    this.handlers[namespace][event]?.(this, message);
    this.#drop((other) => other.every((part, index) => part === asked[index])); // both asked for it
    this.#change(asked);
  }

  #wouldChange([event, namespace, room]) {
    if (event === CONNECT || event === DISCONNECT) {
      return this.rooms.has(namespace) !== (event === CONNECT);
    }
    return this.rooms.get(namespace).has(room) !== (event === JOIN);
  }

  #change([event, namespace, room]) {
    if (event === CONNECT) this.rooms.set(namespace, new Set());
    if (event === JOIN) this.rooms.get(namespace).add(room);
    if (event === LEAVE) this.rooms.get(namespace).delete(room);
    if (event === DISCONNECT) {
      this.rooms.delete(namespace);
      const isEnded = ([what, where]) =>
        where === namespace && what !== CONNECT && what !== DISCONNECT;
      this.#drop(isEnded, "the namespace is disconnected");
    }
    this.changed(CHANGES[event], namespace, room);
  }

  /** Settle asks, with an error or without. */
  #drop(isMeant, error) {
    for (const [token, { asked, resolve, reject }] of this.#asks) {
      if (!isMeant(asked)) continue;
      this.#forget(token);
      if (error) reject(new ReplyError(error));
      else resolve();
    }
  }

  #forget(token) {
    this.#asks.delete(token);
    this.#ended.push(token);
    if (this.#ended.length > ASKS) this.#ended.shift();
  }
}

/** Read a payload; names and texts are strings from here on. */
function read(bytes, isBinary) {
  try {
    const { is_error, is_no_op, body, ...names } = decode(bytes, isBinary);
    for (const name in names) {
      if (!isUtf8(names[name])) return null;
      names[name] = names[name].toString();
    }
    const flags = { isError: is_error, isNoOp: is_no_op };
    return { ...names, ...flags, body: isBinary ? body : body.toString() };
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

function written({ wait, namespace, room, event, isError = false, isNoOp = false, body }) {
  const message = { is_error: isError, is_no_op: isNoOp, isBinary: Buffer.isBuffer(body) };
  const texts = { wait, namespace, room, event, body };
  for (const name in texts) message[name] = Buffer.from(texts[name]);
  return [encode(message), message.isBinary];
}
