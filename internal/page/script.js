// The script of every page. In a tab it keeps the page up to date, lets a range be dragged on
// a graph, and moves to the search field with "/". As a SharedWorker it holds the one stream
// of all tabs.
"use strict";

// The worker. Each tab reports {url, visible}; the stream is open while a tab is visible.
// The tabs get "tick" for an event, and "lost" if there is no stream.
function worker() {
  const visible = new Set(), ports = new Set();
  let source = null, url = "";
  const send = (what) => ports.forEach((p) => p.postMessage(what));
  const update = () => {
    if (source && (!visible.size || source.readyState === EventSource.CLOSED)) {
      source.close();
      source = null;
    }
    if (visible.size && !source) {
      source = new EventSource(url);
      source.onmessage = () => send("tick");
      source.onerror = () => send("lost"); // it connects again by itself, or is closed for good
    }
  };
  self.onconnect = (e) => {
    const port = e.ports[0];
    port.onmessage = ({ data }) => {
      url = data.url;
      if (data.gone) ports.delete(port); else ports.add(port);
      if (data.visible && !data.gone) visible.add(port); else visible.delete(port);
      update();
    };
  };
}

// same reports whether an old node can become a new one.
function same(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
}

// take makes an element equal to a new one, and keeps the nodes that are in both: focus,
// scroll position and selection stay. The reader opens and closes <details>, so "open" stays.
function take(old, now) {
  for (const { name } of [...old.attributes]) {
    if (!now.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of now.attributes) {
    if (old.getAttribute(name) !== value && !(name === "open" && old.nodeName === "DETAILS")) old.setAttribute(name, value);
  }
  const byID = new Map();
  for (const c of old.children) if (c.id) byID.set(c.id, c);
  let at = old.firstChild;
  for (const want of [...now.childNodes]) {
    const kept = want.id ? byID.get(want.id) : at && !at.id && same(at, want) ? at : null;
    if (!kept || !same(kept, want)) {
      old.insertBefore(document.adoptNode(want), at);
      continue;
    }
    if (kept !== at) {
      // Remove what left instead of moving what stays.
      while (at && at !== kept && at.id && !now.querySelector(":scope > #" + CSS.escape(at.id))) at = drop(at);
      if (kept !== at) old.insertBefore(kept, at);
    }
    if (kept === at) at = at.nextSibling;
    if (want.nodeType === Node.ELEMENT_NODE) take(kept, want);
    else if (kept.data !== want.data && !selected(kept)) kept.data = want.data;
  }
  while (at) at = drop(at);
}

function drop(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// selected reports whether a node is in a selection of text, which a change would end.
function selected(node) {
  const s = getSelection();
  return !!s && !s.isCollapsed && s.containsNode(node, true);
}

function live(body) {
  const mark = document.getElementById("live"), main = document.getElementById("main");
  const every = Number(body.dataset.every) || 1000;
  let paused = false, asking = false, next = 0, etag = "", lost = null, timer = 0;

  const words = every < 1500 ? "every second" : `every ${Math.round(every / 1000)} s`;
  const button = document.createElement("button");
  button.type = "button";
  const show = () => {
    const state = paused ? "paused" : lost ? "lost" : "on";
    if (mark.dataset.state === state) return; // a screen reader reads changes aloud
    mark.dataset.state = state;
    button.textContent = paused ? "paused" : lost ? `no answer since ${lost.toLocaleTimeString()}` : `live, ${words}`;
    button.title = paused ? "Update the page again" : "Stop updating the page";
  };
  button.onclick = () => { paused = !paused; show(); ask(); };
  mark.replaceChildren(button);
  show();

  const dragging = () => !!document.querySelector("svg[data-dragging]");
  async function ask() {
    if (paused || asking || dragging() || document.hidden || performance.now() < next) return;
    asking = true;
    try {
      const headers = { Accept: "text/html", ...(etag && { "If-None-Match": etag }) };
      const answer = await fetch(location.href, { headers, cache: "no-store", signal: AbortSignal.timeout(30000) });
      if (answer.status !== 304) {
        const text = await answer.text();
        const doc = new DOMParser().parseFromString(text, "text/html");
        const fresh = doc.getElementById("main");
        if (!fresh) throw new Error("status " + answer.status);
        if (doc.querySelector("script[src]")?.getAttribute("src") !== document.querySelector("script[src]").getAttribute("src")) {
          location.reload(); // another version of the program
          return;
        }
        if (!paused && !dragging()) {
          const start = performance.now(), focus = document.activeElement;
          take(main, fresh);
          if (focus !== document.activeElement && focus.isConnected) focus.focus({ preventScroll: true });
          document.title = doc.title;
          etag = answer.headers.get("ETag") || "";
          next = performance.now() + 9 * (performance.now() - start); // a slow browser stays usable
        }
      }
      lost = null;
    } catch (e) {
      lost ||= new Date();
    }
    asking = false;
    show();
  }

  const poll = (on) => {
    clearInterval(timer);
    timer = on ? setInterval(ask, every) : 0;
  };
  if (typeof SharedWorker === "undefined" || !body.dataset.live) {
    poll(true);
  } else {
    const shared = new SharedWorker(script);
    const report = (gone) => shared.port.postMessage({ url: new URL(body.dataset.live, location.href).href, visible: !document.hidden, gone });
    shared.onerror = () => poll(true);
    shared.port.onmessage = ({ data }) => {
      if (data === "tick" && timer) poll(false);
      if (data === "lost" && !timer) poll(true);
      if (data === "tick") ask();
    };
    addEventListener("pagehide", () => report(true));
    addEventListener("pageshow", () => report(false));
    document.addEventListener("visibilitychange", () => report(false));
    // The worker tries to open a stream that was refused again.
    setInterval(() => { if (timer) report(false); }, 15000);
    report(false);
  }
  document.addEventListener("visibilitychange", ask);
}

// ranges lets the reader drag a range of time on a graph, an svg with data-from and data-to
// (Unix seconds) and data-plot ("x y width height" of the lines in units of the viewBox). The
// page opens again with the range in the parameters "from" and "to".
function ranges() {
  let drag = null;
  const plot = (svg) => {
    const [left, top, width, height] = svg.dataset.plot.split(" ").map(Number);
    return { left, top, width, height };
  };
  const at = (svg, e) => {
    const p = new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const { left, width } = plot(svg);
    return Math.min(Math.max(p.x, left), left + width);
  };
  const end = () => {
    drag?.rect.remove();
    drag?.svg.removeAttribute("data-dragging");
    drag = null;
  };
  document.addEventListener("pointerdown", (e) => {
    const svg = e.target.closest?.("svg[data-from][data-to][data-plot]");
    if (!svg || e.button || e.pointerType === "touch" || e.target.closest("a")) return; // a touch scrolls
    end();
    const rect = document.createElementNS(svg.namespaceURI, "rect");
    rect.setAttribute("class", "drag");
    rect.setAttribute("y", plot(svg).top);
    rect.setAttribute("height", plot(svg).height);
    drag = { svg, rect, x: at(svg, e), to: at(svg, e) };
    e.preventDefault();
  });
  document.addEventListener("pointermove", (e) => {
    if (!drag) return;
    drag.to = at(drag.svg, e);
    if (!drag.rect.isConnected && Math.abs(drag.to - drag.x) > 3) {
      drag.svg.append(drag.rect);
      drag.svg.setAttribute("data-dragging", "");
    }
    drag.rect.setAttribute("x", Math.min(drag.x, drag.to));
    drag.rect.setAttribute("width", Math.abs(drag.to - drag.x));
  });
  document.addEventListener("pointerup", () => {
    if (!drag) return;
    const { svg, rect, x, to } = drag, chosen = rect.isConnected;
    end();
    if (!chosen || x === to) return;
    const { left, width } = plot(svg), from = Number(svg.dataset.from), until = Number(svg.dataset.to);
    const time = (v) => (from + (v - left) / width * (until - from)).toFixed(until - from < 60 ? 3 : 0);
    const url = new URL(location.href);
    url.searchParams.set("from", time(Math.min(x, to)));
    url.searchParams.set("to", time(Math.max(x, to)));
    url.searchParams.delete("range");
    location.assign(url);
  });
  document.addEventListener("pointercancel", end);
  document.addEventListener("keydown", (e) => { if (e.key === "Escape") end(); });
}

function shortcuts() {
  document.addEventListener("keydown", (e) => {
    const search = document.getElementById("search");
    if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || !search || e.target.closest("input, textarea, select, [contenteditable]")) return;
    e.preventDefault();
    search.focus();
    search.select();
  });
}

if (typeof SharedWorkerGlobalScope !== "undefined") {
  worker();
} else {
  var script = document.currentScript.src;
  ranges();
  shortcuts();
  if (document.body.dataset.every) live(document.body);
}
