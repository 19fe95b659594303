// What moves: the current time, the chosen segment, the player.
"use strict";

const state = { time: 0, chosen: -1, stopAt: null };
const still = el("img", { alt: "Frame at the current time" });
let player = null;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function showTime(seconds) {
  state.time = seconds;
  placePlayhead(seconds);
  readNow(seconds);
  showStill(seconds);
}

function showStill(seconds) {
  const thumb = player ? null : thumbAt(seconds);
  if (thumb && still.getAttribute("src") !== thumb.src) still.src = thumb.src;
}

function seek(seconds) {
  state.stopAt = null;
  if (player) player.currentTime = seconds;
  showTime(clamp(seconds, 0, duration));
}

/** Choose a key segment: mark it everywhere, go there, and play it to its end where there is something to play. */
function select(i) {
  state.chosen = i;
  for (const node of document.querySelectorAll("[data-segment], [data-pick]")) {
    node.setAttribute("aria-pressed", String(Number(node.dataset.segment ?? node.dataset.pick) === i));
  }
  for (const node of document.querySelectorAll("[data-card]")) node.classList.toggle("chosen", Number(node.dataset.card) === i);
  seek(segments[i].start_s);
  if (player) {
    state.stopAt = segments[i].end_s;
    byId("screen").classList.add("watching");
    player.play().catch(() => { /* the browser wants a press of its own play button */ });
    return;
  }
  const box = byId("timeline").getBoundingClientRect();
  if (box.bottom < 80 || box.top > innerHeight - 80) {
    byId("timeline").scrollIntoView({ block: "center", behavior: calm.matches ? "auto" : "smooth" });
  }
}

function buildStage() {
  if (!videoSrc && !thumbs.length) return;
  const screen = byId("screen");
  byId("stage").hidden = false;
  screen.style.setProperty("--aspect", aspect);
  document.body.classList.toggle("tall", aspect < 1);
  if (!videoSrc) return showStills();
  player = el("video", { src: videoSrc, controls: true, playsinline: true, preload: "metadata", "aria-label": "The video" });
  player.addEventListener("error", showStills);
  // A browser that knows the sound but not the picture's codec plays a black picture, without an error.
  player.addEventListener("loadedmetadata", () => { if (!player.videoWidth) showStills(); });
  player.addEventListener("timeupdate", followPlayer);
  player.addEventListener("seeked", followPlayer);
  player.addEventListener("play", () => requestAnimationFrame(eachFrame));
  const close = el("button", { class: "close", type: "button", "aria-label": "Close the small player", text: "×", on: {
    click: () => { player.pause(); screen.classList.remove("watching"); },
  } });
  screen.append(player, close);
  // A segment chosen further down plays in a corner while the stage itself is out of sight.
  new IntersectionObserver((entries) => screen.classList.toggle("away", !entries.at(-1).isIntersecting)).observe(screen);
}

/** No video beside the page: its frames have to do. */
function showStills() {
  player = null;
  const screen = byId("screen");
  screen.className = "screen still";
  if (thumbs.length) {
    screen.replaceChildren(still);
    showStill(state.time);
  } else {
    byId("stage").hidden = true;
  }
}

function followPlayer() {
  if (!player) return;
  if (state.stopAt !== null && player.currentTime >= state.stopAt) {
    player.pause();
    state.stopAt = null;
  }
  showTime(clamp(player.currentTime, 0, duration));
}

function eachFrame() {
  if (!player || player.paused) return;
  followPlayer();
  requestAnimationFrame(eachFrame);
}

function wireTimeline() {
  let dragging = false;
  const onTracks = (event) => event.clientX >= scroller.getBoundingClientRect().left + labelWidth();
  body.addEventListener("pointermove", (event) => {
    if (!onTracks(event)) return hoverAt(null);
    hoverAt(timeAt(event.clientX));
    if (!player) showStill(timeAt(event.clientX));
    if (dragging) seek(timeAt(event.clientX));
  });
  body.addEventListener("pointerleave", () => { hoverAt(null); showStill(state.time); });
  body.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("button") || !onTracks(event)) return;
    dragging = event.pointerType === "mouse"; // a finger scrolls instead, and seeks by a tap
    seek(timeAt(event.clientX));
    ruler.focus({ preventScroll: true });
  });
  addEventListener("pointerup", () => { dragging = false; });
  ruler.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 1;
    const edges = report.shots.map((shot) => shot.start_s);
    const moves = {
      ArrowRight: state.time + step, ArrowUp: state.time + step, ArrowLeft: state.time - step, ArrowDown: state.time - step,
      Home: 0, End: duration,
      PageDown: edges.find((edge) => edge > state.time + 0.01) ?? duration,
      PageUp: edges.findLast((edge) => edge < state.time - 0.01) ?? 0,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    seek(clamp(moves[event.key], 0, duration));
  });
  byId("zoom-in").addEventListener("click", () => setZoom(zoom * 2, state.time));
  byId("zoom-out").addEventListener("click", () => setZoom(Math.max(zoom / 2, 1), state.time));
  new ResizeObserver(() => setZoom(Math.min(zoom, maxZoom()), state.time)).observe(scroller);
  const hint = matchMedia("(hover: hover)").matches ? "Point to read the values; click to go there." : "Tap to go to a moment.";
  byId("timeline-hint").textContent = report.decode.lost.length ? `${hint} Hatched: could not be decoded.` : hint;
}
const labelWidth = () => body.querySelector(".tl-label").getBoundingClientRect().width;

function wireCards() {
  byId("cards").addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-card]");
    // The heading's button answers for itself; a click that ends a text selection is no click.
    if (chosen && !event.target.closest("button") && !String(getSelection())) select(Number(chosen.dataset.card));
  });
}

buildFacts();
buildNotices();
buildTimeline();
buildCards();
buildNow();
buildDetails();
buildStage();
wireTimeline();
wireTheme();
wireCards();
showTime(0);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((fold) => { fold.open = true; }));
