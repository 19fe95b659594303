// The report, and small helpers to show it. Text enters the page through textContent only, never as markup.
"use strict";

const { report, thumbs, video: videoSrc } = JSON.parse(document.getElementById("data").textContent);
const info = report.video;
const duration = Math.max(info.duration_s || 0, 0.001);
const segments = report.segments; // ranked, best first
const aspect = info.width > 0 && info.height > 0 ? info.width / info.height : 16 / 9;

// Fixed places in the palette, so that a signal keeps its colour from report to report.
const signalNames = (() => {
  const present = new Set([...Object.keys(report.features.signals), ...segments.flatMap((s) => Object.keys(s.signals))]);
  const usual = ["motion", "novelty", "quality", "relevance", "audio"];
  return [...usual.filter((name) => present.has(name)), ...[...present].filter((name) => !usual.includes(name)).sort()];
})();
const palette = ["motion", "novelty", "quality", "relevance", "audio"];
function signalColor(name) {
  const fixed = palette.indexOf(name);
  const place = fixed >= 0 ? fixed : palette.length + (signalNames.indexOf(name) % 3);
  return `var(--signal-${place})`;
}

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
const percent = (seconds) => `${(clamp(seconds / duration, 0, 1) * 100).toFixed(4)}%`;
const span = (range) => ({ left: percent(range.start_s), width: percent(range.end_s - range.start_s) });
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

const shotAt = (seconds) => lastBefore(report.shots, seconds, (shot) => shot.start_s);

/** Index of the sample nearest to `seconds`, or -1. */
function sampleAt(seconds) {
  const times = report.features.pts_s;
  const before = lastBefore(times, seconds, (time) => time);
  if (before < 0 || before + 1 >= times.length) return before;
  return seconds - times[before] <= times[before + 1] - seconds ? before : before + 1;
}

/** The picture that tells most about a moment: the nearest of the same shot, else the nearest of all. */
function thumbAt(seconds) {
  const shot = report.shots[shotAt(seconds)];
  let best = null;
  let bestCost = Infinity;
  for (const thumb of thumbs) {
    const elsewhere = shot && (thumb.t < shot.start_s || thumb.t >= shot.end_s) ? duration : 0;
    const cost = Math.abs(thumb.t - seconds) + elsewhere;
    if (cost < bestCost) [best, bestCost] = [thumb, cost];
  }
  return best;
}

const segmentAt = (seconds) => segments.findIndex((s) => s.start_s <= seconds && seconds < s.end_s);
const tagScoreAt = (tag, seconds) => tag.ranges.find((r) => r.start_s <= seconds && seconds <= r.end_s)?.score;
