"use strict";
// What is large is packed (gzip, base64) and unpacked when it is needed.
const unpack = async (id) => {
  const packed = document.getElementById(id).textContent.trim();
  if (!packed) return "";
  const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
};
const make = (tag, text, name) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
};
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Theme: the system's until the reader chooses; the choice is kept where the browser allows it.
  const button = document.getElementById("theme");
  const show = (dark) => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    button.textContent = dark ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(dark));
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { kept = null; }
  show(kept ? kept === "dark" : system.matches);
  system.addEventListener("change", (event) => { if (!kept) show(event.matches); });
  button.addEventListener("click", () => {
    kept = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    show(kept === "dark");
    try { localStorage.setItem("theme", kept); } catch { /* private mode: the choice lasts for this page */ }
  });

  // Sorting: numbers by their first number, text by the alphabet, gaps last.
  const value = (cell) => {
    const text = cell.textContent.trim();
    if (text === "" || text === "–") return null;
    const number = text.replace(/,/g, "").replace("−", "-").match(/^[<+]?(-?\d+(\.\d+)?)/);
    return number ? Number(number[1]) : text.toLowerCase();
  };
  const order = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const sort = (th) => {
    const table = th.closest("table");
    const column = [...th.parentNode.children].indexOf(th);
    const down = th.getAttribute("aria-sort") === "ascending";
    all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row) => [value(row.cells[column]), row]);
    const gaps = rows.filter(([v]) => v === null);
    const known = rows.filter(([v]) => v !== null).sort(([a], [b]) => (down ? -1 : 1) * order(a, b));
    table.tBodies[0].append(...[...known, ...gaps].map(([, row]) => row));
  };
  document.addEventListener("click", (event) => {
    const head = event.target.closest("th button");
    if (head) sort(head.parentNode);
  });

  // Filters: a row without a key is not about it and stays.
  const form = document.getElementById("filters");
  const filter = () => {
    const wanted = Object.fromEntries(new FormData(form));
    const text = wanted.text.trim().toLowerCase();
    const fits = (data) => ["dataset", "method", "stratum"].every((k) => !wanted[k] || !data[k] || data[k] === wanted[k]);
    let shown = 0;
    let total = 0;
    all(".tablebox").forEach((box) => {
      let here = 0;
      all("tbody tr", box).forEach((row) => {
        row.hidden = !fits(row.dataset) || (text !== "" && !row.textContent.toLowerCase().includes(text));
        total += 1;
        here += row.hidden ? 0 : 1;
      });
      box.hidden = here === 0;
      shown += here;
    });
    all(".gallery figure").forEach((figure) => { figure.hidden = !fits(figure.dataset); });
    document.getElementById("shown").textContent = `${shown.toLocaleString("en")} of ${total.toLocaleString("en")} rows`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  filter();

  // Drill-down: classes of a cell, made when it is opened. Text only ever enters as text.
  const data = unpack("perclass").then(JSON.parse);
  const number = (v, digits = 3) => (v === null ? "–" : v.toFixed(digits));
  const titles = ["Class", "AUROC", "Positives", "Negatives", "Training studies", "Prompt", "Note"];
  const classTable = (rows, prompts, label) => {
    const region = make("div", undefined, "scroll");
    region.tabIndex = 0;
    region.setAttribute("role", "region");
    region.setAttribute("aria-label", label);
    const table = make("table", undefined, "data");
    const head = table.createTHead().insertRow();
    titles.forEach((title, i) => {
      const th = make("th", undefined, i > 0 && i < 5 ? "right" : "");
      th.scope = "col";
      const sorter = make("button", title);
      sorter.type = "button";
      th.append(sorter);
      head.append(th);
    });
    const body = table.createTBody();
    rows.forEach(([name, v, low, high, pos, neg, named, note]) => {
      const row = body.insertRow();
      const interval = low === null || v === null ? number(v) : `${number(v)} [${number(low)}, ${number(high)}]`;
      const cells = [name, interval, number(pos, 0), number(neg, 0), named === null ? "–" : String(named), prompts[name] ?? "–", note || "–"];
      cells.forEach((text, i) => row.append(make("td", text, i > 0 && i < 5 ? "right" : i > 4 ? "wide" : "")));
    });
    region.append(table);
    return region;
  };
  const fill = async (cell) => {
    const place = cell.querySelector(".classes");
    const { cells, prompts } = await data;
    const sets = cells[cell.dataset.cell] ?? {};
    place.replaceChildren();
    Object.entries(sets).forEach(([dataset, rows]) => {
      const part = make("details");
      part.append(make("summary", `${dataset}: ${rows.length} classes`));
      part.addEventListener("toggle", () => {
        if (part.open && part.children.length === 1) {
          part.append(classTable(rows, prompts[dataset] ?? {}, `Classes of ${dataset}, ${cell.dataset.cell}`));
        }
      });
      place.append(part);
    });
    if (!place.children.length) place.append(make("p", "No results per class."));
  };
  all(".cell").forEach((cell) => cell.addEventListener("toggle", () => { if (cell.open) fill(cell); }));

  // A link to a closed part opens it; in print the notes of tables are open.
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let part = target || null; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  };
  addEventListener("hashchange", open);
  open();
  addEventListener("beforeprint", () => all(".notes").forEach((d) => { d.open = true; }));
})();
