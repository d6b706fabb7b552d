// The address of the page: "#orders/ID?period=1M&why=ID". A screen, what is chosen on it, and what every screen keeps.

const parts = () => {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const [screen, ...chosen] = path.split("/");
  return { screen, chosen: decoded(chosen.join("/")), query: new URLSearchParams(query) };
};

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

export const screenNow = () => parts().screen;
export const chosenNow = () => parts().chosen;
export const kept = (name) => parts().query.get(name) || "";

// The address of a screen with what is kept; `changes` maps names to values, and an empty value takes one out.
export function addressOf(screen, changes = {}, chosen = "") {
  const query = new URLSearchParams();
  for (const name of ["period", "from", "to", "why"]) {
    const value = name in changes ? changes[name] : name === "why" ? "" : kept(name);
    if (value) query.set(name, value);
  }
  const text = query.toString();
  return `#${screen}${chosen ? `/${encodeURIComponent(chosen)}` : ""}${text ? `?${text}` : ""}`;
}

// The same screen with other values; the browser's Back leads to the former ones.
export function keep(changes) {
  const { screen, chosen, query } = parts();
  location.hash = addressOf(screen || "now", { why: query.get("why") || "", ...changes }, chosen);
}
