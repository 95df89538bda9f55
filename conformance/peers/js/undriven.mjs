// A client of neffos.js that nobody drives, as an application has one: it connects a namespace,
// emits an event and reconnects by itself. It goes on until it is ended.
//
//     npm install && node undriven.mjs URL

/** Milliseconds between two attempts of neffos.js to open a lost connection again. */
const RECONNECT_EVERY = 50;

/**
 * Milliseconds after which a connection that stays closed is given up, and another is opened.
 * neffos.js ends its attempts when a server refuses it.
 */
const GIVEN_UP = 3000;

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

/** Live on a server, whatever library `neffos` is and wherever it runs. */
export async function live(neffos, url) {
  for (;;) {
    try {
      let latest;
      const adopt = (ns) => {
        latest = ns.conn; // neffos.js opens another without a word
      };
      latest = await neffos.dial(
        url,
        { default: { [neffos.OnNamespaceConnected]: adopt, chat() {} } },
        { reconnect: RECONNECT_EVERY },
      );
      // A connect that is pending when the connection is lost never ends.
      latest.connect("default").then((ns) => ns.emit("chat", "hello"), () => {});
      for (let since = Date.now(); Date.now() - since < GIVEN_UP; await pause(RECONNECT_EVERY)) {
        since = latest.isClosed() ? since : Date.now();
      }
    } catch {
      await pause(RECONNECT_EVERY); // refused, or not there
    }
  }
}

if (typeof process !== "undefined") {
  for (const event of ["uncaughtException", "unhandledRejection"]) {
    process.on(event, () => {}); // what neffos.js throws must not end an application either
  }
  const library = await import("neffos.js");
  await live(library.default ?? library, process.argv[2]);
}
