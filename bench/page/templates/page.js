"use strict";
(() => {
  document.documentElement.classList.add("js");
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  // What the reader has chosen; it outlives a refresh.
  const ui = { rule: null, base: "", state: "", find: "", sort: {}, open: new Set(), details: new Set() };

  // ---- sorting: each body of a table is one entry, with the lines that belong to it
  const valueOf = (body, column) => {
    const cell = body.rows[0].cells[column];
    if (!cell) return null;
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    const text = cell.textContent.trim();
    return text === "" || text === "–" || text.startsWith("– ") ? null : text;
  };
  const collator = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : collator.compare(String(a), String(b));
  const sort = (table, column, direction) => {
    const entries = [...table.tBodies].map((body, place) => ({ body, place, value: valueOf(body, column) }));
    entries.sort((a, b) => {
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.place - b.place;
      return direction * compare(a.value, b.value) || a.place - b.place;
    });
    const foot = table.tFoot;
    for (const { body } of entries) table.insertBefore(body, foot);
    all("thead th", table).forEach((th, at) => {
      if (at === column) th.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else th.removeAttribute("aria-sort");
    });
  };
  const sortable = (table) => {
    all("thead th", table).forEach((th, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = th.textContent;
      th.replaceChildren(button);
      button.addEventListener("click", () => {
        const before = ui.sort[table.id];
        const first = th.classList.contains("number") ? -1 : 1;
        const direction = before && before[0] === column ? -before[1] : first;
        ui.sort[table.id] = [column, direction];
        sort(table, column, direction);
        say(`sorted by ${button.textContent}, ${direction > 0 ? "ascending" : "descending"}`);
      });
    });
    if (ui.sort[table.id]) sort(table, ...ui.sort[table.id]);
  };

  // ---- the selection rule
  const showRule = () => {
    const rules = all('input[name^="rule-"]');
    if (ui.rule === null) {
      const chosen = rules.find((radio) => radio.checked);
      ui.rule = chosen ? chosen.value : null;
    }
    if (ui.rule === null) return;
    for (const radio of rules) radio.checked = radio.value === ui.rule;
    for (const part of all(".by-rule")) part.hidden = part.dataset.rule !== ui.rule;
  };

  // ---- IoU per class: itself, or its difference to a method's
  const STEPS = 10, FULL = 20; // a difference of 20 has the darkest shade
  const showBase = () => {
    for (const row of all(".heat tbody tr")) {
      const rows = [...row.parentElement.rows];
      const base = rows.find((other) => other.dataset.name === ui.base);
      [...row.cells].slice(1).forEach((cell, place) => {
        if (cell.dataset.v === undefined) return;
        const own = Number(cell.dataset.v);
        const other = ui.base && base ? base.cells[place + 1].dataset.v : undefined;
        if (!ui.base) {
          cell.textContent = own.toFixed(1);
          cell.className = `h${Math.round(Math.min(Math.max(own, 0), 100) / 100 * STEPS)}`;
        } else if (other === undefined) {
          cell.textContent = "–";
          cell.className = "";
        } else {
          const gain = own - Number(other);
          cell.textContent = (gain > 0 ? "+" : gain < 0 ? "−" : "") + Math.abs(gain).toFixed(1);
          cell.className = (gain < 0 ? "l" : "g") + Math.round(Math.min(Math.abs(gain) / FULL, 1) * STEPS);
        }
      });
    }
  };

  // ---- copying
  const copy = async (button) => {
    const area = byId(button.dataset.copy);
    let done = false;
    try {
      await navigator.clipboard.writeText(area.value);
      done = true;
    } catch {
      area.hidden = false;
      area.select();
      done = document.execCommand("copy");
      area.hidden = done; // where nothing works, the text is there, selected
    }
    button.classList.toggle("copied", done);
    say(done ? `copied as ${button.textContent.trim()}` : "press Ctrl-C to copy");
  };

  // ---- cells: filters, and what a run recorded
  const filter = () => {
    const words = ui.find.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    const bodies = all("tbody.cell");
    for (const body of bodies) {
      const text = body.rows[0].textContent.toLowerCase() + " " + body.id;
      body.hidden = Boolean(ui.state && body.dataset.state !== ui.state) || words.some((word) => !text.includes(word));
      shown += !body.hidden;
    }
    if (byId("found")) byId("found").textContent = ui.state || words.length ? `${shown} of ${bodies.length}` : "";
  };
  const unfold = (body, open) => {
    const more = body.querySelector(".more");
    if (!more) return;
    more.hidden = !open;
    body.querySelector(".toggle").setAttribute("aria-expanded", String(open));
    if (open) ui.open.add(body.id);
    else ui.open.delete(body.id);
  };
  const foldable = (body) => {
    const more = body.querySelector(".more"), name = body.rows[0].cells[0];
    if (!more) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "toggle";
    button.textContent = name.textContent;
    button.setAttribute("aria-controls", (more.id = `${body.id}-more`));
    button.addEventListener("click", () => unfold(body, more.hidden));
    name.replaceChildren(button);
    unfold(body, ui.open.has(body.id));
  };
  const follow = () => {
    let id = location.hash.slice(1);
    try { id = decodeURIComponent(id); } catch { /* as it stands */ }
    const target = id && byId(id);
    if (!target) return;
    if (target.matches("tbody.cell")) {
      if (target.hidden) {
        ui.state = ui.find = "";
        restore();
      }
      unfold(target, true);
      target.scrollIntoView();
    }
  };

  // ---- charts: the nearest value under the pointer, and point by point with the arrow keys
  const pointsOf = new WeakMap();
  const points = (chart) => {
    if (!pointsOf.has(chart)) {
      pointsOf.set(chart, all(".line", chart).map((line) => {
        const texts = line.dataset.texts.split("\t");
        return line.dataset.places.split(" ").filter(Boolean).map((place, at) => {
          const [x, y] = place.split(",").map(Number);
          return { x, y, text: [line.dataset.name, texts[at]].filter(Boolean).join("\n"), line };
        });
      }).filter((found) => found.length));
    }
    return pointsOf.get(chart);
  };
  const show = (chart, point) => {
    const tip = byId("tip"), here = chart.querySelector(".here");
    here.setAttribute("cx", point ? point.x : -20);
    here.setAttribute("cy", point ? point.y : -20);
    for (const line of all(".line", chart)) line.classList.toggle("faint", Boolean(point) && line !== point.line);
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = point.text;
    const box = chart.getBoundingClientRect(), scale = box.width / chart.viewBox.baseVal.width;
    const left = box.left + point.x * scale, top = box.top + point.y * scale;
    const room = document.documentElement.clientWidth - tip.offsetWidth - 4;
    tip.style.left = `${window.scrollX + Math.max(4, Math.min(left + 12, room))}px`;
    tip.style.top = `${window.scrollY + Math.max(4, top - tip.offsetHeight - 10)}px`;
  };
  const near = (chart, event) => {
    const box = chart.getBoundingClientRect(), scale = box.width / chart.viewBox.baseVal.width;
    const x = (event.clientX - box.left) / scale, y = (event.clientY - box.top) / scale;
    let best = null, least = 40 * 40;
    for (const point of points(chart).flat()) {
      const away = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (away < least) [best, least] = [point, away];
    }
    return best;
  };
  const charted = (chart) => {
    let at = [0, -1];
    chart.addEventListener("pointermove", (event) => show(chart, near(chart, event)));
    chart.addEventListener("pointerdown", (event) => show(chart, near(chart, event)));
    chart.addEventListener("pointerleave", () => show(chart, null));
    chart.addEventListener("blur", () => show(chart, null));
    chart.addEventListener("keydown", (event) => {
      const lines = points(chart), [across, down] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key] || [0, 0];
      if (event.key === "Escape") show(chart, null);
      if (!lines.length || (!across && !down)) return;
      event.preventDefault();
      const line = (at[0] + down + lines.length) % lines.length;
      at = [line, Math.max(0, Math.min(at[1] + across, lines[line].length - 1))];
      show(chart, lines[at[0]][at[1]]);
    });
  };

  // ---- all of it, on the page or on a part of it that has been made anew
  let quiet = null;
  const say = (text) => {
    byId("said").textContent = text;
    clearTimeout(quiet);
    quiet = setTimeout(() => { byId("said").textContent = ""; }, 3000);
  };
  const bind = (id, event, key, then) => {
    const control = byId(id);
    if (!control) return;
    control.value = ui[key];
    control.addEventListener(event, () => { ui[key] = control.value; then(); });
  };
  const restore = () => {
    for (const [id, key] of [["state", "state"], ["find", "find"], ["base", "base"]]) if (byId(id)) byId(id).value = ui[key];
    showRule();
    showBase();
    filter();
  };
  const enhance = (root) => {
    all("table.sortable", root).forEach(sortable);
    all("tbody.cell", root).forEach(foldable);
    all(".chart", root).forEach(charted);
    all("button.copy", root).forEach((button) => button.addEventListener("click", () => copy(button)));
    all('input[name^="rule-"]', root).forEach((radio) =>
      radio.addEventListener("change", () => { ui.rule = radio.value; showRule(); }));
    all("form.filters", root).forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));
    all("details", root).forEach((one, place) => {
      const key = `${root.id || "page"}-${place}`;
      if (ui.details.has(key)) one.open = true;
      one.addEventListener("toggle", () => (one.open ? ui.details.add(key) : ui.details.delete(key)));
    });
    if (root.querySelector("#state")) { bind("state", "change", "state", filter); bind("find", "input", "find", filter); }
    if (root.querySelector("#base")) bind("base", "change", "base", showBase);
  };
  const originals = new Map(); // of each section, as the server sent it
  for (const part of all("main > section, #overview")) {
    originals.set(part.id, part.outerHTML);
    enhance(part);
  }
  restore();
  follow();
  window.addEventListener("hashchange", follow);
  window.addEventListener("beforeprint", () => show(document.querySelector(".chart") || document.createElementNS("http://www.w3.org/2000/svg", "svg"), null));

  // ---- a page that is served fetches itself again and takes over what has changed
  const seconds = Number(document.body.dataset.live || 0);
  let tag = null;
  const refresh = async () => {
    if (!byId("refresh").checked || document.hidden) return;
    let answer;
    try {
      answer = await fetch(location.pathname, { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
    } catch {
      say("the server doesn't answer: this is the last state known");
      return;
    }
    if (answer.status !== 200) return;
    tag = answer.headers.get("ETag");
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = fresh.title;
    const time = fresh.querySelector(".made time");
    if (time) document.querySelector(".made time").textContent = time.textContent;
    const focused = document.activeElement && document.activeElement.id;
    for (const part of all("main > section, #overview", fresh)) {
      const old = byId(part.id);
      if (!old || originals.get(part.id) === part.outerHTML) continue;
      originals.set(part.id, part.outerHTML);
      old.replaceWith(document.adoptNode(part));
      enhance(part);
    }
    restore();
    if (focused && byId(focused)) byId(focused).focus({ preventScroll: true });
  };
  if (seconds) setInterval(refresh, seconds * 1000);
})();
