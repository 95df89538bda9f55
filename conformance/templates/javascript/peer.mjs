// One end of a neffos connection, as small as it can be: it stands in for your library. The
// templates of the driver and of the server run on it until yours takes its place. It keeps
// neither limits nor deadlines, so that nothing but a test should.

import { decode, encode, Refused } from "./codec.mjs";

export const CONNECT = "_OnNamespaceConnect";
export const DISCONNECT = "_OnNamespaceDisconnect";
export const JOIN = "_OnRoomJoin";
export const LEAVE = "_OnRoomLeave";
export const ANY_EVENT = "*";
const CHANGES = {
  [CONNECT]: "connected",
  [DISCONNECT]: "disconnected",
  [JOIN]: "joined",
  [LEAVE]: "left",
};

/** Give what an object has under a name that the other end chose, which may be "constructor". */
export const own = (object, name) => (Object.hasOwn(object, name) ? object[name] : undefined);

/** An error as a reply: thrown by a handler to send one, and by an ask that gets one. */
export class ReplyError extends Error {}

/** A connection whose handshake is done. */
export class Peer {
  rooms = new Map(); // the rooms that are joined, by connected namespace
  changed = (what, namespace, room) => {};
  #asks = new Map();
  #count = 0;
  #work = Promise.resolve();

  /**
   * `handlers` has functions by namespace and event; each is given this object and the message,
   * and returns the reply's body or undefined to send nothing, or a promise of either. Those for
   * connect, disconnect, join and leave may refuse with ReplyError. A body is a string, or a
   * Buffer in a binary message.
   */
  constructor(socket, handlers, isClient) {
    this.socket = socket;
    this.handlers = handlers;
    this.isClient = isClient;
  }

  /** Take a payload from the connection; one that is no frame is dropped. */
  receive(octets, isBinary) {
    const message = read(octets, isBinary);
    if (!message) return;
    const answered = this.#asks.get(message.wait);
    if (answered) {
      this.#asks.delete(message.wait);
      answered.resolve(message);
    } else {
      this.#work = this.#work.then(() => this.#answer(message));
    }
  }

  /** Tell that the connection is gone. */
  end() {
    for (const { reject } of this.#asks.values()) reject(new ReplyError("the connection is closed"));
    this.#asks.clear();
  }

  // What this end does.

  emit(namespace, event, body, room = "") {
    if (!this.rooms.has(namespace)) throw new ReplyError("bad namespace");
    this.#write({ wait: "", namespace, room, event, body });
  }

  /** Send an event, and give the reply. */
  async ask(namespace, event, body = "", room = "") {
    if (!this.rooms.has(namespace) && event !== CONNECT) throw new ReplyError("bad namespace");
    this.#count += 1;
    const wait = `${this.isClient ? "$" : ""}${this.#count}`;
    const reply = await new Promise((resolve, reject) => {
      this.#write({ wait, namespace, room, event, body });
      this.#asks.set(wait, { resolve, reject });
    });
    if (reply.isError) throw new ReplyError(String(reply.body));
    return reply;
  }

  /** Ask to connect or disconnect a namespace, or to join or leave a room. */
  async change(event, namespace, room = "") {
    await this.ask(namespace, event, "", room);
    this.#change(event, namespace, room);
  }

  #write(message) {
    this.socket.send(...written(message));
  }

  // What the other end does.

  async #answer(message) {
    let [body, isError] = [undefined, false];
    try {
      body = await this.#handle(message);
    } catch (error) {
      if (!(error instanceof ReplyError || error instanceof Refused)) console.error(error);
      [body, isError] = [error.message, true];
    }
    if (body === undefined) return;
    if (Buffer.isBuffer(message.body)) body = Buffer.from(body);
    this.#write({ ...message, isError, body });
  }

  async #handle(message) {
    const { namespace, event, room } = message;
    const isConnected = this.rooms.has(namespace);
    const handlers = own(this.handlers, namespace);
    if (own(CHANGES, event)) {
      if (!message.wait || message.isNoOp) return;
      if (event === CONNECT && !handlers) throw new ReplyError("bad namespace");
      if ((event === JOIN || event === LEAVE) && !isConnected) throw new ReplyError("bad namespace");
      if (this.#wouldChange(event, namespace, room)) {
        await handlers[event]?.(this, message);
        this.#change(event, namespace, room);
      }
      this.socket.send(Buffer.from(`${message.wait};;;;;;`), false);
    } else if (isConnected) {
      return (own(handlers, event) ?? handlers[ANY_EVENT])?.(this, message);
    } else if (message.wait) {
      throw new ReplyError("bad namespace");
    }
  }

  #wouldChange(event, namespace, room) {
    if (event === CONNECT || event === DISCONNECT) {
      return this.rooms.has(namespace) !== (event === CONNECT);
    }
    return this.rooms.get(namespace).has(room) !== (event === JOIN);
  }

  #change(event, namespace, room) {
    if (event === CONNECT && !this.rooms.has(namespace)) this.rooms.set(namespace, new Set());
    if (event === DISCONNECT) this.rooms.delete(namespace);
    if (event === JOIN) this.rooms.get(namespace)?.add(room);
    if (event === LEAVE) this.rooms.get(namespace)?.delete(room);
    this.changed(CHANGES[event], namespace, room);
  }
}

/** Read a payload; names and texts are strings from here on. */
function read(octets, isBinary) {
  try {
    const { wait, namespace, room, event, is_error, is_no_op, body } = decode(octets, isBinary);
    const names = { wait, namespace, room, event };
    for (const name in names) names[name] = names[name].toString();
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
