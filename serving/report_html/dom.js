// The report, and where in it things are.
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

const percent = (seconds) => `${(clamp(seconds / duration, 0, 1) * 100).toFixed(4)}%`;
const span = (range) => ({ left: percent(range.start_s), width: percent(range.end_s - range.start_s) });

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
