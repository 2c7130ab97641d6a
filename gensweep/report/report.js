"use strict";
// What the report does beyond showing: tables sort and filter, figures say their values at once.  It loads nothing.
// A record of a table is one <tbody>.  Where scripts are off, all of them are shown, and titles are the browser's.

for (const table of document.querySelectorAll("table.sortable")) {
  const records = [...table.tBodies], heads = [...table.tHead.rows[0].cells];
  const limit = Number(table.dataset.limit) || records.length;
  const text = new Map(records.map(record => [record, record.textContent.toLowerCase()]));
  const tools = document.createElement("div"), words = document.createElement("input");
  const found = document.createElement("span"), all = document.createElement("button");
  let everything = records.length <= limit;

  const show = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fitting = [...table.tBodies].filter(record => wanted.every(word => text.get(record).includes(word)));
    records.forEach(record => { record.hidden = !fitting.includes(record); record.classList.remove("later"); });
    if (!everything && !wanted.length) fitting.slice(limit).forEach(record => record.classList.add("later"));
    found.textContent = wanted.length ? `${fitting.length} of ${records.length}` : "";
    all.hidden = everything || wanted.length > 0;
  };
  const value = (record, column) => {
    const cell = record.rows[0].cells[column], plain = cell.dataset.value ?? cell.textContent.trim();
    return plain === "" || plain === "-" ? null : isNaN(plain) ? plain : Number(plain);
  };
  const order = (a, b) => typeof a === "number" && typeof b === "number"
    ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  const sort = (head, column) => {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach(each => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    table.append(...records.map(record => [value(record, column), record]).sort(([a], [b]) =>
      a === null || b === null ? (a === null) - (b === null) : sign * order(a, b)).map(([, record]) => record));
    show();
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head, column));
    head.append(button);
  });
  tools.className = "tools";
  Object.assign(words, { type: "search", placeholder: table.dataset.filter, oninput: show });
  words.setAttribute("aria-label", `Filter: ${table.dataset.filter}`);
  found.setAttribute("role", "status");
  Object.assign(all, { textContent: `Show all ${records.length}`, onclick: () => { everything = true; show(); } });
  if (table.dataset.filter) tools.append(words, found);
  table.parentElement.before(tools);
  table.parentElement.after(all);
  show();
}

const tip = document.body.appendChild(document.createElement("div"));
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true");
for (const title of document.querySelectorAll("svg.figure title:not([id])")) {
  const mark = title.parentElement;
  mark.dataset.tip = title.textContent;
  mark.setAttribute("aria-label", title.textContent);
  title.remove();
}
for (const kind of ["pointermove", "pointerdown"]) {
  document.addEventListener(kind, event => {
    const mark = event.target.closest("[data-tip]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const { width, height } = tip.getBoundingClientRect(), gap = 14;
    const below = event.clientY + gap + height < innerHeight;
    tip.style.left = `${Math.max(4, Math.min(event.clientX + gap, innerWidth - width - 4))}px`;
    tip.style.top = `${below ? event.clientY + gap : Math.max(4, event.clientY - gap - height)}px`;
  });
}

// A running sweep rewrites the file.  A reload keeps the scroll position, but would close what the reader has opened.
const reload = Number(document.body.dataset.reload);
if (reload) {
  setInterval(() => {
    const used = "details.tile[open], th[aria-sort], .tools input:focus, .tools input:not(:placeholder-shown)";
    if (!document.querySelector(used)) location.reload();
  }, 1000 * reload);
}
