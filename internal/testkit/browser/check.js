// Evaluates to the faults of the page, each as a text.
(() => {
  const faults = [];
  const name = (e) => {
    let s = e.tagName.toLowerCase();
    if (e.id) s += "#" + e.id;
    if (e.getAttribute("class")) s += "." + e.getAttribute("class").trim().replace(/\s+/g, ".");
    return (e.parentElement && e.parentElement !== document.body ? e.parentElement.tagName.toLowerCase() + " > " : "") + s;
  };

  // Colors, as red, green, blue from 0 to 255 and opacity from 0 to 1.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const color = (text) => {
    if (!known.has(text)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = "#000";
      canvas.fillStyle = text;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(text, [r, g, b, a / 255]);
    }
    return known.get(text);
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const faded = (c, by) => [c[0], c[1], c[2], c[3] * by];
  const luminance = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)];
    return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
  };
  const opacity = (e) => { let o = 1; for (; e; e = e.parentElement) o *= getComputedStyle(e).opacity; return o; };
  const background = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) layers.push(color(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, c) => over(c, below), [255, 255, 255, 1]);
  };
  const visible = (e) => {
    if (!e.checkVisibility({ opacityProperty: false, visibilityProperty: true })) return false;
    const r = e.getBoundingClientRect();
    return r.width > 1 && r.height > 1 || e.tagName === "line" || e.tagName === "polyline" || e.tagName === "path";
  };

  // Text.
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || seen.has(e) || !visible(e) || e.closest("script, style, noscript, title, desc")) continue;
    seen.add(e);
    const style = getComputedStyle(e), svg = e.closest("svg");
    const back = background(e);
    const fore = over(faded(color(svg ? style.fill : style.color), opacity(e)), back);
    const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
    const ratio = contrast(fore, back);
    if (ratio < (large ? 3 : 4.5) - 0.005) faults.push(`contrast of text ${ratio.toFixed(2)}: ${name(e)} ${JSON.stringify(texts.currentNode.data.trim().slice(0, 40))}`);
  }

  // Marks: shapes of graphs that carry meaning. Grids, bands and the tracks of bars support them.
  for (const e of document.querySelectorAll("svg :is(polyline, path, line, rect, circle, ellipse, polygon, use), [data-mark]")) {
    if (!visible(e) || e.closest(".grid, .band, .drag, .paper, .bar > :not(.fill), defs, clipPath, mask, pattern")) continue;
    const style = getComputedStyle(e), back = background(e.closest("svg") ? e.closest("svg").parentElement : e.parentElement);
    const shown = [style.fill, style.stroke, style.backgroundColor, e.closest("svg") ? "none" : style.borderTopColor]
      .filter((c) => c && c !== "none" && !c.startsWith("url")).map(color).filter((c) => c[3] > 0);
    if (!shown.length) continue;
    const best = Math.max(...shown.map((c) => contrast(over(faded(c, opacity(e)), back), back)));
    if (best < 2.995) faults.push(`contrast of a mark ${best.toFixed(2)}: ${name(e)}`);
  }

  // Names.
  const text = (e) => e ? (e.getAttribute("aria-label") || [...e.childNodes].map((n) => n.nodeType === 3 ? n.data : n.nodeType === 1 && n.getAttribute("aria-hidden") !== "true" ? text(n) || n.getAttribute("alt") || "" : "").join(" ")).trim() : "";
  const named = (e) => e.getAttribute("aria-label")?.trim() || (e.getAttribute("aria-labelledby") || "").split(/\s+/).some((id) => id && text(document.getElementById(id))) ||
    e.labels && [...e.labels].some(text) || !["INPUT", "SELECT", "TEXTAREA"].includes(e.tagName) && text(e) || e.getAttribute("title")?.trim() || e.getAttribute("alt")?.trim();
  for (const e of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [role=img], [role=button], [tabindex='0'], nav, svg:not([aria-hidden=true])")) {
    if (!e.closest("[aria-hidden=true]") && visible(e) && !named(e)) faults.push("no name: " + name(e));
  }
  for (const e of document.querySelectorAll("img:not([alt])")) faults.push("no alt: " + name(e));
  for (const e of document.querySelectorAll("table")) if (!e.querySelector("th")) faults.push("no head: " + name(e));
  for (const e of document.querySelectorAll("[aria-hidden=true] :is(a[href], button, input, [tabindex='0'])")) faults.push("hidden from screen readers, but takes the focus: " + name(e));
  for (const e of document.querySelectorAll("[style]")) faults.push("a style attribute: " + name(e));
  const ids = new Set();
  for (const e of document.querySelectorAll("[id]")) { if (ids.has(e.id)) faults.push("id twice: " + e.id); ids.add(e.id); }
  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title.trim()) faults.push("no title");
  if (document.querySelectorAll("main").length !== 1 || document.querySelectorAll("h1").length !== 1) faults.push("not one main and one h1");
  if (document.documentElement.scrollWidth > innerWidth + 1) faults.push(`the page is ${document.documentElement.scrollWidth} pixels wide, the window ${innerWidth}`);
  return [...new Set(faults)].slice(0, 50);
})()
