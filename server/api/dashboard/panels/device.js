// The key of this browser as a device: made here, kept in the browser's key store, and not extractable. It signs in and
// signs approvals. What is signed is the text that the engine verifies (daemon/engine/safety/devices.py).

const CONTEXT = "quantd approval 1";
const LASTS_S = 600;
const PLACE = "keys";
const NAME = "device";
const ED25519 = "Ed25519";

const hex = (bytes) => Array.from(new Uint8Array(bytes), (each) => each.toString(16).padStart(2, "0")).join("");

// One request to the browser's database.
/** @returns {Promise<any>} */
async function stored(mode, ask) {
  const database = await new Promise((done, lost) => {
    const opening = indexedDB.open("quantd", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(PLACE);
    opening.onsuccess = () => done(opening.result);
    opening.onerror = () => lost(opening.error);
  });
  try {
    return await new Promise((done, lost) => {
      const asked = ask(database.transaction(PLACE, mode).objectStore(PLACE));
      asked.transaction.oncomplete = () => done(asked.result);
      asked.transaction.onabort = () => lost(asked.transaction.error);
    });
  } finally { database.close(); }
}

/** @type {{ privateKey: CryptoKey, key: string } | null} */
let own = null;

// The public key of this browser, in hexadecimal; empty without one.
export async function deviceKey() {
  if (!own) own = await stored("readonly", (place) => place.get(NAME)).catch(() => null) || null;
  return own ? own.key : "";
}

// Makes the key of this browser, or finds it. Raises an Error in words where this browser, or this address, has none.
export async function makeKey() {
  if (await deviceKey()) return own.key;
  if (!window.isSecureContext) throw new Error("this address has no TLS, and a browser makes a key on https:// alone: open the page by https://");
  /** @type {any} */
  let pair;
  try {
    pair = await crypto.subtle.generateKey(ED25519, false, ["sign", "verify"]);
  } catch {
    throw new Error("this browser makes no Ed25519 key: Chrome 137, Firefox 129 and Safari 17 do, and later ones; or sign with quantd review --key FILE");
  }
  const made = { privateKey: pair.privateKey, key: hex(await crypto.subtle.exportKey("raw", pair.publicKey)) };
  try {
    await stored("readwrite", (place) => place.put(made, NAME));
  } catch {
    throw new Error("this browser keeps no key: a private window does not, nor one that blocks the storage of this page");
  }
  if (navigator.storage && navigator.storage.persist) navigator.storage.persist().catch(() => {});
  own = made;
  return own.key;
}

async function signature(fields, expires) {
  const text = new TextEncoder().encode(JSON.stringify([CONTEXT, ...fields, expires]));
  return hex(await crypto.subtle.sign(ED25519, own.privateKey, text));
}

/**
 * The signature of `fields`, valid for ten minutes from `now`, ns UTC. Whole seconds are exact as a number of ns.
 * @param {string[]} fields
 * @param {number} now
 */
export async function signed(fields, now) {
  const expires = (Math.floor(now / 1e9) + LASTS_S) * 1e9;
  return { key: own.key, expires, signature: await signature(fields, String(expires)) };
}

/**
 * What signs this device in: the signature of a challenge of the daemon.
 * @param {string} challenge
 */
export async function answerOf(challenge) {
  return { key: own.key, challenge, signature: await signature(["sign-in", challenge], challenge.split(".")[1]) };
}

export const grouped = (key) => key.slice(0, 16).replace(/(.{4})(?!$)/g, "$1 ");
