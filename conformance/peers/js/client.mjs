// What neffos.js is made to do, wherever it runs: operations come in as lines, what came of them goes
// out as lines, as spec/docs/driver.md has it. Written to be read as a template for other clients.
//
// It knows the driver protocol and the API of neffos.js. It must not know the wire protocol, nor
// what the suite expects: where the library errs, the driver lets it err. Nor does it know whether
// this is Node or a page: driver.mjs and page.mjs do, and begin it.

/** Seconds for an operation that does not say. An ask of neffos.js itself waits for ever. */
const DEFAULT_TIMEOUT = 10;

/** Milliseconds between two attempts of neffos.js to open a lost connection again. */
const RECONNECT_EVERY = 100;

/** The namespace and the room that the client does not let itself be put into. */
const UNWANTED = "unwanted";

/** What a timer can hold, in milliseconds; beyond it a timer fires at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** The library, and what takes an object as the next line that goes out. */
let neffos, write;

/** Gives the number of the next connection, one that fails to open too. */
let nextNumber;

/** The connections that were dialled, by number. */
const connections = new Map();

/** Begin, before the first line comes in. */
export function begin(parts) {
  ({ neffos, write, nextNumber } = parts);
}

// --- Lines that go out ---------------------------------------------------------------------------

function writeSaw(what, connection, fields = {}) {
  write({ saw: what, connection: connection.number, ...fields });
}

/**
 * The text of what neffos.js rejects with: not even an error where a peer's text is empty, and in a
 * page an event that says nothing but "error" where a connection cannot be opened.
 */
function textOf(error) {
  return typeof error === "string" ? error : (error?.message ?? error?.type ?? "");
}

// --- Bodies and messages -------------------------------------------------------------------------

function bodyOf(operation) {
  return operation.text ?? bytesOf(operation.base64);
}

/** The fields of a line for a body of neffos.js: text, or an ArrayBuffer, or nothing. */
function bodyFields(body = "") {
  return typeof body === "string"
    ? { text: body }
    : { base64: base64Of(new Uint8Array(body)) };
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function base64Of(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

/** A message to write or to ask. The shorter calls of neffos.js lack binary bodies or rooms. */
function makeMessage(body, fields) {
  const binary = typeof body !== "string";
  return Object.assign(new neffos.Message(), { ...fields, Body: body, SetBinary: binary });
}

function eventMessage(operation) {
  return makeMessage(bodyOf(operation), {
    Namespace: operation.namespace,
    Room: operation.room ?? "",
    Event: operation.event,
  });
}

// --- The application that the connections run ----------------------------------------------------

/** The handlers of spec/docs/application.md, "The client's side". */
function application(connection) {
  const tell = (what) => handler(connection, (ns, message) => {
    writeSaw(what, connection, { namespace: message.Namespace });
  });
  const tellRoom = (what) => handler(connection, (ns, message) => {
    writeSaw(what, connection, { namespace: message.Namespace, room: message.Room });
  });
  const event = (act) => handler(connection, (ns, message) => {
    writeSaw("event", connection, eventFields(message));
    return act(ns, message);
  });

  const events = {
    // What comes before a change is let happen, but for what is unwanted. It has to be handled all
    // the same, or it would reach the handler of any other event.
    [neffos.OnNamespaceConnect]: handler(connection, (ns, message) => refusing(message.Namespace)),
    [neffos.OnRoomJoin]: handler(connection, (ns, message) => refusing(message.Room)),
    [neffos.OnRoomLeave]: handler(connection, nothing),

    [neffos.OnNamespaceConnected]: tell("connected"),
    [neffos.OnNamespaceDisconnect]: tell("disconnected"),
    [neffos.OnRoomJoined]: tellRoom("joined"),
    [neffos.OnRoomLeft]: tellRoom("left"),

    echo: event(reply),
    question: event(reply),
    fail: event(fail),
    relay: event(relay),
    [neffos.OnAnyEvent]: event(nothing),
  };
  const native = handler(connection, (ns, message) => {
    writeSaw("native", connection, bodyFields(message.Body));
  });
  return {
    app: events,
    any: events,
    "semi;colon": events,
    [UNWANTED]: events,
    "": { ...events, [neffos.OnNativeMessage]: native },
  };
}

/** A handler that first looks which connection it is called on: it is how a new one shows up. */
function handler(connection, act) {
  return (ns, message) => {
    adopt(connection, ns.conn);
    // neffos.js sends whatever a handler returns, unless that is empty.
    return act(ns, message) ?? null;
  };
}

function eventFields(message) {
  const place = { namespace: message.Namespace, room: message.Room, event: message.Event };
  return message.isError
    ? { ...place, text: textOf(message.Err), error: true }
    : { ...place, ...bodyFields(message.Body) };
}

function nothing() {}

function refusing(name) {
  return name === UNWANTED ? new Error("not wanted") : null;
}

function reply(ns, message) {
  return neffos.reply(message.Body);
}

function fail(ns, message) {
  return new Error(message.Body);
}

/**
 * neffos.js sends at once what a handler returns, and a promise as if it were an error. A reply
 * that comes later has to be written by hand: as the message that came, with another body.
 */
function relay(ns, message) {
  const { Body: body = "", Namespace } = message;
  const question = makeMessage(typeof body === "string" ? body : new Uint8Array(body), {
    Namespace,
    Event: "echo",
  });
  ns.conn.ask(question).then(
    ({ Body }) => answer(typeof Body === "string" ? Body : new Uint8Array(Body)),
    (error) => answer("", error),
  );

  function answer(Body, Err) {
    ns.conn.write(Object.assign(message, { Body, Err }));
  }
}

// --- Connections ---------------------------------------------------------------------------------

/**
 * Let a connection of neffos.js be the one behind our number. neffos.js opens a lost connection
 * anew without a word: that it did shows in the first handler that the new one calls.
 */
function adopt(connection, conn) {
  if (connection.conn === conn) {
    return;
  }
  connection.conn = conn;
  watchEnd(connection, conn);
  if (conn.wasReconnected()) {
    writeSaw("reconnected", connection, { connection_id: conn.ID ?? "" });
  }
}

/**
 * neffos.js has no event for the end of a connection, so the WebSocket below it is asked, ahead of
 * neffos.js: in its own listener that marks the connection closed, and it opens again only what was
 * not closed until then.
 */
function watchEnd(connection, conn) {
  const socket = conn.conn;
  const theirs = socket.onclose;
  socket.onclose = (event) => {
    const opensAgain = connection.reconnect && !conn.isClosed();
    theirs.call(socket, event);
    if (!opensAgain) {
      writeSaw("closed", connection);
    }
  };
}

function connOf(operation) {
  const connection = connections.get(operation.connection);
  if (connection === undefined) {
    throw new Error(`there is no connection ${operation.connection}`);
  }
  return connection.conn;
}

function namespaceOf(operation) {
  const ns = connOf(operation).namespace(operation.namespace);
  if (ns === undefined) {
    throw neffos.ErrBadNamespace;
  }
  return ns;
}

/** Some calls of neffos.js resolve with their error instead of rejecting. */
async function throwing(call) {
  const outcome = await call;
  if (outcome instanceof Error) {
    throw outcome;
  }
}

// --- Operations: each gives its result, or throws what it failed with ----------------------------

async function dial(operation, deadline) {
  const reconnect = operation.reconnect ?? false;
  const connection = { number: nextNumber(), reconnect, conn: undefined };
  const conn = await neffos.dial(operation.url, application(connection), {
    headers: { ...operation.headers },
    reconnect: reconnect ? RECONNECT_EVERY : 0,
  });
  if (deadline.aborted) {
    conn.close(); // nobody knows its number
    return {};
  }
  adopt(connection, conn);
  connections.set(connection.number, connection);
  return { connection: connection.number, connection_id: conn.ID };
}

async function connect(operation) {
  await connOf(operation).connect(operation.namespace);
}

async function disconnect(operation) {
  await throwing(namespaceOf(operation).disconnect());
}

async function join(operation) {
  await namespaceOf(operation).joinRoom(operation.room);
}

async function leave(operation) {
  const room = namespaceOf(operation).room(operation.room);
  if (room === undefined) {
    throw neffos.ErrBadRoom;
  }
  await throwing(room.leave());
}

async function leaveAll(operation) {
  await throwing(namespaceOf(operation).leaveAll());
}

async function emit(operation) {
  writeMessage(connOf(operation), eventMessage(operation));
}

async function ask(operation) {
  const answer = await connOf(operation).ask(eventMessage(operation));
  return bodyFields(answer.Body);
}

/** neffos.js can send native messages, in a connected empty namespace; it delivers none. */
async function native(operation) {
  const message = makeMessage(bodyOf(operation), { Namespace: "", IsNative: true });
  writeMessage(connOf(operation), message);
}

async function close(operation) {
  connOf(operation).close();
}

/** neffos.js only says that it did not write; its asks reject with this error then. */
function writeMessage(conn, message) {
  if (!conn.write(message)) {
    throw neffos.ErrWrite;
  }
}

const OPERATIONS = {
  dial: { run: dial, needs: ["url"] },
  connect: { run: connect, needs: ["connection", "namespace"] },
  disconnect: { run: disconnect, needs: ["connection", "namespace"] },
  join: { run: join, needs: ["connection", "namespace", "room"] },
  leave: { run: leave, needs: ["connection", "namespace", "room"] },
  "leave-all": { run: leaveAll, needs: ["connection", "namespace"] },
  emit: { run: emit, needs: ["connection", "namespace", "event"], body: true },
  ask: { run: ask, needs: ["connection", "namespace", "event"], body: true },
  native: { run: native, needs: ["connection"], body: true },
  close: { run: close, needs: ["connection"] },
};

// --- Lines that come in --------------------------------------------------------------------------

const isText = (value) => typeof value === "string";
const isNumber = (value) => Number.isInteger(value) && value >= 1;
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

const FIELDS = {
  connection: isNumber,
  url: isText,
  namespace: isText,
  room: isText,
  event: isText,
  text: isText,
  base64: isText,
  headers: (value) => isObject(value) && Object.values(value).every(isText),
  reconnect: (value) => typeof value === "boolean",
  timeout: (value) => typeof value === "number" && value > 0,
};

/** What is wrong with the fields of an operation, or undefined. */
function mistakeIn(operation) {
  const { needs, body } = OPERATIONS[operation.op];
  const missing = needs.find((name) => operation[name] === undefined);
  if (missing !== undefined) {
    return `${operation.op} needs ${missing}`;
  }
  const wrong = Object.keys(FIELDS).find(
    (name) => operation[name] !== undefined && !FIELDS[name](operation[name]),
  );
  if (wrong !== undefined) {
    return `${wrong} is not of its type`;
  }
  if (body && (operation.text === undefined) === (operation.base64 === undefined)) {
    return `${operation.op} needs either text or base64`;
  }
  return undefined;
}

/** The object in a line, an empty one where there is none. */
export function parse(line) {
  try {
    const value = JSON.parse(line);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

/** Take a line that came in, and have it answered. */
export function take(line) {
  const operation = parse(line);
  const id = isNumber(operation.id) ? operation.id : null;
  if (id === null || !isText(operation.op) || operation.op === "") {
    write({ id, error: "the line is no operation" });
  } else if (!Object.hasOwn(OPERATIONS, operation.op)) {
    write({ id, unsupported: true });
  } else {
    const mistake = mistakeIn(operation);
    if (mistake === undefined) {
      perform(operation);
    } else {
      write({ id, error: mistake });
    }
  }
}

async function perform(operation) {
  const { id, op, timeout = DEFAULT_TIMEOUT } = operation;
  try {
    const result = await within(timeout, (deadline) => OPERATIONS[op].run(operation, deadline));
    write({ id, result: result ?? {} });
  } catch (error) {
    write({ id, error: textOf(error) });
  }
}

/** Run work for so many seconds at most. It cannot be stopped, but it is told by the signal. */
function within(seconds, work) {
  const deadline = new AbortController();
  return new Promise((resolve, reject) => {
    const expire = () => {
      deadline.abort();
      reject(new Error(`not done within ${seconds} s`));
    };
    const timer = setTimeout(expire, Math.min(seconds * 1000, LONGEST_TIMER));
    work(deadline.signal).then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
