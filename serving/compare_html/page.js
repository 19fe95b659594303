// The comparison, drawn: what each model costs, and for each video how far they agree and on which frames they do not.
"use strict";

const { comparison, thumbs } = JSON.parse(document.getElementById("data").textContent);
const duration = Math.max(0.001, ...comparison.videos.map((video) => video.duration_s || 0));
const MOST_ROWS = 30;
const NOISE = 1.1; // below this ratio, two speeds are the same on a machine that does other things, too

const mib = (size) => (Number.isFinite(size) ? `${count(size / 2 ** 20)}\u202fMiB` : "–");
const digits = (value, places = 3) => (Number.isFinite(value) ? Number(value.toPrecision(places)).toLocaleString("en") : "–");
const some = (value) => value !== null && value !== undefined;
const fileName = (path) => path.split("/").pop() || path;
const side = (letter) => el("span", { class: `side ${letter}`, text: letter.toUpperCase() });

function fact(name, value, more) {
  return el("div", {}, el("dt", { text: name }), el("dd", {}, el("bdi", { text: value }), more ? el("small", { text: ` ${more}` }) : null));
}

function notices(list) {
  if (!list.length) return null;
  return el("ul", { class: "notices", "aria-label": "Warnings" }, ...list.map((one) => el("li", {},
    el("bdi", { text: one.message }), " ", el("code", { text: one.code }))));
}

function table(caption, heads, rows, name = "") {
  return el("table", { class: name }, el("caption", { text: caption }),
    el("thead", {}, el("tr", {}, ...heads.map(([text, kind]) => el("th", { scope: "col", class: kind, text })))),
    el("tbody", {}, ...rows));
}

function buildSummary() {
  const videos = comparison.videos;
  const frames = videos.reduce((sum, video) => sum + video.frames, 0);
  const known = [fact(videos.length === 1 ? "video" : "videos", count(videos.length)), fact("frames", count(frames))];
  if (some(comparison.agreement)) known.push(fact("agreement on labels", share(comparison.agreement)));
  const { a, b } = comparison;
  const ratio = a.images.per_s / b.images.per_s;
  const faster = ratio >= 1 ? "A" : "B";
  known.push(Math.max(ratio, 1 / ratio) < NOISE ? fact("speed", "the same", "within 10\u202f%") : fact(`faster: ${faster}`, `${digits(Math.max(ratio, 1 / ratio))}×`));
  byId("facts").append(...known);
  const told = notices(comparison.notices);
  if (told) byId("notices").append(told);
}

function buildCosts() {
  const { a, b, machine, frame } = comparison;
  const peak = (one) => (some(one.images.peak_bytes) ? `${mib(one.memory_bytes)}, ${mib(one.images.peak_bytes)} more at work` : mib(one.memory_bytes));
  const share_ = (one) => (some(one.images.matrix_share) ? share(one.images.matrix_share) : "–");
  const rows = [
    ["Model", (one) => one.name], ["Version", (one) => one.version], ["Space", (one) => `${one.space}, ${count(one.dim)} columns`],
    ["Kind", (one) => one.kind], ["Runs", (one) => `${one.dtype} on ${one.device}`],
    ["Images a second", (one) => `${digits(one.images.per_s)}, ${one.images.batch} at a time`],
    ["Images a CPU second", (one) => digits(one.images.per_cpu_s)], ["Of the machine’s matrix rate", share_],
    ["Work a frame", (one) => (some(one.gflop) ? `${digits(one.gflop)} GFLOP` : "not known")],
    ["Memory", peak], ["Loaded in", (one) => took(one.load_s)],
  ].map(([name, read]) => el("tr", {}, el("th", { scope: "row", text: name }),
    ...[a, b].map((one) => el("td", {}, el("bdi", { text: read(one) })))));
  byId("costs").append(table(`On frames of ${frame[1]}×${frame[0]}`, [["", ""], ["A", ""], ["B", ""]], rows));
  const beside = comparison.encoder ? ` Beside the encoder ${comparison.encoder}.` : "";
  byId("machine").textContent = `${machine.gpu || machine.cpu}, ${plural(machine.cores, "core")}; load average ${machine.load_average.map((one) => one.toFixed(1)).join(", ")}.${beside}`;
}

function measures(video) {
  const known = [fact("frames", count(video.frames))];
  if (video.labels) known.push(fact("agreement on labels", some(video.agreement) ? share(video.agreement) : "none found", some(video.agreement) ? "of the time in which one finds one" : `of ${video.labels}`));
  const near = video.neighbourhoods;
  if (near) {
    known.push(fact("alike frames", some(near.spearman) ? near.spearman.toFixed(3) : "not defined", "rank correlation"));
    known.push(fact(`${near.nearest} nearest frames`, share(near.overlap), `the same, ${share(near.by_chance)} by chance`));
  }
  if (video.cosines) known.push(fact("cosine", video.cosines.mean.toFixed(4), `lowest ${video.cosines.lowest.toFixed(4)} at ${clock(video.cosines.lowest_s)}`));
  if (video.segments) known.push(fact("key segments", share(video.segments.overlap), `in both; ${video.segments.kept} of ${video.segments.a.length} kept`));
  return el("dl", { class: "facts" }, ...known);
}

const ranges = (list) => list.map(between).join(", ") || "nowhere";

function lanes(a, b, length) {
  const lane = (letter, list) => el("div", { class: `lane ${letter}` }, ...list.map((one) => el("i", { vars: {
    left: percentOfOne(one.start_s / length), width: percentOfOne((one.end_s - one.start_s) / length),
  } })));
  return el("div", { role: "img", "aria-label": `A: ${ranges(a)}. B: ${ranges(b)}.`, title: `A: ${ranges(a)}\nB: ${ranges(b)}` }, lane("a", a), lane("b", b));
}

function labelRow(label, length) {
  const seconds = (value) => el("td", { class: "number", text: value >= 0.05 ? `${value.toFixed(1)}\u202fs` : "" });
  return el("tr", {}, el("th", { scope: "row" }, el("bdi", { text: label.label })),
    el("td", { class: "lanes" }, lanes(label.ranges_a, label.ranges_b, length)),
    seconds(label.both_s), seconds(label.only_a_s), seconds(label.only_b_s), el("td", { class: "number", text: share(label.agreement) }));
}

function labels(video, length) {
  if (!video.tags.length) return [];
  const heads = [["Label", ""], ["When", "lanes"], ["Both", "number"], ["Only A", "number"], ["Only B", "number"], ["Agree", "number"]];
  const part = (list, caption) => el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": caption },
    table(caption, heads, list.map((label) => labelRow(label, length))));
  const rest = video.tags.slice(MOST_ROWS);
  return [
    el("h3", { text: "Labels over time" }), part(video.tags.slice(0, MOST_ROWS), "When A (above) and B (below) say that a label holds; most disagreement first"),
    rest.length ? el("details", { class: "fold" }, el("summary", { text: plural(rest.length, "more label") }), part(rest, "Further labels")) : null,
  ];
}

function chosen(video, length) {
  if (!video.segments) return [];
  return [el("h3", { text: "Key segments" }), el("p", { class: "aside", text: "As A (above) and B (below) choose them." }),
    el("div", { class: "segments" }, lanes(video.segments.a, video.segments.b, length))];
}

function says(saying, frame) {
  const holds = saying.labels.filter((one) => one.holds);
  const parts = [];
  if (holds.length) parts.push(el("span", {}, ...holds.flatMap((one, i) => [i ? ", " : "", el("bdi", { text: one.label }), ` ${score(one.probability)}`])));
  else if (saying.labels.length) parts.push(el("span", {}, "nothing; nearest is ", el("bdi", { text: saying.labels[0].label }), ` ${score(saying.labels[0].probability)}`));
  if (some(frame.neighbours) && some(saying.most_like_s)) parts.push(el("small", { text: `${parts.length ? " · " : ""}most like ${clock(saying.most_like_s)}` }));
  return el("dd", {}, ...parts);
}

function frameCard(frame, pictures) {
  const picture = pictures.find((one) => Math.abs(one.t - frame.time_s) < 2e-3);
  const why = [];
  if (some(frame.labels)) why.push(`labels differ by ${score(frame.labels)}`);
  if (some(frame.cosine)) why.push(`cosine ${frame.cosine.toFixed(4)}`);
  if (some(frame.neighbours)) why.push(`${share(frame.neighbours)} of the nearest frames the same`);
  return el("article", { class: "card" },
    picture ? el("div", { class: "picture" }, el("img", { src: picture.src, alt: `Frame at ${clock(frame.time_s)}` })) : null,
    el("h3", { text: clock(frame.time_s) }),
    el("dl", { class: "words" }, el("dt", {}, side("a")), says(frame.a, frame), el("dt", {}, side("b")), says(frame.b, frame)),
    el("p", { class: "aside", text: why.join("; ") }));
}

function buildVideo(video, place) {
  const length = Math.max(video.duration_s, 0.001);
  const cards = video.disagreements.map((frame) => frameCard(frame, thumbs[place] ?? []));
  const title = `video-${place}`;
  byId("videos").append(el("section", { "aria-labelledby": title },
    el("h2", { id: title }, el("bdi", { text: fileName(video.path) })), measures(video), notices(video.notices),
    ...chosen(video, length), ...labels(video, length),
    el("h3", { text: "Frames they disagree on most" }),
    cards.length ? el("div", { class: "cards" }, ...cards) : el("p", { class: "none", text: "They disagree on no frame." })));
}

buildSummary();
buildCosts();
comparison.videos.forEach(buildVideo);
wireTheme();
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((fold) => { fold.open = true; }));
