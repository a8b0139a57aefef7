// The page as a rater sees it. keeping.js stands in front of this: the survey, the store, the order, the file.
const $ = (id) => document.getElementById(id);
const total = survey.questions.length * survey.items.reduce((sum, item) => sum + item.results.length, 0);

let language = navigator.languages.find((tag) => /^(en|ja)/.test(tag))?.slice(0, 2) ?? "en";
let rater = "";
let answers = {}; // "result question" -> {rating, seconds, time}
let at = 0; // the item that is shown; past the last one: the end
let items = []; // as this rater sees them
let since = 0; // when the item was shown, or the last rating given; time away from the page does not count
let unsafe = false; // is there a rating that neither the store nor a downloaded file holds?

// -- Words. In another language only the words change, never the order or the ratings. --

function word(key, values = {}) {
  return survey.words[key][language].replace(/{(\w+)}/g, (_, name) => values[name]);
}

function speak(chosen) {
  language = chosen;
  document.documentElement.lang = language;
  document.title = word("title");
  for (const place of document.querySelectorAll("[data-word]")) place.textContent = word(place.dataset.word);
  for (const button of $("languages").children) button.setAttribute("aria-pressed", button.dataset.language === language);
  $("questions").replaceChildren(...survey.questions.map((asked) => element("li", { textContent: asked[language] })));
  greet();
  if (!$("rating").hidden) show(false);
  progress();
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// -- Start --

const save = () => {
  $("unsaved").hidden = keep(` ${rater}`, JSON.stringify({ answers, at }));
};
const named = () => $("rater").value.normalize("NFC").replace(/\p{Cc}/gu, "").trim();

function greet() {
  const done = Object.keys(restored(named()).answers).length;
  $("resumed").hidden = done === 0;
  $("resumed").textContent = word("resumed", { done, all: total });
  $("begin").textContent = word(done ? "resume" : "start");
  if (done) $("consent").checked = true;
  $("rater").setCustomValidity(named() ? "" : word("unnamed"));
}

function begin() {
  rater = named();
  ({ answers, at } = restored(rater));
  items = itemsFor(rater);
  keep("-last", rater);
  show();
}

// -- One item: photograph, portrait, results, each with its scales --

function show(arrive = true) {
  const over = at >= items.length;
  for (const name of ["start", "rating", "end"]) $(name).hidden = name !== (over ? "end" : "rating");
  progress();
  if (!over) draw(items[at]);
  $("another").disabled = unsafe; // its ratings would be lost
  if (!arrive) return;
  since = performance.now();
  save();
  scrollTo(0, 0);
  $(over ? "thanks" : "place").focus({ preventScroll: true });
}

function draw(item) {
  $("place").textContent = `${at + 1} / ${items.length}`;
  $("asked").textContent = survey.questions.length > 1 ? "" : survey.questions[0][language];
  $("missing").textContent = "";
  $("back").disabled = at === 0;
  $("next").textContent = word(at + 1 === items.length ? "finish" : "next");
  const references = [figure(word("photo"), item.photo)];
  if (item.portrait) references.push(figure(word("portrait"), item.portrait));
  const results = item.results.map((result, place) => {
    const what = word("result", { letter: String.fromCharCode(65 + place) });
    const made = figure(what, result.picture);
    made.className = "result";
    made.append(...survey.questions.map((asked) => scale(what, result, asked)));
    return made;
  });
  const columns = Math.min(references.length + results.length, item.shape > 1 ? 4 : 6);
  $("pictures").style.setProperty("--columns", columns);
  $("pictures").style.setProperty("--shape", item.shape);
  $("pictures").replaceChildren(element("div", { id: "references" }, ...references), ...results);
}

function figure(what, picture) {
  const button = element("button", { type: "button", className: "zoom" }, element("img", { src: picture, alt: what }));
  button.setAttribute("aria-label", word("enlarge", { what }));
  button.onclick = () => {
    Object.assign($("zoom").querySelector("img"), { src: picture, alt: what });
    $("zoomed").textContent = what;
    $("zoom").showModal();
  };
  return element("figure", {}, element("figcaption", { textContent: what }), button);
}

function scale(what, result, asked) {
  const key = `${result.id} ${asked.id}`;
  const points = survey.scale.map((point, index) => {
    const rating = index - 2;
    const input = element("input", { type: "radio", name: key, value: rating, checked: answers[key]?.rating === rating });
    input.onchange = () => rate(key, rating);
    const value = element("b", { textContent: rating < 0 ? `−${-rating}` : rating });
    return element("label", { className: "point" }, input, element("span", { textContent: point[language] }), value);
  });
  const group = element("fieldset", {}, ...points);
  group.setAttribute("role", "radiogroup");
  group.setAttribute("aria-label", `${what}. ${asked[language]}`);
  if (survey.questions.length > 1) group.prepend(element("legend", { textContent: asked[language] }));
  return group;
}

function rate(key, rating) {
  const now = performance.now();
  const seconds = (answers[key]?.seconds ?? 0) + (now - since) / 1000;
  answers[key] = { rating, seconds: Math.round(seconds * 10) / 10, time: new Date().toISOString() };
  since = now;
  $("missing").textContent = "";
  save();
  unsafe = !$("unsaved").hidden;
  progress();
}

function progress() {
  const done = Object.keys(answers).length;
  $("progress").hidden = !rater;
  $("bar").max = total;
  $("bar").value = done;
  $("done").textContent = word("progress", { done, all: total });
}

const groups = () => [...$("pictures").querySelectorAll("fieldset")];
const unrated = (group) => !group.querySelector(":checked");
const focus = (group) => {
  (group.querySelector(":checked") ?? group.querySelector("input")).focus({ preventScroll: true });
  group.scrollIntoView({ block: "nearest" });
};

function go(step) {
  const holes = groups().filter(unrated);
  if (step > 0 && holes.length) {
    $("missing").textContent = word("missing", { n: holes.length });
    focus(holes[0]);
    return;
  }
  at += step;
  show();
}

function press(digit) {
  const all = groups();
  const group = document.activeElement.closest("fieldset") ?? all.find(unrated);
  if (!group) return;
  const point = group.querySelectorAll("input")[digit - 1];
  point.checked = true;
  point.onchange();
  const following = all.slice(all.indexOf(group) + 1).find(unrated) ?? all.find(unrated);
  if (following) focus(following);
  else $("next").focus();
}

// -- End --

function download() {
  const address = URL.createObjectURL(new Blob([csv(rater, items, answers)], { type: "text/csv;charset=utf-8" }));
  const name = rater.replace(/[^\p{L}\p{N}]+/gu, "-");
  element("a", { href: address, download: `${survey.page}-${name}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  $("another").disabled = unsafe = false;
}

function leave() {
  rater = "";
  answers = {};
  $("rater").value = "";
  $("consent").checked = false;
  $("start").hidden = false;
  $("end").hidden = true;
  greet();
  progress();
  $("rater").focus();
}

// -- What a rater does --

$("start").onsubmit = (event) => {
  event.preventDefault();
  begin();
};
$("rater").oninput = greet;
$("next").onclick = () => go(1);
$("back").onclick = $("change").onclick = () => go(-1);
$("download").onclick = download;
$("another").onclick = leave;
$("zoom").onclick = () => $("zoom").close();
for (const button of $("languages").children) button.onclick = () => speak(button.dataset.language);

document.onkeydown = (event) => {
  if ($("rating").hidden || $("zoom").open || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (/^[1-5]$/.test(event.key)) press(Number(event.key));
  else if (event.key === "Enter" && event.target.tagName !== "BUTTON") go(1);
  else return;
  event.preventDefault();
};

let hiddenAt = 0;
document.onvisibilitychange = () => {
  if (document.hidden) hiddenAt = performance.now();
  else since += performance.now() - hiddenAt;
};

addEventListener("beforeunload", (event) => {
  if (unsafe) event.preventDefault();
});

$("agreement").hidden = !survey.words.consent.en;
$("consent").required = !$("agreement").hidden;
$("rater").value = recall("-last") ?? "";
$("start").hidden = false;
$("unsaved").hidden = keep("-works", "");
speak(language);
