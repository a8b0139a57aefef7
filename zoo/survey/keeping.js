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

// What a rater has answered so far, and the item that came next. What is damaged in the store is as if never given.
function restored(name) {
  const known = new Set(
    survey.items.flatMap((item) => item.results.flatMap(({ id }) => survey.questions.map((asked) => `${id} ${asked.id}`))),
  );
  const whole = ([place, answer]) =>
    known.has(place) &&
    [-2, -1, 0, 1, 2].includes(answer?.rating) &&
    Number.isFinite(answer.seconds) &&
    !Number.isNaN(Date.parse(answer.time));
  try {
    const { answers, at } = JSON.parse(recall(` ${name}`));
    const kept = Object.fromEntries(Object.entries(answers).filter(whole));
    const given = (item) => item.results.every(({ id }) => survey.questions.every((asked) => kept[`${id} ${asked.id}`]));
    const missing = itemsFor(name).findIndex((item) => !given(item));
    const last = missing < 0 ? survey.items.length : missing;
    return { answers: kept, at: Number.isInteger(at) && at >= 0 ? Math.min(at, last) : last };
  } catch {
    return { answers: {}, at: 0 };
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
