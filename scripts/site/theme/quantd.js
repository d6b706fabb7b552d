// The theme puts the copy button of each block of code into a landmark without a name of its own; it is none. A table that
// is wider than the window scrolls in itself, and the keyboard must reach it. A head without a word names no column.
"use strict";
const mended = () => {
  document.querySelectorAll("nav.md-code__nav:not([role])").forEach((nav) => nav.setAttribute("role", "none"));
  document.querySelectorAll(".md-typeset th:empty").forEach((head) => head.replaceWith(document.createElement("td")));
  document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])").forEach((wrap) => wrap.setAttribute("tabindex", "0"));
};
new MutationObserver(mended).observe(document.documentElement, { childList: true, subtree: true });
mended();
