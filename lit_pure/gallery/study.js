"use strict";
// The blind test: which of two unnamed methods restored a picture better? The questions and their order depend only on
// the gallery and the voter's name, so that a test can be repeated and resumed. Votes stay in this browser until they
// are saved to a file, which `lit-pure votes` counts.

const FORMAT = "lit_pure votes 1";
const CHOICES = ["left", "none", "right"];
const STORAGE_KEY = `lit_pure gallery ${data.id}`;

/** Random numbers in [0, 1), seeded by a text: FNV-1a hashes it to a state, and xorshift continues from there. */
function randomFrom(text) {
  let state = 2166136261;
  for (const byte of new TextEncoder().encode(text)) state = Math.imul(state ^ byte, 16777619);
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  state ||= 1; // xorshift never leaves the state 0
  for (let warming = 0; warming < 16; warming++) next(); // similar names give similar numbers at first
  return next;
}

function shuffled(items, random) {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [result[last], result[other]] = [result[other], result[last]];
  }
  return result;
}

/** Every pair of methods once, as a round-robin tournament: in each round, a method has one turn at most. */
function roundRobin(methods, random) {
  const ring = shuffled(methods, random);
  if (ring.length % 2) ring.push(null); // its partner has no turn in this round
  const rounds = [];
  for (let round = 1; round < ring.length; round++) {
    const half = ring.length / 2;
    const pairs = ring.slice(0, half).map((one, index) => [one, ring[ring.length - 1 - index]]);
    rounds.push(shuffled(pairs.filter((pair) => !pair.includes(null)), random));
    ring.splice(1, 0, ring.pop());
  }
  return shuffled(rounds, random).flat();
}

/**
 * The questions of a voter: [{shot, left, right}]. All pictures come up equally often, and so do all pairs of methods,
 * give or take one. No picture comes with the same pair twice. Sides are random.
 */
function plan(shots, methods, count, seed) {
  const random = randomFrom(seed);
  const asked = new Map(shots.map((shot) => [shot, new Set()]));
  const waiting = []; // pairs whose turn is still to come
  const questions = [];
  while (questions.length < count) {
    for (const shot of shuffled(shots, random).slice(0, count - questions.length)) {
      const fresh = (pair) => !asked.get(shot).has([...pair].sort().join("\n"));
      while (!waiting.some(fresh)) waiting.push(...roundRobin(methods, random));
      const [pair] = waiting.splice(waiting.findIndex(fresh), 1);
      asked.get(shot).add([...pair].sort().join("\n"));
      const [left, right] = random() < 0.5 ? pair : [pair[1], pair[0]];
      questions.push({ shot, left, right });
    }
  }
  return questions;
}

// One voter ------------------------------------------------------------------------------------------------------------

const judgedShots = data.shots.filter((shot) => shot.judged);
const planOf = (voter) => plan(judgedShots, data.rivals, data.comparisons, `${data.id} ${data.seed} ${voter}`);

const NOBODY = { voter: "", questions: [], votes: [], since: 0, ready: false };
const session = { ...NOBODY };
let unkept = null; // all votes as text, if this browser refuses to store them; lost when the page closes

const areVotes = (list) => Array.isArray(list) && list.every((vote) => CHOICES.includes(vote?.choice));

/** The votes that this browser stores, by voter, the latest voter last; damaged entries are ignored. */
function storedVotes() {
  try {
    const all = JSON.parse(unkept ?? localStorage.getItem(STORAGE_KEY) ?? "[]");
    return new Map(all.filter((entry) => typeof entry?.[0] === "string" && areVotes(entry[1])));
  } catch {
    return new Map();
  }
}

function storeVotes() {
  const all = storedVotes();
  all.delete(session.voter);
  const text = JSON.stringify([...all.set(session.voter, session.votes)]);
  try {
    localStorage.setItem(STORAGE_KEY, text);
  } catch {
    unkept = text;
    $("unkept").hidden = false;
  }
}

/** Take over this voter's votes from another tab: any change after a storage event, else only additional votes. */
function adoptOtherTab(changed) {
  const votes = storedVotes().get(session.voter);
  const news = changed ? JSON.stringify(votes) !== JSON.stringify(session.votes) : votes?.length > session.votes.length;
  if (!votes || !news) return false;
  session.votes = votes.slice(0, session.questions.length);
  showQuestion();
  return true;
}

/** A name as votes contain it; a known name keeps its spelling, whatever the capitals typed now. */
function nameOf(typed) {
  const blanks = typed.normalize("NFC").replace(/[\s\p{Z}]+/gu, " ");
  const name = blanks.replace(/\p{C}+/gu, "").trim();
  return [...storedVotes().keys()].find((known) => known.toLowerCase() === name.toLowerCase()) ?? name;
}

const blindPanes = {};
for (const side of ["left", "reference", "right"]) blindPanes[side] = new Pane($(`pane-${side}`), blindView);

function begin(voter) {
  const votes = storedVotes().get(voter) ?? [];
  Object.assign(session, { voter, questions: planOf(voter), votes: votes.slice(0, data.comparisons) });
  blindView.reset();
  storeVotes();
  showQuestion();
}

function showScreen(name) {
  const opened = $(name).hidden;
  for (const screen of ["start", "question", "result"]) $(screen).hidden = screen !== name;
  if (!opened) return;
  ({ start: $("voter"), question: $("question"), result: $("download") })[name].focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** Show the next question, or the result. Votes count once the pictures are visible. */
async function showQuestion() {
  const number = session.votes.length;
  const question = session.questions[number];
  if (!question) return finish();
  showScreen("question");
  session.ready = false; // buttons stay enabled meanwhile: a disabled one would lose the focus
  blindView.turnTo(question.shot);
  $("progress").max = session.questions.length;
  $("progress").value = number;
  $("number").textContent = `${number + 1} of ${session.questions.length}`;
  $("undo").setAttribute("aria-disabled", number === 0);
  const { shot } = question;
  const reference = shot.pictures[data.reference] ? data.reference : "ground truth";
  $("reference-name").textContent = reference === "LQ" ? "low-quality picture" : reference;
  const put = (side, method, name) => blindPanes[side].show([source(shot, method)], shot.width, shot.height, [name]);
  await Promise.all([put("left", question.left, "A"), put("reference", reference, "reference"), put("right", question.right, "B")]);
  if (session.questions[session.votes.length] !== question) return; // a vote was undone meanwhile
  session.since = performance.now();
  session.ready = true;
}

function vote(choice) {
  if (!session.ready || adoptOtherTab()) return;
  session.ready = false;
  const { shot, left, right } = session.questions[session.votes.length];
  const seconds = Math.round((performance.now() - session.since) / 100) / 10;
  session.votes.push({ image: shot.name, left, right, choice, seconds, at: new Date().toISOString() });
  storeVotes();
  showQuestion();
}

function undo() {
  if (adoptOtherTab() || !session.votes.length) return;
  session.votes.pop();
  storeVotes();
  showQuestion();
}

/** Reveal the names, and show what this voter chose. */
function finish() {
  showScreen("result");
  const rows = data.rivals.map((method) => {
    const seen = session.votes.filter(({ left, right, choice }) => choice !== "none" && [left, right].includes(method));
    const won = seen.filter((one) => one[one.choice] === method).length;
    return { method, won, seen: seen.length, rate: seen.length ? won / seen.length : 0 };
  });
  rows.sort((one, other) => other.rate - one.rate);
  const cells = rows.map(({ method, won, seen, rate }) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, method),
      make("td", {}, `${won} of ${seen}`),
      make("td", {}, seen ? `${Math.round(rate * 100)} %` : ""),
    ),
  );
  const head = ["Method", "You chose it", "Rate"].map((text) => make("th", { scope: "col" }, text));
  $("outcome").replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...cells));
}

/** Show how many votes exist for the name in the form. */
function describe() {
  const done = storedVotes().get(nameOf($("voter").value))?.length ?? 0;
  $("begin").textContent = done ? "Continue" : "Begin";
  $("kept").textContent = done ? `Stored votes of this name: ${done} of ${data.comparisons}.` : "";
}

/** Show the form again, for the next voter; the votes so far stay stored. */
function another() {
  Object.assign(session, NOBODY);
  $("voter").value = "";
  describe();
  showScreen("start");
}

function votesFile() {
  const { voter, votes, questions } = session;
  const { id, title, seed, rivals } = data;
  const planned = questions.length;
  return { format: FORMAT, gallery: id, title, seed, methods: rivals, voter, planned, saved: new Date().toISOString(), votes };
}

function download() {
  const file = new Blob([`${JSON.stringify(votesFile(), null, 1)}\n`], { type: "application/json" });
  const link = make("a", { href: URL.createObjectURL(file) });
  link.download = `votes_${data.id}_${session.voter.replace(/[^\p{L}\p{N}_-]+/gu, "_")}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const VOTE_KEYS = {
  ArrowLeft: () => vote("left"),
  ArrowRight: () => vote("right"),
  ArrowDown: () => vote("none"),
  Backspace: undo,
};

function connectStudy() {
  $("task").textContent = `Questions: ${data.comparisons}. Each shows two restorations of one picture, A and B,
    with the picture from which they were made between them. Choose the better one:`;
  $("voter").value = [...storedVotes().keys()].at(-1) ?? "";
  $("voter").oninput = describe;
  describe();
  if (!data.comparisons) {
    $("begin").disabled = $("voter").disabled = true;
    $("task").textContent = "There is nothing to compare: this needs two methods with pictures of the same subject.";
  }
  $("start").onsubmit = (event) => {
    event.preventDefault();
    const voter = nameOf($("voter").value);
    if (voter) begin(voter);
  };
  for (const choice of CHOICES) $(`vote-${choice}`).onclick = () => vote(choice);
  $("undo").onclick = $("undo-last").onclick = undo;
  $("download").onclick = $("download-early").onclick = download;
  $("another").onclick = $("another-last").onclick = another;
  addEventListener("storage", (event) => {
    if (event.key === STORAGE_KEY && session.voter) adoptOtherTab(true);
  });
  document.addEventListener("keydown", (event) => {
    const held = event.repeat && event.key === "Enter" && event.target.tagName === "BUTTON";
    if (current() === "blind" && held) event.preventDefault(); // else a key that is held down keeps voting
    if (current() !== "blind" || $("start").hidden === false || typing(event) || event.repeat) return;
    if (!(event.key in VOTE_KEYS) || ($("question").hidden && event.key !== "Backspace")) return;
    event.preventDefault();
    VOTE_KEYS[event.key]();
  });
}

connectStudy();
