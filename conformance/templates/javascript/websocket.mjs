// Both ends of a WebSocket on nothing but Node, as small as they can be. They stand in for your
// library: they keep neither limits nor deadlines, so that nothing but a test should use them.

import { createHash, randomBytes } from "node:crypto";
import { createServer, request } from "node:http";

const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10];

function acceptOf(key) {
  const octets = `${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  return createHash("sha1").update(octets).digest("base64");
}

export class Socket {
  onMessage = (octets, isBinary) => {};
  onClose = () => {};
  #stream;
  #isClient;
  #unread = Buffer.alloc(0);
  #parts = [];
  #isBinary = false;
  #isClosing = false;

  constructor(stream, head, isClient) {
    this.#stream = stream;
    this.#isClient = isClient;
    stream.setNoDelay(true);
    stream.on("error", () => {}); // "close" follows
    stream.on("close", () => this.onClose());
    // Once whoever was given this socket has said who listens.
    setImmediate(() => {
      this.#read(head);
      stream.on("data", (data) => this.#read(data));
    });
  }

  send(octets, isBinary) {
    if (!this.#isClosing) this.#write(isBinary ? BINARY : TEXT, octets);
  }

  close() {
    if (this.#isClosing) return;
    this.#write(CLOSE, Buffer.from([0x03, 0xe8])); // 1000, an ordinary end
    this.#isClosing = true;
    this.#stream.end();
  }

  #write(opcode, octets) {
    const size = octets.length;
    const head = Buffer.alloc(size < 126 ? 2 : size < 65536 ? 4 : 10);
    head[0] = 0x80 | opcode;
    if (size < 126) head[1] = size;
    else if (size < 65536) (head[1] = 126), head.writeUInt16BE(size, 2);
    else (head[1] = 127), head.writeBigUInt64BE(BigInt(size), 2);
    if (!this.#isClient) return this.#stream.write(Buffer.concat([head, octets]));
    head[1] |= 0x80;
    const mask = randomBytes(4);
    this.#stream.write(Buffer.concat([head, mask, masked(octets, mask)]));
  }

  #read(data) {
    this.#unread = this.#unread.length ? Buffer.concat([this.#unread, data]) : data;
    for (let frame; (frame = this.#frame()); ) {
      const { isFinal, opcode, octets } = frame;
      if (opcode === PING) this.#write(PONG, octets);
      else if (opcode === CLOSE) this.close();
      else if (opcode !== PONG) {
        if (opcode !== CONTINUATION) this.#isBinary = opcode === BINARY;
        this.#parts.push(octets);
        if (!isFinal) continue;
        const message = Buffer.concat(this.#parts);
        this.#parts = [];
        this.onMessage(message, this.#isBinary);
      }
    }
  }

  /** Take a whole frame from what is unread, if there is one. */
  #frame() {
    const unread = this.#unread;
    if (unread.length < 2) return null;
    let [size, start] = [unread[1] & 0x7f, 2];
    const more = { 126: 2, 127: 8 }[size] ?? 0;
    const isMasked = unread[1] & 0x80;
    if (unread.length < start + more + (isMasked ? 4 : 0)) return null;
    if (more === 2) size = unread.readUInt16BE(2);
    if (more === 8) size = Number(unread.readBigUInt64BE(2));
    start += more;
    const mask = isMasked ? unread.subarray(start, (start += 4)) : null;
    if (unread.length < start + size) return null;
    const octets = unread.subarray(start, start + size);
    this.#unread = unread.subarray(start + size);
    const plain = mask ? masked(octets, mask) : octets;
    return { isFinal: Boolean(unread[0] & 0x80), opcode: unread[0] & 0x0f, octets: plain };
  }
}

function masked(octets, mask) {
  const result = Buffer.from(octets);
  for (let index = 0; index < result.length; index += 1) result[index] ^= mask[index & 3];
  return result;
}

/** Give an HTTP server that calls with the socket and the request of each WebSocket. */
export function serve(onSocket) {
  const server = createServer((_, response) => response.writeHead(426).end());
  server.on("upgrade", (upgrade, stream, head) => {
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

/** Open a WebSocket, and give it. */
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
