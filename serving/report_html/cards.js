// The key segments as cards, and the readings of one moment beside the picture.
"use strict";

function stackedBar(signals) {
  const parts = signalNames.filter((name) => signals[name] > 0);
  const words = parts.map((name) => `${name} ${score(signals[name])}`).join(", ");
  return el("div", { class: "stack", role: "img", "aria-label": `Score made of ${words || "nothing"}` },
    ...parts.map((name) => el("i", { vars: { "flex-basis": percentOfOne(signals[name]), "--own": signalColor(name) } })));
}

function legend(signals) {
  const parts = signalNames.filter((name) => name in signals).map((name) => [name, signals[name]]);
  return el("ul", { class: "legend" }, ...parts.map(([name, value]) => el("li", { vars: { "--own": signalColor(name) } },
    el("bdi", { text: name }), el("span", { class: "value", text: score(value) }))));
}

function tagChips(labels) {
  return labels.length
    ? el("ul", { class: "chips", "aria-label": "Tags" }, ...labels.map((label) => el("li", {}, el("bdi", { text: label }))))
    : null;
}

function card(segment, i) {
  const thumb = thumbAt(segment.thumbnail_s);
  const title = el("button", {
    type: "button", class: "pick", "aria-pressed": "false", "data-pick": i,
    "aria-label": `Key segment ${i + 1}: ${between(segment)}, score ${score(segment.score)}`,
    on: { click: () => select(i) },
  }, el("b", { class: "rank", text: i + 1 }), el("span", { class: "when", text: between(segment) }));
  return el("article", { class: "card", "data-card": i },
    thumb ? el("div", { class: "picture" }, el("img", { src: thumb.src, alt: `Frame at ${clock(segment.thumbnail_s)}` }),
      el("span", { class: "length", text: took(segment.end_s - segment.start_s) })) : null,
    el("h3", {}, title),
    el("p", { class: "score" }, el("span", { text: score(segment.score) }), el("small", { text: "score" })),
    stackedBar(segment.signals),
    legend(segment.signals),
    segment.reasons.length ? el("ul", { class: "reasons" }, ...segment.reasons.map((text) => el("li", { dir: "auto", text }))) : null,
    tagChips(segment.tags));
}

function buildCards() {
  const place = byId("cards");
  segments.forEach((segment, i) => place.append(card(segment, i)));
  if (segments.length) return;
  place.append(el("p", { class: "none", text: "No stretch of this video was chosen: it may be too short or too even, or none was asked for." }));
}

/** The best segments as one line each, beside the picture that they play in. */
function jumpList() {
  if (!segments.length) return null;
  const lines = segments.slice(0, 5).map((segment, i) => el("li", {}, el("button", {
    type: "button", "data-pick": i, "aria-pressed": "false", on: { click: () => select(i) },
    "aria-label": `Key segment ${i + 1}: ${between(segment)}, score ${score(segment.score)}`,
  }, el("b", { class: "rank", text: i + 1 }), el("span", { class: "when", text: between(segment) }),
  el("bdi", { class: "why", text: segment.reasons[0] ?? "" }), el("span", { text: score(segment.score) }))));
  return el("ol", { class: "jump", "aria-label": "The best key segments" }, ...lines);
}

/** What holds at one moment: shot, key segment, signals, tags. Built once, refreshed while the time moves. */
const now = { time: el("p", { class: "time" }), shot: el("p", {}), segment: el("p", {}), tags: el("div", {}), bars: [] };

function buildNow() {
  const { pts_s: times, signals } = report.features;
  const names = times.length ? signalNames.filter((name) => name in signals) : [];
  const list = el("dl", { class: "bars" });
  for (const name of names) {
    const fill = el("i", { vars: { "--own": signalColor(name) } });
    const value = el("span", { class: "value" });
    now.bars.push((seconds) => {
      const reading = signals[name][sampleAt(seconds)];
      fill.style.width = percentOfOne(reading || 0);
      value.textContent = score(reading);
    });
    list.append(el("dt", {}, el("bdi", { text: name })), el("dd", {}, el("span", { class: "bar" }, fill), value));
  }
  byId("now").append(now.time, now.shot, now.segment, list, now.tags, jumpList() ?? "");
}

let shownTags = null;
function readNow(seconds) {
  now.time.textContent = clock(seconds);
  const shot = shotAt(seconds);
  now.shot.textContent = shot < 0 ? "" : shotTitle(shot);
  const segment = segmentAt(seconds);
  now.segment.textContent = segment < 0 ? "Outside the key segments" : `In key segment ${segment + 1}, score ${score(segments[segment].score)}`;
  now.segment.classList.toggle("hit", segment >= 0);
  now.bars.forEach((read) => read(seconds));
  const labels = report.tags.filter((tag) => tagScoreAt(tag, seconds) !== undefined).map((tag) => tag.label).slice(0, 8);
  if (labels.join("\n") === shownTags) return; // text selected by the reader survives
  shownTags = labels.join("\n");
  now.tags.replaceChildren(tagChips(labels) ?? "");
}
