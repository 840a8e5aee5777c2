// The three places of the page, and what they share.

import { connectionLost } from "./events.js";
import * as tryPlace from "./try.js";
import * as runsPlace from "./runs.js";
import * as imagesPlace from "./images.js";

const PLACES = { "/": ["try", tryPlace], "/runs": ["runs", runsPlace], "/images": ["images", imagesPlace] };
const connection = document.getElementById("connection");
let inventory = null;
let open = null;

/** What can be chosen, asked for until the server answers: it may have been started again. */
async function load() {
  for (;;) {
    try {
      const answer = await fetch("/api/inventory");
      if (!answer.ok) throw new Error((await answer.json()).error);
      connection.textContent = "";
      return await answer.json();
    } catch (error) {
      connection.textContent = `The laboratory does not answer (${error.message}); trying again.`;
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
}

/** Shows the place that the address names. */
function show() {
  const [name, place] = PLACES[location.pathname] ?? PLACES["/"];
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.place === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (open && open !== place) open.leave();
  open = place;
  document.title = `${name[0].toUpperCase()}${name.slice(1)} · laboratory of contrastive learning`;
  place.enter(inventory);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-place]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  if (link.href !== location.href) history.pushState(null, "", link.href);
  show();
});
addEventListener("popstate", show);

inventory = await load();
for (const [, place] of Object.values(PLACES)) place.prepare(inventory);
show();

// A server that has gone and come back is noticed without a click.
setInterval(async () => {
  try {
    await fetch("/api/alive", { signal: AbortSignal.timeout(4000) });
    if (connection.textContent) {
      connection.textContent = "";
      open.enter(inventory);
    }
  } catch {
    connectionLost("The laboratory does not answer any more. What is shown stays; it goes on once the program runs again at this address.");
  }
}, 3000);
