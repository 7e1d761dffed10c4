"use strict";
// The gallery itself: one picture at a time, two methods with a split or all methods side by side, with scores and
// words. Text is always set as text, so that it cannot become markup.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const view = new View();
const blindView = new View();

/** A new element with properties and children. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** The `src` for an image element, or null if the method has no picture. */
function source(shot, method) {
  const place = shot.pictures[method];
  if (!place) return null;
  const block = $(`picture-${place[0]}`);
  return `data:${block.dataset.type};base64,${block.textContent}`;
}

// What is shown: an index of data.shots, and two methods.
const state = { shot: 0, split: 50 };
state.left = data.methods.includes("bicubic") ? "bicubic" : data.methods[0];
state.right = data.rivals.find((method) => method !== state.left) ?? data.methods[0];

// Compare two ------------------------------------------------------------------------------------------------------

/** The split follows the pointer if it grabs the handle, or if the picture cannot be moved. */
const stage = new Pane($("stage"), view, 2, (event) => {
  if (event.target !== $("handle") && $("stage").classList.contains("movable")) return null;
  const follow = (moved) => setSplit((stage.at(moved).left / $("stage").clientWidth) * 100);
  follow(event);
  return follow;
});

function setSplit(percent) {
  state.split = clamp(percent, 0, 100);
  $("stage").style.setProperty("--split", `${state.split}%`);
  $("handle").setAttribute("aria-valuenow", Math.round(state.split));
  $("handle").setAttribute("aria-valuetext", `${Math.round(state.split)} % ${state.left}`);
}

function choose(side, method) {
  const other = side === "left" ? "right" : "left";
  if (state[other] === method) state[other] = state[side]; // never the same method on both sides: swap them
  state[side] = method;
  show();
}

const shown = (shot, method) => (shot.pictures[method] ? method : `${method}: no picture`);

function showCompare(shot) {
  for (const side of ["left", "right"]) {
    $(side).value = state[side];
    $(`${side}-tag`).textContent = shown(shot, state[side]);
  }
  const pair = [state.left, state.right]; // the upper one, on the right, is clipped left of the split
  stage.show(pair.map((method) => source(shot, method)), shot.width, shot.height, pair);
  setSplit(state.split);
  $("shot-name").textContent = shot.name;
  showScores(shot);
  showWords(shot);
}

const ARROW = new Map([[true, " \u2191"], [false, " \u2193"], [null, ""]]);

function showScores(shot) {
  const metrics = data.metrics.filter(({ key }) => data.methods.some((method) => key in (shot.scores[method] ?? {})));
  const names = metrics.map(({ label, higher }) => make("th", { scope: "col" }, label + ARROW.get(higher)));
  const best = new Map(metrics.map((metric) => [metric.key, bestOf(shot, metric)]));
  const blocks = data.methods.map((method) => {
    const chosen = { left: method === state.left, right: method === state.right };
    const picks = ["left", "right"].map((side) => {
      const button = make("button", { type: "button", title: `Show on the ${side}` }, side === "left" ? "L" : "R");
      button.setAttribute("aria-pressed", chosen[side]);
      button.setAttribute("aria-label", `${method} on the ${side}`);
      button.onclick = () => choose(side, method);
      return button;
    });
    const cells = metrics.map(({ key, decimals }) => {
      const value = shot.scores[method]?.[key];
      const text = value === undefined ? "" : value.toFixed(decimals);
      return make("td", {}, value !== undefined && value === best.get(key) ? make("strong", {}, text) : text);
    });
    const name = make("th", { scope: "rowgroup", colSpan: Math.max(1, metrics.length) });
    name.append(make("span", { className: "picks" }, ...picks), method);
    const block = make("tbody", {}, make("tr", {}, name)); // names may be long: scores have their own line
    if (method in shot.scores) block.append(make("tr", {}, ...cells));
    block.classList.toggle("absent", !shot.pictures[method]);
    return block;
  });
  const focused = $("scores").contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
  $("scores").classList.toggle("many", metrics.length > 6);
  $("scores").replaceChildren(make("thead", {}, make("tr", {}, ...names)), ...blocks);
  [...$("scores").querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === focused)?.focus();
  const hint = metrics.length ? "Scores of this picture, the best one bold." : "No scores of this picture.";
  $("scores-hint").textContent = `L and R put a method on the left or the right. ${hint}`;
}

function bestOf(shot, { key, higher }) {
  const values = data.methods.map((method) => shot.scores[method]?.[key]).filter((value) => value !== undefined);
  if (higher === null || values.length < 2) return null;
  return higher ? Math.max(...values) : Math.min(...values);
}

function showWords(shot) {
  const blocks = shot.words.map((words) =>
    make(
      "div",
      { className: "said" },
      make("h3", {}, words.source),
      ...Object.entries(words.lines).map(([name, text]) => make("p", { className: name }, text)),
    ),
  );
  $("words").replaceChildren(...blocks);
}

// All methods ----------------------------------------------------------------------------------------------------------

// Height of the caption below a pane [screen pixels]: a name, and lines of two or three scores.
const CAPTION = 46 + 18 * Math.ceil(data.metrics.length / 2.5);

const allPanes = data.methods.map((method) => {
  const box = make("div", { className: "pane" });
  const caption = make("figcaption", {}, make("span", {}, method), make("small"));
  $("panes").append(make("figure", {}, box, caption));
  return { method, pane: new Pane(box, view), scoresLine: caption.querySelector("small") };
});

/** Choose the number of columns with the largest panes that all fit on the screen; a narrow screen scrolls instead. */
function layOut(shot) {
  const width = $("panes").clientWidth;
  const height = innerHeight - $("panes").offsetTop - $("strip").offsetHeight - 10;
  const side = (columns) => {
    const rows = Math.ceil(allPanes.length / columns);
    return Math.min(width / columns - 16, (height / rows - CAPTION) * (shot.width / shot.height));
  };
  const best = allPanes.map((_, index) => index + 1).sort((one, other) => side(other) - side(one))[0];
  const fits = width > 700 && side(best) >= 150;
  $("panes").style.gridTemplateColumns = fits ? `repeat(${best}, ${Math.floor(side(best))}px)` : "";
}

function showAll(shot) {
  $("all-name").textContent = shot.name;
  layOut(shot);
  for (const { method, pane, scoresLine } of allPanes) {
    pane.show([source(shot, method)], shot.width, shot.height, [method]);
    const scores = shot.scores[method] ?? {};
    const known = data.metrics.filter(({ key }) => key in scores);
    const text = known.map(({ key, label, decimals }) => `${label} ${scores[key].toFixed(decimals)}`);
    const [, width, height] = shot.pictures[method] ?? [];
    if (width !== shot.width) text.unshift(width ? `${width} x ${height} px` : "no picture");
    scoresLine.textContent = text.join(" \u00b7 ");
  }
}

// Which picture, which view --------------------------------------------------------------------------------------------

const VIEWS = ["compare", "all", "blind"];
const current = () => (VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "compare");
const visibleView = () => (current() === "blind" ? blindView : view);

function show() {
  const shot = data.shots[state.shot];
  view.turnTo(shot);
  if (current() === "compare") showCompare(shot);
  if (current() === "all") showAll(shot);
  [...$("strip").children].forEach((button, index) => {
    if (index === state.shot) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
}

function goTo(index) {
  state.shot = (index + data.shots.length) % data.shots.length;
  show();
  const thumbnail = $("strip").children[state.shot];
  $("strip").scrollLeft = thumbnail.offsetLeft - ($("strip").clientWidth - thumbnail.offsetWidth) / 2;
}

function openView() {
  for (const name of VIEWS) {
    $(`${name}-view`).hidden = name !== current(); // an id equal to the URL hash would scroll
    const link = document.querySelector(`header a[href="#${name}"]`);
    if (name === current()) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  $("strip").hidden = current() === "blind";
  show();
  visibleView().draw();
}

/** Thumbnails: the smallest picture of each subject, loaded once it becomes visible. */
function buildStrip() {
  const reading = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      const shot = data.shots[target.dataset.shot];
      target.firstChild.src = source(shot, "LQ") ?? source(shot, Object.keys(shot.pictures)[0]);
      reading.unobserve(target);
    }
  });
  data.shots.forEach((shot, index) => {
    const image = make("img", { alt: "", draggable: false });
    const button = make("button", { type: "button", title: shot.name, onclick: () => goTo(index) }, image);
    button.setAttribute("aria-label", shot.name);
    button.dataset.shot = index;
    $("strip").append(button);
    reading.observe(button);
  });
}

// Controls -------------------------------------------------------------------------------------------------------------

const KEYS = {
  j: () => goTo(state.shot + 1),
  k: () => goTo(state.shot - 1),
  x: () => choose("left", state.right),
};
const ZOOM_KEYS = {
  "+": () => visibleView().zoomBy(STEP),
  "=": () => visibleView().zoomBy(STEP), // the same key without shift
  "-": () => visibleView().zoomBy(1 / STEP),
  0: () => visibleView().reset(),
  1: () => visibleView().oneToOne(),
};
const SPLIT_KEYS = { ArrowLeft: -2, ArrowDown: -2, PageDown: -10, Home: -100, ArrowRight: 2, ArrowUp: 2, PageUp: 10, End: 100 };

/** Whether a key press belongs to a form field, or to the browser. */
const typing = (event) =>
  event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT"].includes(event.target.tagName);

// Characters of a name that fit on one line of a phone.
const NAME_FITS = 32;

/** A name whose middle gives way where it is too long: names of runs differ at their end, names of folders anywhere. */
const shortened = (name) =>
  name.length > NAME_FITS ? `${name.slice(0, 8)}\u2026${name.slice(9 - NAME_FITS)}` : name;

function connect() {
  const narrow = matchMedia("(max-width: 800px)");
  for (const side of ["left", "right"]) {
    const options = data.methods.map((method) => make("option", { value: method, title: method }, method));
    const label = () => options.forEach((option) => { option.label = narrow.matches ? shortened(option.value) : option.value; });
    label();
    narrow.addEventListener("change", label);
    $(side).append(...options);
    $(side).onchange = (event) => choose(side, event.target.value);
  }
  $("swap").onclick = KEYS.x;
  $("zoom-in").onclick = ZOOM_KEYS["+"];
  $("zoom-out").onclick = ZOOM_KEYS["-"];
  $("zoom-fit").onclick = ZOOM_KEYS[0];
  $("zoom-one").onclick = ZOOM_KEYS[1];
  for (const one of [view, blindView]) {
    one.changed = () => {
      $("zoom-shown").textContent = `${Math.round(visibleView().scale * 100)} %`;
    };
  }
  $("handle").addEventListener("keydown", (event) => {
    if (!(event.key in SPLIT_KEYS)) return;
    event.preventDefault();
    setSplit(state.split + SPLIT_KEYS[event.key]);
  });
  document.addEventListener("keydown", (event) => {
    if (typing(event)) return;
    ZOOM_KEYS[event.key]?.();
    if (current() !== "blind") KEYS[event.key]?.();
  });
  addEventListener("hashchange", () => {
    openView();
    scrollTo(0, 0);
  });
  addEventListener("resize", show);
}

function showNotes() {
  $("notes").hidden = data.notes.length === 0;
  $("notes").querySelector("summary").textContent = `What is missing (${data.notes.length})`;
  $("notes").querySelector("ul").replaceChildren(...data.notes.map((note) => make("li", {}, note)));
  $("identity").textContent = `Gallery ${data.id}. Pictures are lossless and all in this file.`;
}

connect();
buildStrip();
showNotes();
openView();
