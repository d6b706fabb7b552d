// The search of the site, in a worker: ranks sections by BM25 (Robertson and Zaragoza 2009) over title, path and text,
// and by the question, of those that the section answers (docs/questions.toml), that shares most with the query.
// A section needs not contain every word of a question, so that the whole text of an error finds its page. Messages are
// those of the theme: 0 has the index, 1 answers it; 2 has a query, 3 its result.
"use strict";

const WEIGHTS = { title: 4, path: 2, text: 1 };
const K1 = 1.2, B = 0.6, PAGE = 10;
const QUESTION = 3; // of a word of the best question; more than K1 + 1, the most that a text gets for a word
const SILENT = new Set(("a an and any are as at be but by can could do does for from have how i if in into is it its " +
  "me my no not of on one or our please should so some that the their them there this to use using was we what " +
  "when where which who why will with would you your add added allow available didnt doesnt dont enable feature get " +
  "having hello help helpful hi implement implementing issue make need new optional please possible problem question questions really request " +
  "show support supported understand understanding want work working works").split(" ")); // words that no question is about
const LISTS = /^(changelog|by-task|reference\/requirements|reference\/modules|reference\/not-run|reference\/index)\b/;
const LIST_SHARE = 0.4; // of the score: a page of links names many subjects and explains none
const MAKERS = ["@MAKERS@"]; // pages for those who change quantd: no reader's question leads there
const TAG = /<[^>]*>/g;
const WORD = /[\p{Lu}\p{N}]{2,}s\b|\p{Lu}?[\p{Ll}\p{N}]+|[\p{Lu}\p{N}]+(?!\p{Ll})|\p{L}+/gu;

let index = null;

// strategies and strategy, sizing and size, stopped and stop have one stem each
function stem(word) {
  if (word.length < 4) return word.length < 3 ? word : word.replace(/(?<=[^s])s$/, "");
  const bare = word.replace(/ies$/, "y").replace(/(?:ings?|ed|es|e|(?<=[^s])s)$/, "");
  return bare.length < 3 ? word : bare.replace(/([bdgmnprt])\1$/, "$1");
}

// words of a text that may have tags, with their places in it; ensembleAgent is two words
function words(text) {
  const plain = text.replace(TAG, (tag) => " ".repeat(tag.length));
  return [...plain.matchAll(WORD)].map((found) => ({
    stem: stem(found[0].toLowerCase()), start: found.index, end: found.index + found[0].length,
  }));
}

function built(items) {
  const documents = items.map((item) => {
    const counts = new Map();
    let length = 0;
    for (const [field, weight] of Object.entries(WEIGHTS)) {
      const text = field === "path" ? [...(item.path || []), item.location].join(" ") : item[field] || "";
      for (const word of words(text)) {
        counts.set(word.stem, (counts.get(word.stem) || 0) + weight);
        length += field === "text" ? 1 : 0;
      }
    }
    const questions = (item.questions || []).map((question) => new Set(words(question).map((word) => word.stem)));
    for (const name of questions.flatMap((stems) => [...stems])) if (!counts.has(name)) counts.set(name, 0);
    return { counts, length, questions, share: LISTS.test(item.location) ? LIST_SHARE : 1 };
  });
  const holders = new Map();
  documents.forEach((document, id) => {
    if (MAKERS.some((start) => items[id].location.startsWith(start))) return;
    for (const name of document.counts.keys()) holders.set(name, [...(holders.get(name) || []), id]);
  });
  const mean = documents.reduce((sum, document) => sum + document.length, 0) / documents.length;
  return { items, documents, holders, mean };
}

// stems of a query without words such as "how", unless it has no others; the last word may be unfinished
function terms(input) {
  const every = words(input);
  const heard = every.filter((word) => !SILENT.has(input.slice(word.start, word.end).toLowerCase()));
  const asked = [...new Set((heard.length ? heard : every).map((word) => word.stem))];
  const last = asked[asked.length - 1];
  if (!last || index.holders.has(last) || /\s$/.test(input)) return asked;
  return [...asked.slice(0, -1), ...[...index.holders.keys()].filter((name) => name.startsWith(last)).slice(0, 20)];
}

// how much a word tells: the fewer of the documents have it, the more
const rarity = (total, having) => Math.log(1 + (total - having + 0.5) / (having + 0.5));

function ranked(input) {
  const scores = new Map(), asked = terms(input);
  const total = index.documents.length;
  for (const term of asked) {
    const holders = index.holders.get(term) || [];
    const weight = rarity(total, holders.length);
    for (const id of holders) {
      const { counts, length, share } = index.documents[id];
      const count = counts.get(term);
      const score = (count * (K1 + 1)) / (count + K1 * (1 - B + (B * length) / index.mean));
      scores.set(id, (scores.get(id) || 0) + weight * score * share);
    }
  }
  const every = index.documents.flatMap((document) => document.questions);
  const weights = asked.map((term) => [term, rarity(every.length, every.filter((stems) => stems.has(term)).length)]);
  for (const [id, score] of scores) {
    const shared = index.documents[id].questions.map((stems) =>
      weights.reduce((sum, [term, weight]) => sum + (stems.has(term) ? weight : 0), 0));
    scores.set(id, score + QUESTION * Math.max(0, ...shared));
  }
  return [...scores].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
}

function result(query) {
  const input = typeof query.input === "string" ? query.input : "";
  const found = input.trim() ? ranked(input) : [];
  const asked = new Set(input.trim() ? terms(input) : []);
  const from = query.page ? query.page.from : 0;
  const items = found.slice(from, from + PAGE).map(([id, score]) => ({
    id, score, matches: ["title", "text"].map((field, at) => ({
      id: id * 2 + at, field, score: 0, value: { highlight: { ranges: words(index.items[id][field] || "")
        .filter((word) => asked.has(word.stem)).map(({ start, end }) => ({ start, end, value: end - start })) } },
    })).filter((match) => match.value.highlight.ranges.length),
  }));
  const pagination = { total: found.length };
  if (from > 0) pagination.prev = { id: 0, size: PAGE, from: from - PAGE };
  if (from + PAGE < found.length) pagination.next = { id: 0, size: PAGE, from: from + PAGE };
  return { items, query: { select: {}, values: [] }, pagination, aggregations: [] };
}

self.onmessage = ({ data: message }) => {
  if (message.type === 0) {
    index = built(message.data.items);
    self.postMessage({ type: 1 });
  } else if (message.type === 2) {
    self.postMessage({ type: 3, data: result(message.data) });
  }
};
