// Live updates and keys for the inbox. Every page works without it.
(() => {
  "use strict";

  const page = document.body.dataset.page;
  const $ = (id) => document.getElementById(id);
  const parts = () => Array.from(document.querySelectorAll("[data-part]"));
  const rows = () => Array.from(document.querySelectorAll("a.row"));
  const threadId = $("main")?.dataset.thread;

  // Live: the server says that something changed, the page fetches itself and takes over what differs.

  let fetching = false;
  let again = false;

  const refresh = async () => {
    if (fetching) {
      again = true;
      return;
    }
    fetching = true;
    try {
      const answer = await fetch(location.href.split("#")[0], { cache: "no-store", redirect: "manual" });
      if (answer.type === "opaqueredirect") {
        location.reload();
        return;
      }
      if (!answer.ok) return;
      takeOver(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The stream reconnects by itself and asks again.
    } finally {
      fetching = false;
      if (again) {
        again = false;
        refresh();
      }
    }
  };

  const takeOver = (next) => {
    const focused = document.activeElement?.id;
    const known = new Set(rows().map((row) => row.id));
    const opened = Array.from(document.querySelectorAll("details[open]")).map(place);
    for (const part of parts()) {
      const other = next.getElementById(part.id);
      if (!other || other.isEqualNode(part)) continue;
      if (part.id === "panel") takeOverPanel(part, other);
      else part.replaceWith(document.importNode(other, true));
    }
    for (const other of next.querySelectorAll("[data-part]")) {
      // A section that was not there before: its neighbours decide where it goes.
      if (!$(other.id)) $(other.previousElementSibling?.id)?.after(document.importNode(other, true));
    }
    for (const details of document.querySelectorAll("details")) {
      if (opened.includes(place(details))) details.open = true;
    }
    document.title = next.title;
    if (page === "list") announce(rows().filter((row) => !known.has(row.id)));
    if (focused) ($(focused) ?? rows()[0])?.focus({ preventScroll: true });
  };

  const place = (details) => `${details.closest("[data-part]")?.id} ${details.firstElementChild?.textContent}`;

  // What a reviewer is writing is never thrown away.
  const takeOverPanel = (part, other) => {
    if (part.dataset.key === other.dataset.key) return;
    const written = $("note")?.value ?? "";
    const fresh = document.importNode(other, true);
    part.replaceWith(fresh);
    const note = $("note");
    if (note) {
      note.value = written;
      holdUntilSeen(fresh);
      news("This request changed. Look again before you decide.");
    } else if (written) {
      const kept = document.createElement("div");
      kept.append("Your note was not sent: ", Object.assign(document.createElement("q"), { textContent: written }));
      fresh.append(kept);
      news("Somebody else decided this.");
    } else {
      news("This was just decided.");
    }
  };

  // A click that was on its way must not decide on what came under it.
  const holdUntilSeen = (panel) => {
    const buttons = Array.from(panel.querySelectorAll("button[name=verdict]"));
    const seen = Object.assign(document.createElement("button"), {
      type: "button",
      id: "seen",
      className: "quiet seen",
      textContent: "This changed just now. I have looked at it again.",
    });
    for (const button of buttons) button.disabled = true;
    seen.addEventListener("click", () => {
      for (const button of buttons) button.disabled = false;
      seen.remove();
      $("note").focus();
    });
    buttons[0].parentElement.before(seen);
  };

  let silence;
  const news = (words) => {
    const place = $("news");
    if (!place) return;
    place.textContent = words;
    clearTimeout(silence);
    silence = setTimeout(() => { place.textContent = ""; }, 6000);
  };

  const announce = (fresh) => {
    for (const row of fresh) row.classList.add("fresh");
    if (fresh.length === 1) news("A new request came in.");
    if (fresh.length > 1) news(`${fresh.length} new requests came in.`);
  };

  const listen = () => {
    const stream = new EventSource("/live");
    let greeted = false;
    stream.addEventListener("resync", () => {
      $("offline").hidden = true;
      // The page is as fresh as its first greeting.
      if (greeted) refresh();
      greeted = true;
    });
    stream.addEventListener("thread", (event) => {
      if (page === "list" || event.data === threadId) refresh();
      else refreshSoon();
    });
    stream.addEventListener("task", () => { if (page === "thread") refresh(); });
    stream.addEventListener("error", () => {
      $("offline").hidden = false;
      if (stream.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
    });
  };

  let soon;
  const refreshSoon = () => {
    clearTimeout(soon);
    soon = setTimeout(refresh, 1000);
  };

  // Keys. No single key decides: `a` and `r` go to the button, Enter presses it.

  const move = (step) => {
    const all = rows();
    if (all.length === 0) return;
    const at = all.indexOf(document.activeElement);
    const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + step));
    all[next].focus();
  };

  const open = (button) => {
    const row = rows().find((one) => one === document.activeElement);
    if (row) location.href = `${row.href}#${button}`;
  };

  const listKeys = { j: () => move(1), k: () => move(-1), a: () => open("approve"), r: () => open("reject") };
  const threadKeys = {
    a: () => $("approve")?.focus(),
    r: () => $("reject")?.focus(),
    n: () => $("note")?.focus(),
    j: () => $("next")?.click(),
    u: () => $("back")?.click(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const typing = event.target.matches("input, textarea, select, [contenteditable]");
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const act = event.key === "/" ? () => $("search")?.focus() : (page === "list" ? listKeys : threadKeys)[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  if (page === "thread" && ["#approve", "#reject"].includes(location.hash)) $(location.hash.slice(1))?.focus();
  if (page) listen();
})();
