// Lines over a chart of prices, computed from the bars that are shown: no figure of the daemon.

/** @type {Record<string, string>} */
export const OVERLAYS = {
  "": "none", "mean 20": "mean of 20", "mean 50": "mean of 50", "mean 200": "mean of 200",
  "exponential 20": "exponential mean of 20", "bands 20": "Bollinger bands of 20",
};
const WIDTH = 2;  // deviations between the mean and a band (J. Bollinger)

// The mean of the newest n values at each place, and their deviation; null before there are n.
export function meansOf(values, n) {
  return values.map((_, k) => {
    if (k + 1 < n) return null;
    const part = values.slice(k + 1 - n, k + 1);
    const mean = part.reduce((a, b) => a + b, 0) / n;
    return { mean, deviation: Math.sqrt(part.reduce((a, b) => a + (b - mean) ** 2, 0) / n) };
  });
}

// The exponential mean with the weight 2 / (n + 1), which begins with the mean of the first n values.
export function exponentialOf(values, n) {
  const found = [];
  let last = null;
  values.forEach((value, k) => {
    if (k + 1 === n) last = values.slice(0, n).reduce((a, b) => a + b, 0) / n;
    else if (last !== null) last += (2 / (n + 1)) * (value - last);
    found.push(last);
  });
  return found;
}

/**
 * The lines of an indicator: words and a value for each bar, null where it has none.
 * @param {string} name
 * @param {{ close: number }[]} bars
 * @returns {{ words: string, values: (number | null)[] }[]}
 */
export function overlayLines(name, bars) {
  const [kind, size] = name.split(" ");
  const [n, closes] = [Number(size), bars.map((bar) => bar.close)];
  if (kind === "mean") return [{ words: OVERLAYS[name], values: meansOf(closes, n).map((each) => each && each.mean) }];
  if (kind === "exponential") return [{ words: OVERLAYS[name], values: exponentialOf(closes, n) }];
  if (kind !== "bands") return [];
  const found = meansOf(closes, n);
  return [["upper band", 1], ["lower band", -1]].map(([words, sign]) => ({
    words: `${words} of ${n}`, values: found.map((each) => each && each.mean + Number(sign) * WIDTH * each.deviation),
  }));
}
