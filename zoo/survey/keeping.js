"use strict";
const survey = JSON.parse(document.getElementById("survey").textContent);

// -- The store, under names of this page. A browser may have none, as in a private window. --

function recall(name) {
  try {
    return localStorage.getItem(survey.page + name);
  } catch {
    return null;
  }
}

function keep(name, text) {
  try {
    localStorage.setItem(survey.page + name, text);
    return true;
  } catch {
    return false;
  }
}

// -- The order of items and results: random, and for one rater always the same. --

function itemsFor(rater) {
  const random = randomFor(`${survey.page} ${rater}`);
  return shuffled(survey.items, random).map((item) => ({ ...item, results: shuffled(item.results, random) }));
}

function randomFor(text) {
  let state = 0x811c9dc5; // FNV-1a makes the seed, mulberry32 the numbers
  for (const byte of new TextEncoder().encode(text)) state = Math.imul(state ^ byte, 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffled(list, random) {
  const mixed = [...list];
  for (let last = mixed.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [mixed[last], mixed[other]] = [mixed[other], mixed[last]];
  }
  return mixed;
}

// -- The file. Texts are quoted, and none begins as a formula does; the mark in front tells Excel that it is UTF-8. --

function csv(rater, items, answers) {
  const quoted = (text) => `"${text.replace(/^(?=[=+\-@'])/, "'").replaceAll('"', '""')}"`;
  const rows = items.flatMap((item) =>
    item.results.flatMap((result) =>
      survey.questions.map((asked) => {
        const { rating, seconds, time } = answers[`${result.id} ${asked.id}`];
        return [survey.page, quoted(rater), item.id, result.id, quoted(asked.id), rating, seconds, time].join();
      }),
    ),
  );
  return "\ufeff" + ["page,rater,item,result,question,rating,seconds,time", ...rows, ""].join("\r\n");
}
