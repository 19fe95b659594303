// The headline, the notices, and everything that a careful reader wants to check.
"use strict";

const CODECS = { h264: "H.264", hevc: "HEVC", av1: "AV1", vp8: "VP8", vp9: "VP9", mpeg4: "MPEG-4", mpeg2video: "MPEG-2", prores: "ProRes", mjpeg: "MJPEG" };
const codecName = CODECS[info.codec] ?? info.codec;

function pairs(entries) {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "pairs" }, ...shown.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", {}, el("bdi", { text: value }))]));
}

function table(caption, heads, rows) {
  return el("div", { class: "wide" }, el("table", {}, el("caption", { text: caption }),
    el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", { scope: "col", text })))),
    el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((text) => el("td", {}, el("bdi", { text }))))))));
}

function buildFacts() {
  const speed = report.timings.realtime_factor;
  const facts = [
    [clock(info.duration_s, duration < 600 ? 1 : 0), "duration"],
    [`${info.width} × ${info.height}`, [codecName, info.hdr?.toUpperCase()].filter(Boolean).join(" ")],
    [`${+info.average_fps.toFixed(2)} fps`, info.variable_rate ? "variable rate" : "constant rate"],
    [count(report.shots.length), report.shots.length === 1 ? "shot" : "shots"],
    [count(segments.length), segments.length === 1 ? "key segment" : "key segments"],
    [`${speed >= 10 ? count(speed) : speed?.toFixed(1) ?? "–"}×`, "real time"],
    [report.models.map((model) => model.name).join(", ") || "none", "model"],
  ];
  byId("facts").append(...facts.map(([value, name]) => el("div", {}, el("dt", { text: name }), el("dd", {}, el("bdi", { text: value })))));
}

function buildNotices() {
  const notices = report.warnings.map((notice) => [notice.message, notice.code]);
  const { lost, frames_lost: frames } = report.decode;
  if (lost.length && !report.warnings.some((notice) => notice.code.includes("lost"))) {
    const seconds = lost.reduce((sum, range) => sum + range.end_s - range.start_s, 0);
    notices.push([`${plural(frames, "frame")} in ${plural(lost.length, "stretch", "stretches")} (${took(seconds)}) could not be decoded; hatched on the time line.`, "lost"]);
  }
  if (!notices.length) return;
  byId("notices").append(el("ul", { class: "notices", "aria-label": "Warnings" },
    ...notices.map(([message, code]) => el("li", { dir: "auto" }, el("span", { text: message }), " ", el("code", { text: code })))));
}

function videoPart() {
  const sound = info.audio;
  const color = [...new Set([info.color_primaries, info.color_transfer, info.color_space, info.color_range].filter(Boolean))].join(", ");
  const turned = info.rotation_deg ? `, turned ${info.rotation_deg}°` : "";
  const pixels = info.pixel_aspect === 1 ? "" : `, pixel aspect ${+info.pixel_aspect.toFixed(3)}`;
  return pairs([
    ["File", info.path],
    ["Size", bytes(info.size_bytes)],
    ["Container", info.container],
    ["Codec", [codecName, info.profile, info.pixel_format, info.bit_depth && `${info.bit_depth} bit`].filter(Boolean).join(", ")],
    ["Coded size", `${info.coded_width} × ${info.coded_height}${turned}${pixels}`],
    ["Frames", `${count(info.frames)}, of them ${plural(info.keyframes, "keyframe")}`],
    ["Bit rate", info.bit_rate_bps ? `${bytes(info.bit_rate_bps).replace("B", "bit")}/s` : null],
    ["First frame at", info.start_s ? `${info.start_s.toFixed(3)} s of the container's clock` : null],
    ["Colour", color],
    ["Sound", sound ? `${sound.codec}, ${count(sound.sample_rate_hz)} Hz, ${plural(sound.channels, "channel")}` : "none"],
  ]);
}

function decodePart() {
  const d = report.decode;
  const parts = [pairs([
    ["Decoder", d.backend],
    ["Why", d.reason],
    ["Sampling", d.sampling],
    ["Wanted frames", `${count(d.frames_wanted)} of ${count(d.frames_total)}`],
    ["Decoded", `${count(d.frames_decoded)}${d.frames_lost ? `, ${count(d.frames_lost)} lost` : ", none lost"}`],
    ["Packets fed", d.frames_total ? `${count(d.packets_fed)} (${share(d.packets_fed / d.frames_total)} of the file)` : count(d.packets_fed)],
    ["… to refine shots", d.packets_fed_shots ? count(d.packets_fed_shots) : null],
  ])];
  if (d.lost.length) {
    parts.push(table("Lost stretches", ["From – to", "Frames", "Why"], d.lost.map((range) => [between(range), count(range.frames), range.reason])));
  }
  return parts;
}

function timingPart() {
  const t = report.timings;
  const stages = [["index", t.index_s], ["decode", t.decode_s], ["preprocess", t.preprocess_s], ["infer", t.infer_s], ["analyse", t.analyse_s]];
  const longest = Math.max(t.total_s, ...stages.map(([, seconds]) => seconds), 1e-9);
  const line = ([name, seconds], kind = "") => [el("dt", { text: name }), el("dd", { class: kind },
    el("span", { class: "bar" }, el("i", { vars: { width: percentOfOne(seconds / longest) } })), el("span", { class: "value", text: took(seconds) }))];
  return [el("dl", { class: "bars timings" }, ...stages.flatMap((stage) => line(stage)), ...line(["total", t.total_s], "total")),
    el("p", { class: "aside", text: "Stages overlap, so they may add up to more than the total." })];
}

function modelPart() {
  if (!report.models.length) return el("p", { class: "none", text: "No model took part." });
  return report.models.map((model) => pairs([
    ["Model", `${model.name} ${model.version}`], ["Space", model.space],
    ["Vectors", `${count(model.dim)} numbers`], ["Ran on", `${model.device}, ${model.dtype}`],
  ]));
}

function askedPart() {
  const { sampling, segments: chosen, labels, model } = report.spec;
  const weights = Object.entries(chosen.weights).map(([name, weight]) => `${name} ${weight}`).join(", ");
  return pairs([
    ["Model", model],
    ["Sampling", `${sampling.policy}, ${sampling.fps} fps${sampling.max_frames ? `, at most ${count(sampling.max_frames)} frames` : ""}`],
    ["Segments", `at most ${chosen.max_segments}, ${chosen.min_s} to ${chosen.max_s} s each${chosen.target_s ? `, ${chosen.target_s} s in all` : ""}`],
    ["Weights", weights],
    ["Prompts", chosen.prompts.join("; ") || null],
    ["Labels", labels ? labels.map((label) => label.name).join(", ") || "none" : "the model's own vocabulary"],
  ]);
}

function part(title, ...content) {
  return el("section", { class: "part" }, el("h3", { text: title }), ...content.flat());
}

function fold(title, content) {
  return el("details", { class: "fold" }, el("summary", { text: title }), content);
}

function buildDetails() {
  byId("details").append(el("div", { class: "parts" },
    part("Video", videoPart()), part("Decoding", decodePart()), part("Time taken", timingPart()),
    part("Models", modelPart()), part("What was asked", askedPart())));
  if (report.shots.length) byId("details").append(fold(`${plural(report.shots.length, "shot")} as a table`, table("Shots", ["Shot", "From – to", "Length", "Begins with", "Confidence"],
      report.shots.map((shot, i) => [i + 1, between(shot), took(shot.end_s - shot.start_s), shot.transition, score(shot.score)]))));
  if (report.tags.length) byId("details").append(fold(`${plural(report.tags.length, "tag")} as a table`, table("Tags", ["Label", "Kind", "Under", "Score", "Share", "Where"],
      report.tags.map((tag) => [tag.label, tag.kind, tag.parent ?? "", score(tag.score), share(tag.coverage), tag.ranges.map(between).join(", ")]))));
}
