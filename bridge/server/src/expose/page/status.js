// Keeps the status page fresh: fetches it again and replaces its main part.
// Without this script the page is the same, only as old as its last load.
"use strict";
(() => {
  const EVERY_MS = 5000;
  const note = document.getElementById("refresh");
  let busy = false;

  // What a person is typing or has selected must not be taken from under them.
  const inUse = (main) =>
    (main.contains(document.activeElement) && document.activeElement.matches("input, a, button")) ||
    !(window.getSelection() || { isCollapsed: true }).isCollapsed;

  const refresh = async () => {
    const main = document.getElementById("status");
    if (busy || document.hidden || inUse(main)) return;
    busy = true;
    try {
      const answer = await fetch(location.pathname + location.search, {
        cache: "no-store",
        signal: AbortSignal.timeout(EVERY_MS),
      });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = fresh.getElementById("status");
      if (!next) throw new Error("no status");
      if (inUse(main)) return;
      const places = [...main.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
      main.replaceWith(next);
      next.querySelectorAll(".scroll").forEach((box, i) => { box.scrollLeft = places[i] || 0; });
      note.textContent = "Refreshed at " + new Date().toLocaleTimeString() + ".";
      document.body.classList.remove("away");
    } catch (_) {
      note.textContent = "This bridge does not answer since the last refresh; trying again.";
      document.body.classList.add("away");
    } finally {
      busy = false;
    }
  };

  note.textContent = "Refreshed every " + EVERY_MS / 1000 + " s.";
  setInterval(refresh, EVERY_MS);
  document.addEventListener("visibilitychange", refresh);
})();
