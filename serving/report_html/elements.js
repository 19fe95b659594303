// Small helpers to show things, for every page; which page it is says `duration`, the longest time that it shows,
// seconds. Text enters a page through textContent only, never as markup.
"use strict";

/** An element: el("p", { class: "x", text: "…", on: { click }, vars: { left: "3%" } }, child, …). */
function el(tag, options = {}, ...children) {
  const { text, on = {}, vars = {}, ...attributes } = options;
  const isSvg = tag === "svg" || tag === "path";
  const node = isSvg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const [name, value] of Object.entries(vars)) node.style.setProperty(name, value);
  for (const [name, handler] of Object.entries(on)) node.addEventListener(name, handler);
  if (text !== undefined) node.textContent = text;
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const byId = (id) => document.getElementById(id);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const percentOfOne = (value) => `${(clamp(value, 0, 1) * 100).toFixed(2)}%`;
const score = (value) => (Number.isFinite(value) ? value.toFixed(2) : "–");
const count = (value) => (Number.isFinite(value) ? Math.round(value).toLocaleString("en") : "–");
const share = (value) => `${Math.round(value * 100)}\u202f%`;
const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** 75.25 -> "1:15.3"; hours appear when the video has them. */
function clock(seconds, decimals = 1) {
  const unit = 10 ** decimals;
  const whole = Math.round(Math.max(seconds || 0, 0) * unit);
  const s = (whole / unit) % 60;
  const minutes = Math.floor(whole / unit / 60);
  const tail = s.toFixed(decimals).padStart(decimals ? decimals + 3 : 2, "0");
  if (duration < 3600) return `${minutes}:${tail}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${tail}`;
}
const between = (range) => `${clock(range.start_s)} – ${clock(range.end_s)}`;

/** 0.0042 -> "4 ms", 12.3 -> "12.3 s": how long something took. */
function took(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1) return `${count(seconds * 1000)}\u202fms`;
  return seconds < 120 ? `${seconds.toFixed(1)}\u202fs` : `${(seconds / 60).toFixed(1)}\u202fmin`;
}

function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  for (; size >= 1000 && place < units.length - 1; place += 1) size /= 1000;
  return `${place && size < 100 ? size.toFixed(1) : Math.round(size)}\u202f${units[place]}`;
}

/** Index of the last item whose time is not after `seconds`; 0 before the first, -1 of none. */
function lastBefore(items, seconds, time) {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (time(items[middle]) <= seconds + 1e-6) low = middle + 1;
    else high = middle;
  }
  return items.length ? Math.max(low - 1, 0) : -1;
}
