// The driver of a client in JavaScript, to start your own from; `node driver.mjs` runs it.
//
// The lines are those of spec/docs/driver.md. The client runs on the files beside this one;
// replace it with yours. Reconnections are left out.

import { createInterface } from "node:readline";

import { Refused } from "./codec.mjs";
import { ANY_EVENT, CONNECT, DISCONNECT, JOIN, LEAVE, NATIVE } from "./peer.mjs";
import { Peer, ReplyError } from "./peer.mjs";
import { dial as dialSocket } from "./websocket.mjs";

const TIMEOUT = 10; // seconds
const UNWANTED = "unwanted"; // a namespace and a room that this client refuses
const NAMESPACES = ["app", "any", "semi;colon", UNWANTED, ""];

// ---- The client: replace it with yours ----

/** Open a connection, and return it once the handshake is complete. */
async function dial(url, headers, handlers, changed, onClose) {
  const socket = await dialSocket(url, headers);
  return new Promise((resolve, reject) => {
    const early = [];
    socket.onMessage = (bytes, isBinary) => {
      const answer = bytes.toString();
      if (answer.startsWith("H")) {
        socket.close();
        reject(new ReplyError(answer.slice(1)));
      } else if (answer.startsWith("A")) {
        const peer = new Peer(socket, handlers, true);
        peer.id = answer.slice(1);
        peer.changed = changed;
        socket.onMessage = (...payload) => peer.receive(...payload);
        socket.onClose = () => {
          peer.end();
          onClose();
        };
        resolve(peer);
        for (const payload of early) peer.receive(...payload);
      } else early.push([bytes, isBinary]); // it is handled after the acceptance
    };
    socket.onClose = () => reject(new ReplyError("the connection is closed"));
    socket.send(Buffer.from("M"), false);
  });
}

// ---- The client's side of the conformance application ----

/** Return the handlers; each reports its message before it acts. */
function application(see) {
  const echo = (_, message) => {
    see(message);
    return message.isError ? "" : message.body;
  };
  const unwanted = (_, { event, namespace, room }) => {
    if ((event === JOIN ? room : namespace) === UNWANTED) throw new ReplyError("not wanted");
  };
  const events = {
    [JOIN]: unwanted,
    echo,
    question: echo,
    fail(_, message) {
      see(message);
      throw new ReplyError(String(message.body));
    },
    async relay(peer, message) {
      see(message);
      return (await peer.ask(message.namespace, "echo", message.body)).body;
    },
    [ANY_EVENT]: (_, message) => see(message),
  };
  const handlers = Object.fromEntries(NAMESPACES.map((name) => [name, events]));
  handlers[UNWANTED] = { ...events, [CONNECT]: unwanted };
  return { ...handlers, "": { ...events, [NATIVE]: (_, message) => see(message) } };
}

// ---- The driver protocol ----

/** An operation that this driver does not know, or its client does not support. */
class Unsupported extends Error {}

const peers = new Map();
let dialled = 0;

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

function bodyOf({ text, base64 }) {
  if (typeof base64 === "string") return Buffer.from(base64, "base64");
  if (typeof text === "string") return text;
  throw new TypeError("the operation has no body");
}

function bodyFields(body) {
  return Buffer.isBuffer(body) ? { base64: body.toString("base64") } : { text: body };
}

function peerOf({ connection }) {
  if (!peers.has(connection)) throw new TypeError(`there is no connection ${connection}`);
  return peers.get(connection);
}

function changing(event) {
  return (operation) => peerOf(operation).change(event, operation.namespace, operation.room);
}

const OPERATIONS = {
  async dial({ url, headers, reconnect }) {
    if (reconnect) throw new Unsupported();
    dialled += 1;
    const connection = dialled;
    const see = ({ namespace, room, event, isError, body }) => {
      const error = isError ? { error: true } : {};
      const names = { namespace, room, event };
      if (event === NATIVE) tell({ saw: "native", connection, ...bodyFields(body) });
      else tell({ saw: "event", connection, ...names, ...bodyFields(body), ...error });
    };
    const closed = () => tell({ saw: "closed", connection });
    const changed = (what, namespace, room) => {
      const place = what === "joined" || what === "left" ? { namespace, room } : { namespace };
      tell({ saw: what, connection, ...place });
    };
    const peer = await dial(url, headers, application(see), changed, closed);
    peers.set(connection, peer);
    return { connection, connection_id: peer.id };
  },
  connect: changing(CONNECT),
  disconnect: changing(DISCONNECT),
  join: changing(JOIN),
  leave: changing(LEAVE),
  async "leave-all"(operation) {
    const peer = peerOf(operation);
    for (const room of [...(peer.rooms.get(operation.namespace) ?? [])]) {
      await peer.change(LEAVE, operation.namespace, room);
    }
  },
  emit(operation) {
    const { namespace, event, room } = operation;
    peerOf(operation).emit(namespace, event, bodyOf(operation), room);
  },
  async ask(operation) {
    const { namespace, event, room } = operation;
    const reply = await peerOf(operation).ask(namespace, event, bodyOf(operation), room);
    return bodyFields(reply.body);
  },
  native: (operation) => peerOf(operation).native(bodyOf(operation)),
  close: (operation) => peerOf(operation).socket.close(),
};

/** Perform an operation, and report its result. */
async function operate(operation) {
  const { id, op, timeout = TIMEOUT } = operation;
  let timer;
  try {
    if (!Object.hasOwn(OPERATIONS, op)) throw new Unsupported();
    const late = new Promise((_, reject) => {
      const ranOut = () => reject(new Error("the time for the operation ran out"));
      timer = setTimeout(ranOut, timeout * 1000);
    });
    const done = (async () => OPERATIONS[op](operation))();
    tell({ id, result: (await Promise.race([done, late])) ?? {} });
  } catch (error) {
    if (error instanceof Unsupported) tell({ id, unsupported: true });
    else if (error instanceof Refused) {
      tell({ id, error: `a frame cannot carry this: ${error.message} in ${error.field}` });
    } else tell({ id, error: error.message || String(error) });
  } finally {
    clearTimeout(timer);
  }
}

const runtime = `node ${process.version}`;
tell({ ready: true, driver: 1, peer: "template", version: "1", runtime });
createInterface({ input: process.stdin })
  .on("line", (line) => {
    try {
      const operation = JSON.parse(line);
      if (!Number.isInteger(operation.id)) throw new TypeError("id is a whole number");
      operate(operation);
    } catch (error) {
      tell({ id: null, error: `not an operation: ${error}` });
    }
  })
  .on("close", () => process.exit(0)); // open sockets would keep Node alive
