// The conformance application on a server in JavaScript, to start your own from.
//
// Run it with `node server.mjs`; `neffos-wire test server URL` tests it. The handlers are the tables
// of spec/docs/application.md: keep them. The server below them runs on the files beside this one:
// replace it with yours.

import { randomUUID } from "node:crypto";

import { ANY_EVENT, CONNECT, DISCONNECT, JOIN, LEAVE, NATIVE } from "./peer.mjs";
import { own, Peer, ReplyError } from "./peer.mjs";
import { serve } from "./websocket.mjs";

// ---- The application ----

const echo = (_, message) => (message.isError ? "" : message.body);

const refuse = (text, room) => (_, message) => {
  if (room === undefined || message.room === room) throw new ReplyError(text);
};

const askTo = (event) => async (peer, message) => {
  const name = String(message.body);
  const isRoom = event === JOIN || event === LEAVE;
  await peer.change(event, event === CONNECT ? name : "app", isRoom ? name : "").catch(ignore);
};

function broadcast(peers, body, room = "") {
  for (const peer of peers) {
    const rooms = peer.rooms.get("app");
    if (rooms && (!room || rooms.has(room))) peer.emit("app", "news", body, room);
  }
  return "done";
}

function broadcastTo(_, { body }) {
  const bytes = Buffer.from(body);
  const space = bytes.indexOf(" ");
  const to = bytes.subarray(0, space < 0 ? bytes.length : space).toString();
  const rest = bytes.subarray(space < 0 ? bytes.length : space + 1);
  const peers = [...PEERS].filter((peer) => peer.id === to);
  return broadcast(peers, Buffer.isBuffer(body) ? rest : rest.toString());
}

async function askMe(peer, { body }) {
  try {
    peer.emit("app", "answer", (await peer.ask("app", "question", body)).body);
  } catch (error) {
    if (!(error instanceof ReplyError)) throw error;
    if (!peer.rooms.has("app")) return;
    const text = Buffer.isBuffer(body) ? Buffer.from(error.message) : error.message;
    peer.emit("app", "answer-error", text);
  }
}

function push(peer, { body }) {
  peer.emit("app", String(body), Buffer.isBuffer(body) ? Buffer.from("pushed") : "pushed");
  return "done";
}

const APPLICATION = {
  app: {
    [JOIN]: refuse("room is locked", "locked"),
    [LEAVE]: refuse("room is sticky", "sticky"),
    echo,
    fail: (_, { body }) => {
      throw new ReplyError(String(body));
    },
    silent: () => undefined,
    whoami: (peer) => peer.id,
    tries: (peer) => {
      const value = peer.headers["x-websocket-reconnect"] ?? "";
      return /^[0-9]+$/.test(value) ? String(BigInt(value)) : "0";
    },
    header: (peer, { body }) => own(peer.headers, String(body).toLowerCase()) ?? "",
    push,
    "broadcast-others": (peer, { body }) => broadcast(others(peer), body),
    "broadcast-all": (_, { body }) => broadcast(PEERS, body),
    "broadcast-room": (peer, { body, room }) => broadcast(others(peer), body, room),
    "broadcast-to": broadcastTo,
    "ask-me": askMe,
    "join-me": askTo(JOIN),
    "leave-me": askTo(LEAVE),
    "connect-me": askTo(CONNECT),
    "disconnect-me": askTo(DISCONNECT),
    "close-me": (peer) => peer.socket.close(),
  },
  any: { [ANY_EVENT]: (_, message) => message.event },
  refused: { [CONNECT]: refuse("namespace is closed") },
  sticky: { [DISCONNECT]: refuse("namespace is sticky") },
  "semi;colon": { "ec;ho": echo },
};
const MIXED = { "": { echo, [NATIVE]: echo } };

// ---- The server: replace it with yours ----

const PEERS = new Set();
const others = (peer) => [...PEERS].filter((each) => each !== peer);
const ignore = () => {};

const HANDSHAKE_TIMEOUT = 10_000; // milliseconds for a client to begin the handshake

// A query parameter that stands for a header, except headers that proxies or HTTP use.
const RESERVED = "(?:connection|cookie|forwarded|host|origin|upgrade)$|sec-|x-forwarded-";
const NAME = "([-\\w!#$%&'*+.^`|~]+)";
const URL_HEADER = new RegExp(`^x-websocket-header-(?!${RESERVED})${NAME}$`, "i");

/** Refuse pages of other origins. */
function mayOpen({ headers }) {
  return headers.origin === undefined || headers.origin.split("://")[1] === headers.host;
}

/** Return the headers of a request, also those in its URL. */
function headersOf({ headers, url }) {
  const found = {};
  for (const [name, value] of new URL(url, "ws://localhost").searchParams) {
    const header = URL_HEADER.exec(name)?.[1].toLowerCase();
    if (header && !/[\0\r\n]/.test(value)) found[header] = value;
  }
  return { ...found, ...headers };
}

function open(socket, request) {
  const path = request.url.split("?")[0];
  if (path === "/native") {
    socket.onMessage = (bytes, isBinary) => {
      if (bytes.length) socket.send(bytes, isBinary); // an empty message is ignored (FR-14)
    };
    return;
  }
  const late = setTimeout(() => socket.close(1008), HANDSHAKE_TIMEOUT);
  socket.onClose = () => clearTimeout(late);
  socket.onMessage = (bytes) => {
    if (bytes[0] !== 0x4d) return; // M
    clearTimeout(late);
    const headers = headersOf(request);
    const id = headers["x-conformance-id"] || randomUUID();
    let refusal = headers["x-conformance-refuse"];
    if ([...PEERS].some((each) => each.id === id)) refusal = "this connection id is in use";
    if (refusal !== undefined) {
      socket.send(Buffer.from(`H${refusal || "no text was given"}`), false);
      socket.close(1008);
      return;
    }
    const peer = new Peer(socket, path === "/mixed" ? MIXED : APPLICATION, false);
    peer.id = id;
    peer.headers = headers;
    PEERS.add(peer);
    socket.onMessage = (...payload) => peer.receive(...payload);
    socket.onClose = () => {
      PEERS.delete(peer);
      peer.end();
    };
    socket.send(Buffer.from(`A${peer.id}`), false);
    const namespace = headers["x-conformance-connect"];
    if (namespace) peer.change(CONNECT, namespace).catch(ignore); // it may be refused
  };
}

const server = serve(open, mayOpen);
server.listen(0, "127.0.0.1", () => {
  const ready = {
    ready: true,
    peer: "template",
    version: "1",
    runtime: `node ${process.version}`,
    endpoints: { template: `ws://127.0.0.1:${server.address().port}/` },
  };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
});
// It ends with its standard input, so that no process remains when the caller ends.
process.stdin.resume().on("end", () => process.exit(0));
