// Terms of the page in words, behind a "?" beside them. Those that CONTRIBUTING.md has are those of its glossary.
import { html } from "./htm-preact-standalone.mjs";

/** @type {Record<string, string>} */
export const TERMS = {
  agent: "a policy with a share of the capital, limits and a switch of its own; a line of [[agents]]",
  policy: "a function from a view of the market to target weights",
  book: "cash and lots that belong to one owner: an agent book, the unallocated book, or the book manual",
  "house book": "the sum of all books; it equals the account at the broker or venue",
  sample: "an instant at which the books are valued and agents may decide",
  round: "one decision: agents are called, their targets are netted, and the orders pass the gate",
  cross: "a trade between two books inside the account, without an order",
  limit: "a rule on orders or state with a bound; it belongs to the house or to one agent",
  headroom: "what is left between a limit's value and its bound",
  switch: "RUN, REDUCE (only orders that make positions smaller) or HALT (no orders), per house and agent",
  refusal: "a verdict of zero lots, with the rule, the limit and the measured value",
  shadow: "an agent that trades in simulation only, beside the real ones",
  moved: "capital from other books of the account; of all books it adds up to 0",
  deposits: "money that was paid in, less what was taken out; it is no profit",
  profit: "closing less opening, less deposits, less capital from other books; commissions are inside",
  realised: "profit of closed lots with dividends and other payments, less all commissions, since the start of the run",
  unrealised: "the value of a position less the cost of its lots",
  "share of risk": "the part of the account's volatility that comes from a position; all parts add up to 100 %, and that of a hedge is negative",
  drawdown: "the loss from the highest equity of the run, deposits kept apart; for its limit, the loss since the last resume counts",
  "in use": "a limit's value as a share of its bound; at 100 % orders are cut or refused",
  "equal weight": "all instruments at equal weights, set again at each sample, with dividends and without costs",
  VaR: "value at risk: the loss that is exceeded with a probability of 1 less the confidence",
};

const idOf = (name) => `term-${name.replace(/\W+/g, "-")}`;

// A "?" that opens the meaning of a term. The browser closes it by Escape, or by a click beside it.
export function Term({ of, place = "" }) {
  const id = `${idOf(of)}${place ? `-${place}` : ""}`;
  return html` <button type="button" class="term" popovertarget=${id} aria-label=${`What is ${of}?`}>?</button><span id=${id} popover="auto" class="meaning"><strong>${of}</strong>: ${TERMS[of]}</span>`;
}
