// The time line: one row per kind of finding, all on one scale, with a play head and a cross-hair through all of them.
"use strict";

const TAG_LANES = 10;
const readings = []; // (seconds) => void, one per row that shows its value under the cross-hair
const body = el("div", { class: "tl-body" });
const scroller = el("div", { class: "tl-scroll", tabindex: "-1" }, body);
const playhead = el("div", { class: "playhead" });
const crosshair = el("div", { class: "crosshair", hidden: true });
const overlay = el("div", { class: "tl-overlay", "aria-hidden": "true" }, crosshair, playhead);
const flagPicture = el("img", { alt: "", hidden: !thumbs.length });
const flagText = el("span");
const flag = el("div", { class: "flag", hidden: true, "aria-hidden": "true" }, flagPicture, flagText);
let zoom = 1;

/** A row with its label; `read(seconds)` gives what the label shows while the pointer is over the time line. */
function row(kind, name, track, read, color) {
  const value = el("span", { class: "value" });
  const label = el("div", { class: "tl-label", title: name, vars: color ? { "--own": color } : {} },
    el("bdi", { class: "name", text: name }), value);
  if (read) readings.push((seconds) => { value.textContent = seconds === null ? "" : read(seconds); });
  track.classList.add("tl-track");
  const line = el("div", { class: `tl-row ${kind}`, "data-row": name }, label, track);
  body.append(line);
  return line;
}

function group(name, extra = null) {
  body.append(el("div", { class: "tl-group" }, el("div", { class: "tl-label" }, el("span", { text: name }), extra)));
}

/** The ruler is also the slider that the keyboard moves. */
const ruler = el("div", {
  class: "ruler", tabindex: "0", role: "slider", "aria-label": "Position in the video, seconds",
  "aria-valuemin": "0", "aria-valuemax": duration.toFixed(1), "aria-valuenow": "0",
});
const film = el("div", { class: "film" });

function drawRuler(width) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
  const step = steps.find((s) => (s / duration) * width >= 72) ?? 14400;
  const ticks = [];
  for (let i = 0; i * step <= duration; i += 1) {
    const at = i * step;
    const last = (1 - at / duration) * width < 40; // its text would leave the row
    ticks.push(el("span", { class: last ? "tick end" : "tick", text: clock(at, step < 1 ? 1 : 0), vars: { left: percent(at) } }));
  }
  ruler.replaceChildren(...ticks);
}

function drawFilm(width) {
  const cell = 56 * clamp(aspect, 0.5, 2.4);
  const cells = Math.max(1, Math.round(width / cell));
  const images = [];
  for (let i = 0; i < cells; i += 1) {
    const thumb = thumbAt(((i + 0.5) / cells) * duration);
    images.push(el("img", { src: thumb.src, alt: "", draggable: "false", decoding: "async" }));
  }
  film.replaceChildren(...images);
}

function shotTitle(index) {
  const shot = report.shots[index];
  const how = shot.transition === "start" ? "" : `, begins with a ${shot.transition}`;
  return `Shot ${index + 1} of ${report.shots.length}, ${between(shot)}${how}`;
}

function drawShots() {
  const track = el("div", {});
  report.shots.forEach((shot, i) => {
    const inside = shot.transition_s / 2 / (shot.end_s - shot.start_s || 1); // the number stands clear of the transition
    const block = el("div", { class: i % 2 ? "shot odd" : "shot", title: shotTitle(i), vars: { ...span(shot), "--inside": percentOfOne(inside) } },
      el("span", { text: i + 1 }));
    if (shot.transition_s > 0) {
      const wide = { start_s: shot.start_s - shot.transition_s / 2, end_s: shot.start_s + shot.transition_s / 2 };
      track.append(el("div", { class: i % 2 ? "blend odd" : "blend", title: `${shot.transition}, ${took(shot.transition_s)}`, vars: span(wide) }));
    }
    track.append(block);
  });
  if (!report.shots.length) track.append(el("p", { class: "none", text: report.spec.shots ? "None found." : "Not sought." }));
  row("shots", "Shots", track, (t) => (report.shots.length ? shotAt(t) + 1 : ""));
}

function drawSegments() {
  const track = el("div", {});
  segments.forEach((segment, i) => {
    track.append(el("button", {
      class: "segment", type: "button", "data-segment": i, "aria-pressed": "false",
      "aria-label": `Key segment ${i + 1}, ${between(segment)}, score ${score(segment.score)}`,
      vars: { ...span(segment), "--score": clamp(segment.score, 0, 1) },
      on: { click: () => select(i) },
    }, el("b", { text: i + 1 })));
  });
  if (!segments.length) track.append(el("p", { class: "none", text: "None chosen." }));
  row("segments", "Key segments", track, (t) => (segmentAt(t) < 0 ? "" : score(segments[segmentAt(t)].score)));
}

function drawTags() {
  if (!report.tags.length) return;
  const tags = [...report.tags].sort((a, b) => b.score - a.score);
  const more = tags.length - TAG_LANES;
  const button = more <= 0 ? null : el("button", { class: "quiet", type: "button", text: `Show all ${tags.length}`, on: {
    click: () => {
      const all = body.classList.toggle("all-tags");
      button.textContent = all ? "Show fewer" : `Show all ${tags.length}`;
    },
  } });
  group("Tags", button);
  tags.forEach((tag, i) => {
    const track = el("div", {}, ...tag.ranges.map((range) => el("div", {
      class: "range", title: `${tag.label}, ${between(range)}, ${score(range.score)}`,
      vars: { ...span(range), "--score": clamp(range.score, 0, 1) },
    })));
    row(i < TAG_LANES ? "tag" : "tag surplus", tag.label, track, (t) => score(tagScoreAt(tag, t)).replace("–", ""));
  });
}

/** A curve as SVG path data on a 1000 x 100 canvas; broken where values or times are missing. */
function curve(times, values) {
  const gaps = times.slice(1).map((t, i) => t - times[i]).sort((a, b) => a - b);
  const longest = 4 * (gaps[gaps.length >> 1] ?? duration);
  const runs = [];
  times.forEach((t, i) => {
    if (!Number.isFinite(values[i])) return;
    const joined = i > 0 && Number.isFinite(values[i - 1]) && t - times[i - 1] <= longest;
    if (!joined) runs.push([]);
    runs.at(-1).push([((t / duration) * 1000).toFixed(2), (98 - clamp(values[i], 0, 1) * 94).toFixed(1)]);
  });
  const line = runs.map((run) => `M${run.map((point) => point.join(" ")).join("L")}${run.length === 1 ? "h1" : ""}`).join("");
  const area = runs.map((run) => `M${run[0][0]} 100L${run.map((point) => point.join(" ")).join("L")}L${run.at(-1)[0]} 100Z`).join("");
  return { line, area };
}

function drawSignals() {
  const { pts_s: times, signals } = report.features;
  const names = signalNames.filter((name) => name in signals);
  if (!names.length || !times.length) return;
  group("Signals");
  for (const name of names) {
    const { line, area } = curve(times, signals[name]);
    const picture = el("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img", "aria-label": `Curve of ${name}` },
      el("path", { class: "area", d: area }), el("path", { class: "line", d: line }));
    const track = el("div", { vars: { "--own": signalColor(name) } }, picture);
    row("signal", name, track, (t) => score(signals[name][sampleAt(t)]), signalColor(name));
  }
}

const trackWidth = () => ruler.getBoundingClientRect().width || 1;
const timeAt = (x) => clamp((x - ruler.getBoundingClientRect().left) / trackWidth(), 0, 1) * duration;

/** Zoom is a wider body inside a scroller, kept still around the moment that the play head shows. */
function setZoom(level, around) {
  const before = percentOfView(around);
  zoom = level;
  body.style.setProperty("--zoom", zoom);
  byId("zoom-level").textContent = `${zoom}×`;
  byId("zoom-out").disabled = zoom <= 1;
  byId("zoom-in").disabled = zoom >= maxZoom();
  redraw();
  scroller.scrollLeft += percentOfView(around) - before;
}
const percentOfView = (seconds) => ruler.getBoundingClientRect().left + (seconds / duration) * trackWidth();
function maxZoom() {
  const wanted = (duration * 40) / (trackWidth() / zoom); // 40 pixels a second is plenty
  return 2 ** clamp(Math.ceil(Math.log2(Math.max(wanted, 1))), 0, 6);
}

function redraw() {
  const width = trackWidth();
  drawRuler(width);
  if (thumbs.length) drawFilm(width);
  const mark = (blocks, ranges) => blocks.forEach((block, i) => {
    block.classList.toggle("narrow", ((ranges[i].end_s - ranges[i].start_s) / duration) * width < 24); // no room for a number
  });
  mark(body.querySelectorAll(".shot"), report.shots);
  mark(body.querySelectorAll(".segment"), segments);
}

/** The cross-hair, its flag, and the readings of every row; null takes them away. */
function hoverAt(seconds) {
  crosshair.hidden = flag.hidden = seconds === null;
  readings.forEach((read) => read(seconds));
  if (seconds === null) return;
  crosshair.style.left = percent(seconds);
  flagText.textContent = clock(seconds, 2);
  const thumb = thumbAt(seconds);
  if (thumb && flagPicture.getAttribute("src") !== thumb.src) flagPicture.src = thumb.src;
  const frame = byId("timeline").getBoundingClientRect();
  const half = flag.offsetWidth / 2;
  flag.style.left = `${clamp(percentOfView(seconds) - frame.left, half, frame.width - half)}px`;
}

function placePlayhead(seconds) {
  playhead.style.left = percent(seconds);
  ruler.setAttribute("aria-valuenow", seconds.toFixed(1));
  ruler.setAttribute("aria-valuetext", clock(seconds));
}

function buildTimeline() {
  row("scale", "", ruler);
  if (thumbs.length) row("frames", "Frames", film);
  drawShots();
  drawSegments();
  drawTags();
  drawSignals();
  for (const range of report.decode.lost) {
    overlay.prepend(el("div", { class: "lost", vars: span(range) }));
  }
  body.append(overlay);
  byId("timeline").append(scroller, flag);
}
