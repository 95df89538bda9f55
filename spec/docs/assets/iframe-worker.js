// A page that was opened from a file may start no worker, and the theme's search is one. Here a
// frame takes its place: the same script, which sees the same messages. Over HTTP this does nothing.
"use strict";

if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    #waiting = [];
    #frame = document.createElement("iframe");

    constructor(url) {
      super();
      const frame = this.#frame;
      frame.hidden = true;
      frame.title = "Search";
      frame.srcdoc = "<!doctype html>";
      frame.addEventListener("load", () => this.#start(String(url)), { once: true });
      document.documentElement.append(frame);
    }

    #start(url) {
      const inside = this.#frame.contentWindow;
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const script = inside.document.createElement("script");
      script.addEventListener("load", () => {
        const waiting = this.#waiting;
        this.#waiting = null;
        waiting.forEach((data) => this.postMessage(data));
      });
      script.src = url;
      inside.document.body.append(script);
    }

    postMessage(data) {
      if (this.#waiting) this.#waiting.push(data);
      else this.#frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }
  };
}
