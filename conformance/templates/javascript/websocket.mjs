// Both peers of a WebSocket on Node alone, as small as they can be, instead of your library. Use
// them for tests only.

import { isUtf8 } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { createServer, request, STATUS_CODES } from "node:http";

const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10];
const LARGEST = 1 << 20; // bytes of a message
const UNSENT = 16 << 20; // bytes that are kept for a peer that does not read
const CLOSE_TIMEOUT = 5000; // milliseconds for the peer to answer a close frame

function acceptOf(key) {
  const bytes = `${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  return createHash("sha1").update(bytes).digest("base64");
}

/** The peer violated the WebSocket protocol; the connection fails with a close code. */
class Broken extends Error {
  constructor(code) {
    super(`broken with ${code}`);
    this.code = code;
  }
}

export class Socket {
  onMessage = (bytes, isBinary) => {};
  onClose = () => {};
  #stream;
  #isClient;
  #unread = Buffer.alloc(0);
  #parts = []; // of a message that has not ended
  #size = 0; // theirs
  #isWithin = false; // such a message
  #isBinary = false;
  #isClosing = false;

  constructor(stream, head, isClient) {
    this.#stream = stream;
    this.#isClient = isClient;
    stream.setNoDelay(true);
    stream.on("error", () => {}); // "close" follows
    stream.on("end", () => stream.end()); // an HTTP server would leave its half open
    stream.on("close", () => this.onClose());
    // After the caller has set its listeners.
    setImmediate(() => {
      this.#read(head);
      stream.on("data", (data) => this.#read(data));
    });
  }

  send(bytes, isBinary) {
    if (this.#isClosing) return;
    this.#write(isBinary ? BINARY : TEXT, bytes);
    if (this.#stream.writableLength > UNSENT) this.#stream.destroy();
  }

  /** Send a close frame, by default of an ordinary close, and end TCP. */
  close(code = 1000) {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16BE(code);
    this.#close(bytes);
  }

  #close(bytes) {
    if (this.#isClosing) return;
    this.#write(CLOSE, bytes);
    this.#isClosing = true;
    this.#stream.end();
    setTimeout(() => this.#stream.destroy(), CLOSE_TIMEOUT).unref();
  }

  #write(opcode, bytes) {
    const size = bytes.length;
    const head = Buffer.alloc(size < 126 ? 2 : size < 65536 ? 4 : 10);
    head[0] = 0x80 | opcode;
    if (size < 126) head[1] = size;
    else if (size < 65536) (head[1] = 126), head.writeUInt16BE(size, 2);
    else (head[1] = 127), head.writeBigUInt64BE(BigInt(size), 2);
    if (!this.#isClient) return this.#stream.write(Buffer.concat([head, bytes]));
    head[1] |= 0x80;
    const mask = randomBytes(4);
    this.#stream.write(Buffer.concat([head, mask, masked(bytes, mask)]));
  }

  #read(data) {
    if (this.#isClosing) return;
    this.#unread = this.#unread.length ? Buffer.concat([this.#unread, data]) : data;
    try {
      for (let frame; !this.#isClosing && (frame = this.#frame()); ) this.#take(frame);
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      this.close(error.code);
    }
  }

  #take({ isFinal, opcode, bytes }) {
    if (opcode === PING) this.#write(PONG, bytes);
    else if (opcode === CLOSE) this.#close(bytes.subarray(0, 2)); // its code, if it has one
    else if (opcode !== PONG) {
      if ((opcode === CONTINUATION) !== this.#isWithin) throw new Broken(1002);
      if (opcode !== CONTINUATION) this.#isBinary = opcode === BINARY;
      this.#parts.push(bytes);
      this.#size += bytes.length;
      this.#isWithin = !isFinal;
      if (!isFinal) return;
      const message = Buffer.concat(this.#parts);
      [this.#parts, this.#size] = [[], 0];
      if (!this.#isBinary && !isUtf8(message)) throw new Broken(1007);
      this.onMessage(message, this.#isBinary);
    }
  }

  /** Take a complete frame from the unread bytes, if there is one. */
  #frame() {
    const unread = this.#unread;
    if (unread.length < 2) return null;
    let [size, start] = [unread[1] & 0x7f, 2];
    const [isFinal, opcode, isMasked] = [unread[0] >= 0x80, unread[0] & 0x0f, unread[1] >= 0x80];
    const isControl = opcode >= CLOSE;
    if (unread[0] & 0x70 || isMasked === this.#isClient) throw new Broken(1002);
    if (opcode > PONG || (opcode > BINARY && !isControl)) throw new Broken(1002);
    if (isControl && (!isFinal || size > 125)) throw new Broken(1002);
    const more = { 126: 2, 127: 8 }[size] ?? 0;
    if (unread.length < start + more + (isMasked ? 4 : 0)) return null;
    if (more === 2) size = unread.readUInt16BE(2);
    if (more === 8) size = Number(unread.readBigUInt64BE(2));
    if (!isControl && this.#size + size > LARGEST) throw new Broken(1009);
    start += more;
    const mask = isMasked ? unread.subarray(start, (start += 4)) : null;
    if (unread.length < start + size) return null;
    const bytes = unread.subarray(start, start + size);
    this.#unread = unread.subarray(start + size);
    return { isFinal, opcode, bytes: mask ? masked(bytes, mask) : bytes };
  }
}

function masked(bytes, mask) {
  const result = Buffer.from(bytes);
  for (let index = 0; index < result.length; index += 1) result[index] ^= mask[index & 3];
  return result;
}

/** Return the status for a request that cannot open a WebSocket, else undefined. */
function statusOf({ method, headers }) {
  if (method === "HEAD") return 200;
  if (method !== "GET") return 405;
  const key = headers["sec-websocket-key"] ?? "";
  if (headers.upgrade?.toLowerCase() !== "websocket") return 426;
  if (headers["sec-websocket-version"] !== "13") return 426;
  if (!/^[A-Za-z0-9+/]{22}==$/.test(key)) return 400;
}

/**
 * Return an HTTP server that calls back with the socket and the request of each WebSocket.
 * `mayOpen` decides on each request before that.
 */
export function serve(onSocket, mayOpen) {
  const rules = ["Allow: GET, HEAD", "Sec-WebSocket-Version: 13", "Content-Length: 0"];
  const server = createServer((asked, response) => {
    const headers = rules.flatMap((rule) => rule.split(": "));
    response.writeHead(statusOf(asked) ?? 426, headers).end();
  });
  server.on("upgrade", (upgrade, stream, head) => {
    stream.on("error", () => {});
    const status = statusOf(upgrade) ?? (mayOpen(upgrade) ? undefined : 403);
    if (status) {
      const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, "Connection: close", ...rules];
      stream.end(`${lines.join("\r\n")}\r\n\r\n`);
      return;
    }
    const lines = [
      "HTTP/1.1 101 Switching Protocols",
      "Upgrade: websocket",
      "Connection: Upgrade",
      `Sec-WebSocket-Accept: ${acceptOf(upgrade.headers["sec-websocket-key"])}`,
    ];
    stream.write(`${lines.join("\r\n")}\r\n\r\n`);
    onSocket(new Socket(stream, head, false), upgrade);
  });
  return server;
}

/** Open a WebSocket, and return it. */
export function dial(url, headers = {}) {
  return new Promise((resolve, reject) => {
    const key = randomBytes(16).toString("base64");
    const upgrade = request(url.replace(/^ws/, "http"), {
      headers: {
        ...headers,
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
      },
    });
    upgrade.on("error", reject);
    upgrade.on("response", (response) => {
      response.resume();
      reject(new Error(`the server answered ${response.statusCode}`));
    });
    upgrade.on("upgrade", (response, stream, head) => {
      if (response.headers["sec-websocket-accept"] === acceptOf(key)) {
        resolve(new Socket(stream, head, true));
      } else {
        stream.destroy();
        reject(new Error("this is no WebSocket server"));
      }
    });
    upgrade.end();
  });
}
