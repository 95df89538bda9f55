// What every driver of neffos.js is tested with. The drivers are the real programs; the server that
// they talk to is played here, frame by frame, so that every test says what crosses the wire. Lines
// are compared in the order in which they come, and at a test's end none may be left: nothing has to
// be waited out in silence.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { it } from "node:test";
import { fileURLToPath } from "node:url";

import { WebSocketServer } from "ws";

// --- The two ends --------------------------------------------------------------------------------

/** What comes at one end, to be taken at the other, whichever is first. */
class Queue {
  #items = [];
  #takers = [];

  put(item) {
    const taker = this.#takers.shift();
    if (taker) {
      taker(item);
    } else {
      this.#items.push(item);
    }
  }

  next() {
    return this.#items.length > 0
      ? Promise.resolve(this.#items.shift())
      : new Promise((resolve) => this.#takers.push(resolve));
  }

  rest() {
    return this.#items.splice(0);
  }
}

export class Driver {
  lines = new Queue();
  complaints = "";
  #process;
  #lastId = 0;

  constructor(program, env = {}) {
    const path = fileURLToPath(new URL(program, import.meta.url));
    this.#process = spawn(process.execPath, [path], { env: { ...process.env, ...env } });
    let rest = "";
    this.#process.stdout.setEncoding("utf8").on("data", (chunk) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop();
      lines.forEach((line) => this.lines.put(JSON.parse(line)));
    });
    this.#process.stderr.on("data", (chunk) => (this.complaints += chunk));
  }

  sendBytes(bytes) {
    this.#process.stdin.write(bytes);
  }

  sendLine(line) {
    this.sendBytes(`${line}\n`);
  }

  /** Send an operation and give its id. */
  send(op, fields) {
    this.#lastId += 1;
    this.sendLine(JSON.stringify({ id: this.#lastId, op, ...fields }));
    return this.#lastId;
  }

  async expect(...lines) {
    for (const line of lines) {
      assert.deepEqual(await this.lines.next(), line);
    }
  }

  /** An unknown operation is answered at once, so that whatever was said before it shows up. */
  async expectNothing() {
    const id = this.send("made-up");
    await this.expect({ id, unsupported: true });
  }

  /** End the driver's input; give its exit status. */
  end() {
    this.#process.stdin.end();
    return this.ended();
  }

  async ended() {
    const [status] = await once(this.#process, "close");
    return status;
  }

  signal(name) {
    this.#process.kill(name);
  }
}

/** One connection, as the server has it. */
class Peer {
  #socket;
  #incoming = new Queue();

  constructor(socket, request) {
    this.#socket = socket;
    this.request = request;
    socket.on("message", (data, binary) => this.#incoming.put(binary ? data : String(data)));
  }

  send(message) {
    this.#socket.send(message);
  }

  async expect(message) {
    assert.deepEqual(await this.#incoming.next(), message);
  }

  /** Take a frame that asks, see that it is the wanted one but for its token, give the token. */
  async token(frame) {
    const came = await this.#incoming.next();
    const end = came.indexOf(";");
    assert.ok(end > 0);
    // Texts and buffers are both cut by slice, and differ from each other.
    assert.deepEqual(came.slice(end + 1), frame);
    return String(came.slice(0, end));
  }

  /** Answer the ask that is to come with the empty reply. */
  async accept(frame) {
    this.send(`${await this.token(frame)};;;;;;`);
  }

  close() {
    this.#socket.close();
  }

  /** End without a close frame, as the Go server does. */
  drop() {
    this.#socket.terminate();
  }

  async closed() {
    await once(this.#socket, "close");
  }
}

class Server {
  #server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  #peers = new Queue();

  static async start() {
    const server = new Server();
    server.#server.on("connection", (...parts) => server.#peers.put(new Peer(...parts)));
    await once(server.#server, "listening");
    server.url = `ws://127.0.0.1:${server.#server.address().port}/`;
    return server;
  }

  /** Accept the next connection, its handshake included. */
  async accept(id = "an id") {
    const peer = await this.#peers.next();
    await peer.expect("M");
    peer.send(`A${id}`);
    return peer;
  }

  async refuse(text) {
    const peer = await this.#peers.next();
    await peer.expect("M");
    peer.send(`H${text}`);
  }

  stop() {
    this.#server.clients.forEach((socket) => socket.terminate());
    this.#server.close();
  }
}

// --- Scenes --------------------------------------------------------------------------------------

const scenes = [];

/**
 * Tests that share a driver, because the most of their time would go into its start. Where a
 * namespace is given, connection 1 is open and connected to it, and each test leaves it so. The
 * result adds a test.
 */
function shared(name, namespace) {
  const plays = [];
  scenes.push({ name, namespace, plays });
  return (title, play) => plays.push({ title, play });
}

/** A test with a driver of its own. */
function scene(name, play) {
  shared(name)(name, play);
}

/** A test with a driver of its own, in which connection 1 is open and connected to app. */
function sceneInApp(name, play) {
  shared(name, "app")(name, play);
}

async function playAll(test, runtime, { namespace, plays }) {
  const driver = new Driver(runtime.driver);
  const server = await Server.start();
  try {
    const ready = await driver.lines.next();
    const peer = namespace === undefined ? undefined : await entered(driver, server, namespace);
    for (const { title, play } of plays) {
      await test.test(title, async () => {
        await play({ driver, server, peer, ready, runtime });
        await driver.expectNothing();
      });
    }
    assert.equal(await driver.end(), 0, driver.complaints);
    assert.deepEqual(driver.lines.rest(), []);
  } finally {
    driver.signal("SIGKILL");
    server.stop();
  }
}

async function dialled(driver, server, fields = {}) {
  const id = driver.send("dial", { url: server.url, ...fields });
  const peer = await server.accept();
  await driver.expect({ id, result: { connection: 1, connection_id: "an id" } });
  return peer;
}

async function entered(driver, server, namespace) {
  const peer = await dialled(driver, server);
  await connected(driver, peer, namespace);
  return peer;
}

async function connected(driver, peer, namespace) {
  const id = driver.send("connect", { connection: 1, namespace });
  await peer.accept(`${escaped(namespace)};;_OnNamespaceConnect;0;0;`);
  await driver.expect(saw("connected", { namespace }), { id, result: {} });
}

function escaped(field) {
  return field.replace(";", "@%!semicolon@%!");
}

async function joined(driver, peer, room) {
  const id = driver.send("join", { ...APP, room });
  await peer.accept(`app;${room};_OnRoomJoin;0;0;`);
  await driver.expect(saw("joined", { namespace: "app", room }), { id, result: {} });
}

function saw(what, fields) {
  return { saw: what, connection: 1, ...fields };
}

function sawEvent(event, fields) {
  return saw("event", { namespace: "app", room: "", event, ...fields });
}

const APP = { connection: 1, namespace: "app" };

const outside = shared("without a connection");
const inApp = shared("in app", "app");
const inEmpty = shared("in the empty namespace", "");

// --- The start, the end, and lines that are no operations ----------------------------------------

outside("the first line says who is there", async ({ ready, runtime }) => {
  const { runtime: text, ...rest } = ready;
  assert.deepEqual(rest, { ready: true, driver: 1, peer: "neffos.js", version: "0.1.34" });
  assert.match(text, runtime.runtime);
});

sceneInApp("the driver ends with its input, whatever is open", async ({ driver, peer }) => {
  driver.send("ask", { ...APP, event: "echo", text: "" });
  await peer.token("app;;echo;0;0;");
});

outside("an unknown operation is unsupported, whatever its name", async ({ driver }) => {
  for (const op of ["made-up", "constructor", "__proto__"]) {
    const id = driver.send(op);
    await driver.expect({ id, unsupported: true });
  }
});

outside("a line that is no operation is answered, and the driver goes on", async ({ driver }) => {
  const noOperation = "the line is no operation";
  const lines = ["", "nonsense", "null", "[]", "7", '{"op": "close"}', '{"id": 0, "op": "close"}'];
  for (const line of [...lines, '{"id": "1", "op": "close"}', '{"id": 1.5, "op": "close"}']) {
    driver.sendLine(line);
    await driver.expect({ id: null, error: noOperation });
  }
  driver.sendLine('{"id": 5}');
  driver.sendLine('{"id": 6, "op": ""}');
  await driver.expect({ id: 5, error: noOperation }, { id: 6, error: noOperation });
  const id = driver.send("made-up");
  await driver.expect({ id, unsupported: true });
});

outside("an operation with wrong fields is answered with an error", async ({ driver }) => {
  const ask = { ...APP, event: "echo" };
  for (const [op, fields, error] of [
    ["dial", {}, "dial needs url"],
    ["dial", { url: 1 }, "url is not of its type"],
    ["dial", { url: "", headers: { a: 1 } }, "headers is not of its type"],
    ["dial", { url: "", reconnect: 1 }, "reconnect is not of its type"],
    ["close", { connection: "1" }, "connection is not of its type"],
    ["close", { connection: 1, timeout: 0 }, "timeout is not of its type"],
    ["join", APP, "join needs room"],
    ["ask", ask, "ask needs either text or base64"],
    ["ask", { ...ask, text: "", base64: "" }, "ask needs either text or base64"],
    ["native", { connection: 1 }, "native needs either text or base64"],
  ]) {
    const id = driver.send(op, fields);
    await driver.expect({ id, error });
  }
});

outside("an operation on an unknown connection is an error", async ({ driver }) => {
  const fields = { ...APP, room: "one", event: "echo", text: "" };
  const inNamespace = ["connect", "disconnect", "join", "leave", "leave-all", "emit", "ask"];
  for (const op of [...inNamespace, "native", "close"]) {
    const id = driver.send(op, fields);
    await driver.expect({ id, error: "there is no connection 1" });
  }
});

// --- Dialling and closing ------------------------------------------------------------------------

scene("dial sends headers and gives the id", async ({ driver, server, runtime }) => {
  const peer = await dialled(driver, server, { headers: { "X-Conformance-Id": "mine" } });
  assert.equal(runtime.header(peer.request, "X-Conformance-Id"), "mine");
});

outside("dial gives the text of a refusal", async ({ driver, server }) => {
  const id = driver.send("dial", { url: server.url });
  await server.refuse("not you; never");
  await driver.expect({ id, error: "not you; never" });
});

outside("dial gives the error of a server that is not there", async ({ driver, runtime }) => {
  const gone = await Server.start();
  gone.stop();
  const id = driver.send("dial", { url: gone.url });
  const answer = await driver.lines.next();
  assert.equal(answer.id, id);
  assert.match(answer.error, runtime.unreachable);
});

outside("dial has a deadline; what comes late is closed", async ({ driver, server }) => {
  const id = driver.send("dial", { url: server.url, timeout: 0.05 });
  await driver.expect({ id, error: "not done within 0.05 s" });
  const peer = await server.accept();
  await peer.closed();
});

sceneInApp("close ends the connection and what is open in it", async ({ driver, peer }) => {
  await joined(driver, peer, "one");
  const id = driver.send("close", { connection: 1 });
  await peer.closed();
  await driver.expect(
    saw("left", { namespace: "app", room: "one" }),
    saw("disconnected", { namespace: "app" }),
    { id, result: {} },
    saw("closed"),
  );
  const late = driver.send("emit", { ...APP, event: "news", text: "" });
  await driver.expect({ id: late, error: "write closed" });
});

for (const [how, end] of [["closes", "close"], ["drops", "drop"]]) {
  sceneInApp(`a connection that the server ${how} is closed`, async ({ driver, peer }) => {
    peer[end]();
    await driver.expect(saw("disconnected", { namespace: "app" }), saw("closed"));
  });
}

scene("with reconnect, what was lost is opened again", async ({ driver, server, runtime }) => {
  const first = await dialled(driver, server, { reconnect: true });
  await connected(driver, first, "app");
  await joined(driver, first, "one");
  first.drop();
  await driver.expect(
    saw("left", { namespace: "app", room: "one" }),
    saw("disconnected", { namespace: "app" }),
  );

  const second = await server.accept("another id");
  assert.equal(runtime.header(second.request, "X-Websocket-Reconnect"), "1");
  await driver.expect(saw("reconnected", { connection_id: "another id" }));
  await second.accept("app;;_OnNamespaceConnect;0;0;");
  await driver.expect(saw("connected", { namespace: "app" }));
  await second.accept("app;one;_OnRoomJoin;0;0;");
  await driver.expect(saw("joined", { namespace: "app", room: "one" }));

  const id = driver.send("emit", { ...APP, room: "one", event: "news", text: "again" });
  await second.expect(";app;one;news;0;0;again");
  await driver.expect({ id, result: {} });
  driver.send("close", { connection: 1 });
  await second.closed();
  await driver.expect(
    saw("left", { namespace: "app", room: "one" }),
    saw("disconnected", { namespace: "app" }),
    { id: id + 1, result: {} },
    saw("closed"),
  );
});

// --- Namespaces and rooms ------------------------------------------------------------------------

scene("connect and disconnect, in every namespace that is declared", async ({ driver, server }) => {
  const peer = await dialled(driver, server);
  for (const namespace of ["app", "any", "semi;colon", ""]) {
    await connected(driver, peer, namespace);
    const id = driver.send("disconnect", { connection: 1, namespace });
    await peer.accept(`${escaped(namespace)};;_OnNamespaceDisconnect;0;0;`);
    await driver.expect(saw("disconnected", { namespace }), { id, result: {} });
  }
});

inApp("refusals are errors with the server's text", async ({ driver, peer }) => {
  await joined(driver, peer, "kept");
  for (const [op, fields, frame] of [
    ["connect", { namespace: "any" }, "any;;_OnNamespaceConnect"],
    ["disconnect", {}, "app;;_OnNamespaceDisconnect"],
    ["join", { room: "two" }, "app;two;_OnRoomJoin"],
    ["leave", { room: "kept" }, "app;kept;_OnRoomLeave"],
  ]) {
    const id = driver.send(op, { ...APP, ...fields });
    peer.send(`${await peer.token(`${frame};0;0;`)};${frame};1;0;no; never`);
    await driver.expect({ id, error: "no; never" });
  }
});

inApp("what the client does not let happen is an error with its text", async ({ driver }) => {
  const room = "never joined";
  for (const [op, fields, error] of [
    ["connect", { namespace: "nowhere" }, "bad namespace"],
    ["disconnect", { namespace: "any" }, "bad namespace"],
    ["join", { namespace: "any", room }, "bad namespace"],
    ["leave", { namespace: "any", room }, "bad namespace"],
    ["leave-all", { namespace: "any" }, "bad namespace"],
    ["leave", { room }, "bad room"],
    ["emit", { namespace: "any", event: "news", text: "" }, "write closed"],
    ["ask", { namespace: "any", event: "echo", text: "" }, "write closed"],
    ["emit", { room, event: "news", text: "" }, "write closed"],
    ["native", { text: "" }, "write closed"],
  ]) {
    const id = driver.send(op, { ...APP, ...fields });
    await driver.expect({ id, error });
  }
});

inApp("join and leave", async ({ driver, peer }) => {
  await joined(driver, peer, "one");
  const id = driver.send("leave", { ...APP, room: "one" });
  await peer.accept("app;one;_OnRoomLeave;0;0;");
  await driver.expect(saw("left", { namespace: "app", room: "one" }), { id, result: {} });
});

sceneInApp("leave-all lets the client do what it takes for that", async ({ driver, peer }) => {
  await joined(driver, peer, "one");
  await joined(driver, peer, "two");
  const id = driver.send("leave-all", APP);
  // The wrong event is the library's. It does not wait for an answer either.
  await peer.token("app;one;_OnRoomLeft;0;0;");
  await peer.token("app;two;_OnRoomLeft;0;0;");
  await driver.expect({ id, result: {} });
});

inApp("whatever the server asks for happens", async ({ driver, peer }) => {
  for (const [event, room, what] of [
    ["_OnNamespaceConnect", "", "connected"],
    ["_OnRoomJoin", "one", "joined"],
    ["_OnRoomLeave", "one", "left"],
    ["_OnNamespaceDisconnect", "", "disconnected"],
  ]) {
    peer.send(`7;any;${room};${event};0;0;`);
    await peer.expect("7;;;;;;");
    await driver.expect(saw(what, { namespace: "any", ...(room && { room }) }));
  }
});

// --- Events and native messages ------------------------------------------------------------------

inApp("a line may come in pieces, cut within a character", async ({ driver, peer }) => {
  const emit = { id: 1001, op: "emit", ...APP, event: "news", text: "ü" };
  const line = Buffer.from(`${JSON.stringify(emit)}\n`);
  const cut = line.indexOf("ü") + 1;
  const before = Buffer.from('{"id": 1000, "op": "made-up"}\n');
  driver.sendBytes(Buffer.concat([before, line.subarray(0, cut)]));
  await driver.expect({ id: 1000, unsupported: true }); // so that the first piece was read
  driver.sendBytes(line.subarray(cut));
  await peer.expect(";app;;news;0;0;ü");
  await driver.expect({ id: 1001, result: {} });
});

inApp("emit sends text and bytes, to a room too", async ({ driver, peer }) => {
  await joined(driver, peer, "emitted");
  const bytes = (head) => Buffer.from(`${head}\0\xff`, "latin1");
  for (const [fields, frame] of [
    [{ event: "ne;ws", text: "a;b\u2028\n" }, ";app;;ne@%!semicolon@%!ws;0;0;a;b\u2028\n"],
    [{ event: "news", text: "" }, ";app;;news;0;0;"],
    [{ event: "news", base64: "AP8=" }, bytes(";app;;news;0;0;")],
    [{ event: "news", base64: "" }, Buffer.from(";app;;news;0;0;")],
    [{ event: "news", room: "emitted", text: "hi" }, ";app;emitted;news;0;0;hi"],
    [{ event: "news", room: "emitted", base64: "AP8=" }, bytes(";app;emitted;news;0;0;")],
  ]) {
    const id = driver.send("emit", { ...APP, ...fields });
    await peer.expect(frame);
    await driver.expect({ id, result: {} });
  }
});

inApp("ask gives the body of the reply, in its kind", async ({ driver, peer }) => {
  const text = driver.send("ask", { ...APP, event: "echo", text: "hi" });
  peer.send(`${await peer.token("app;;echo;0;0;hi")};app;;echo;0;0;a;b`);
  await driver.expect({ id: text, result: { text: "a;b" } });

  const bytes = driver.send("ask", { ...APP, event: "echo", base64: "AP8=" });
  const token = await peer.token(Buffer.from("app;;echo;0;0;\0\xff", "latin1"));
  peer.send(Buffer.from(`${token};app;;echo;0;0;\xfe;`, "latin1"));
  await driver.expect({ id: bytes, result: { base64: "/js=" } });

  const empty = driver.send("ask", { ...APP, event: "echo", text: "hi" });
  peer.send(`${await peer.token("app;;echo;0;0;hi")};;;;;;`);
  await driver.expect({ id: empty, result: { text: "" } });
});

inApp("an error reply is an error, without a text too", async ({ driver, peer }) => {
  for (const error of ["too; bad", ""]) {
    const id = driver.send("ask", { ...APP, event: "fail", text: "" });
    peer.send(`${await peer.token("app;;fail;0;0;")};app;;fail;1;0;${error}`);
    await driver.expect({ id, error });
  }
});

inApp("an ask has a deadline, and a reply behind it is no news", async ({ driver, peer }) => {
  const id = driver.send("ask", { ...APP, event: "silent", text: "", timeout: 0.05 });
  const token = await peer.token("app;;silent;0;0;");
  await driver.expect({ id, error: "not done within 0.05 s" });
  peer.send(`${token};app;;silent;0;0;late`);
  const patient = driver.send("ask", { ...APP, event: "echo", text: "", timeout: 1e9 });
  peer.send(`${await peer.token("app;;echo;0;0;")};app;;echo;0;0;`);
  await driver.expect({ id: patient, result: { text: "" } });
});

inApp("operations run at the same time", async ({ driver, peer }) => {
  const one = driver.send("ask", { ...APP, event: "echo", text: "1" });
  const two = driver.send("ask", { ...APP, event: "echo", text: "2" });
  const first = await peer.token("app;;echo;0;0;1");
  const second = await peer.token("app;;echo;0;0;2");
  peer.send(`${second};app;;echo;0;0;2`);
  await driver.expect({ id: two, result: { text: "2" } });
  peer.send(`${first};app;;echo;0;0;1`);
  await driver.expect({ id: one, result: { text: "1" } });
});

inApp("an event is seen with its room, its kind and its error", async ({ driver, peer }) => {
  for (const [message, line] of [
    [";app;;news;0;0;a;b", sawEvent("news", { text: "a;b" })],
    [";app;one;news;0;0;", sawEvent("news", { room: "one", text: "" })],
    [Buffer.from(";app;;news;0;0;\xff", "latin1"), sawEvent("news", { base64: "/w==" })],
    [Buffer.from(";app;;news;0;0;"), sawEvent("news", { base64: "" })],
    [";app;;news;1;0;bad", sawEvent("news", { text: "bad", error: true })],
    [";app;;news;1;0;", sawEvent("news", { text: "", error: true })],
  ]) {
    peer.send(message);
    await driver.expect(line);
  }
});

inApp("echo and question reply, fail errs, others are silent", async ({ driver, peer }) => {
  peer.send("6;app;;news;0;0;hi");
  await driver.expect(sawEvent("news", { text: "hi" }));
  for (const [event, isError] of [["echo", 0], ["question", 0], ["fail", 1]]) {
    peer.send(`7;app;;${event};0;0;a;b`);
    await peer.expect(`7;app;;${event};${isError};0;a;b`);
    await driver.expect(sawEvent(event, { text: "a;b" }));
  }
});

inApp("relay asks from inside its handler", async ({ driver, peer }) => {
  peer.send("7;app;;relay;0;0;hi");
  await driver.expect(sawEvent("relay", { text: "hi" }));
  peer.send(`${await peer.token("app;;echo;0;0;hi")};app;;echo;0;0;ho`);
  await peer.expect("7;app;;relay;0;0;ho");

  peer.send("8;app;;relay;0;0;hi");
  await driver.expect(sawEvent("relay", { text: "hi" }));
  peer.send(`${await peer.token("app;;echo;0;0;hi")};app;;echo;1;0;bad`);
  await peer.expect("8;app;;relay;1;0;bad");

  peer.send(Buffer.from("9;app;;relay;0;0;\xff", "latin1"));
  await driver.expect(sawEvent("relay", { base64: "/w==" }));
  const token = await peer.token(Buffer.from("app;;echo;0;0;\xff", "latin1"));
  peer.send(Buffer.from(`${token};app;;echo;0;0;\xfe`, "latin1"));
  await peer.expect(Buffer.from("9;app;;relay;0;0;\xfe", "latin1"));
});

inEmpty("native messages are sent as they are", async ({ driver, peer }) => {
  for (const [body, message] of [
    [{ text: "raw; ü" }, "raw; ü"],
    [{ base64: "AP8=" }, Buffer.from([0, 255])],
    [{ text: "" }, ""],
    [{ base64: "" }, Buffer.from([])],
  ]) {
    const id = driver.send("native", { connection: 1, ...body });
    await peer.expect(message);
    await driver.expect({ id, result: {} });
  }
});

inEmpty("a native message is seen", async ({ driver, peer }) => {
  // The only kind that neffos.js delivers: a frame that says that it is one.
  peer.send(";;;_OnNativeMessage;0;0;raw");
  await driver.expect(saw("native", { text: "raw" }));
});

scene("what the library throws does not end the driver", async ({ driver, server, runtime }) => {
  const peer = await dialled(driver, server);
  // neffos.js looks for the handler in the empty namespace, which is not connected.
  peer.send(";;;_OnNativeMessage;0;0;raw");
  peer.close();
  if (!runtime.isDeafAfterwards) {
    await driver.expect(saw("closed"));
  }
  const id = driver.send("dial", { url: server.url });
  await server.accept("another id");
  await driver.expect({ id, result: { connection: 2, connection_id: "another id" } });
});

scene("two servers", async ({ driver, server }) => {
  const other = await Server.start();
  await dialled(driver, server);
  const id = driver.send("dial", { url: other.url });
  const peer = await other.accept("the other's id");
  await driver.expect({ id, result: { connection: 2, connection_id: "the other's id" } });
  const last = driver.send("close", { connection: 2 });
  await peer.closed();
  await driver.expect({ id: last, result: {} }, { ...saw("closed"), connection: 2 });
  other.stop();
});

/**
 * Test the driver of a runtime, which says where neffos.js is not the same in all:
 *
 * - driver: the program
 * - runtime: the pattern of what it says of itself
 * - unreachable: the pattern of the error where no server is
 * - seconds: the deadline of a test
 * - header: gives a header of neffos.js, from the upgrade request and its name
 * - isDeafAfterwards: a connection tells no more when the handling of a message threw
 * - isChosen: says by its number, from 0, whether a scene with a driver of its own is played
 */
export function playScenes(runtime) {
  let number = 0;
  for (const scene of scenes) {
    if (scene.plays.length === 1 && !runtime.isChosen(number++)) {
      continue;
    }
    it(scene.name, { timeout: runtime.seconds * 1000 }, (test) => playAll(test, runtime, scene));
  }
}
