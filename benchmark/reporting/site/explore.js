"use strict";
(async () => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const form = document.getElementById("explorer");
  // Downloads are made in the page.
  const download = (name, blob) => {
    const link = make("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const text = (name, content) => download(name, new Blob([content], { type: "text/csv" }));
  let csvs = null;
  all(".csv").forEach((b) => b.addEventListener("click", async () => {
    csvs ??= unpack("csvs").then(JSON.parse);
    text(`${b.dataset.table}.csv`, (await csvs)[b.dataset.table]);
  }));
  all(".png").forEach((b) => b.addEventListener("click", async () => {
    const image = b.closest("figure").querySelector("img");
    image.loading = "eager"; // A picture that was never scrolled to has no size before it is decoded.
    await image.decode();
    const canvas = make("canvas");
    canvas.width = 2 * image.naturalWidth;
    canvas.height = 2 * image.naturalHeight;
    const ground = canvas.getContext("2d");
    ground.fillStyle = "#fff";
    ground.fillRect(0, 0, canvas.width, canvas.height);
    ground.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => download(`${b.dataset.name}.png`, blob));
  }));
  // The entry is selected first: a browser that has to ask for its clipboard may never answer.
  document.getElementById("copybibtex").addEventListener("click", (event) => {
    const entry = document.getElementById("bibtex");
    getSelection().selectAllChildren(entry);
    event.target.textContent = "Selected: press Ctrl+C";
    navigator.clipboard?.writeText(entry.textContent).then(() => { event.target.textContent = "Copied"; }, () => {});
  });

  // A note or a term is explained where its mark is: on hover, focus or a tap; Escape closes it.
  const tip = document.getElementById("tip");
  let told = null;
  const target = (element) => {
    const mark = element.closest?.("a.fn, a.term, [data-term]");
    if (!mark) return [null, null];
    return [mark, document.getElementById(mark.dataset.term ?? mark.hash.slice(1))];
  };
  const hush = () => { tip.hidden = true; told?.removeAttribute("aria-expanded"); told = null; };
  const tell = (mark, from) => {
    hush();
    const [head, said] = [from.querySelector("dt"), from.querySelector("dd")];
    tip.replaceChildren(...(head ? [make("b", `${head.textContent}. `), said.textContent] : [from.textContent]));
    tip.hidden = false;
    const at = mark.getBoundingClientRect();
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(8, Math.min(at.left, room))}px`;
    const below = at.bottom + 6;
    tip.style.top = `${below + tip.offsetHeight > innerHeight ? Math.max(8, at.top - tip.offsetHeight - 6) : below}px`;
    told = mark;
  };
  const point = (event) => {
    const [mark, from] = target(event.target);
    if (mark && from && mark !== told) tell(mark, from);
    else if (!mark && told && event.type === "pointerover" && !event.target.closest?.("#tip")) hush();
  };
  document.addEventListener("pointerover", point);
  document.addEventListener("focusin", point);
  document.addEventListener("focusout", hush);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hush(); });
  document.addEventListener("scroll", hush, { capture: true, passive: true });
  document.addEventListener("click", (event) => {
    const [mark, from] = target(event.target);
    if (!mark || !from) { hush(); return; }
    if (mark.tagName === "A") { event.preventDefault(); tell(mark, from); }
  });

  // What does not fit says so, on the side where it goes on.
  const edges = (box) => {
    const inner = box.querySelector(".scroll");
    const rest = inner.scrollWidth - inner.clientWidth - inner.scrollLeft;
    box.classList.toggle("wider", inner.scrollWidth > inner.clientWidth + 1);
    box.classList.toggle("right", rest > 1);
    box.classList.toggle("left", inner.scrollLeft > 1);
  };
  const watch = (box) => {
    box.querySelector(".scroll").addEventListener("scroll", () => edges(box), { passive: true });
    new ResizeObserver(() => requestAnimationFrame(() => edges(box))).observe(box);
  };
  all(".scrollbox").forEach(watch);

  const data = JSON.parse(await unpack("explored"));
  if (!data.methods.length || !Object.keys(data.sets).length) return;
  document.getElementById("explorehint").hidden = true;
  document.getElementById("exploreout").hidden = false;
  const titles = Object.fromEntries(data.methods);
  const fill = (select, pairs) => select.replaceChildren(...pairs.map(([v, t]) => Object.assign(make("option", t), { value: v })));
  const { dataset, a, b, cls } = form.elements;
  fill(dataset, Object.keys(data.sets).map((d) => [d, d]));
  fill(a, data.methods);
  fill(b, data.methods);
  b.selectedIndex = Math.min(1, data.methods.length - 1);

  // The library is unpacked once, when first needed.
  let library = null;
  const plotly = () => {
    library ??= (async () => {
      const source = await unpack("plotly");
      if (!source) return null;
      const code = make("script", source);
      document.head.append(code);
      return window.Plotly;
    })();
    return library;
  };
  const colours = ["#0b5394", "#c0392b", "#2e7d32", "#8e44ad", "#b8860b", "#00838f", "#6d4c41", "#455a64"];
  const colour = (name) => colours[data.methods.findIndex(([n]) => n === name) % colours.length];
  const look = (title, more = {}) => {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim();
    const axis = { gridcolor: style.getPropertyValue("--line").trim(), zerolinecolor: style.getPropertyValue("--soft").trim(), automargin: true };
    const { xaxis, yaxis, ...rest } = more;
    return {
      title: { text: title, font: { size: 14 }, x: 0, xanchor: "left" }, modebar: { bgcolor: "rgba(0,0,0,0)", color: style.getPropertyValue("--soft").trim(), activecolor: ink }, font: { color: ink, family: "system-ui, sans-serif", size: 12 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 60, r: 10, t: 56, b: 44 },
      showlegend: false, xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
    };
  };
  const settings = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const whisker = (rows) => ({
    type: "data", symmetric: false, color: "#808890", array: rows.map(([v, , high]) => (high === null ? 0 : high - v)),
    arrayminus: rows.map(([v, low]) => (low === null ? 0 : v - low)),
  });

  const number = (v, digits = 3) => (v === null || v === undefined ? "–" : v.toFixed(digits));
  const interval = (t) => (!t ? "–" : t[1] === null ? number(t[0]) : `${number(t[0])} [${number(t[1])}, ${number(t[2])}]`);
  const signed = (v) => (v === null ? "–" : `${v > 0 ? "+" : ""}${v.toFixed(3)}`);
  const pairs = (d, one, two) => {
    const straight = data.pairs[`${one}|${two}`]?.[d];
    if (straight) return straight;
    return (data.pairs[`${two}|${one}`]?.[d] ?? []).map(([c, v, low, high, p]) => [c, -v, high === null ? null : -high, low === null ? null : -low, p]);
  };
  const chance = (p) => (p === null ? "–" : p < 0.001 ? "<0.001" : p.toFixed(3));
  let rows = [];
  const tabled = (heads, lines, label) => {
    const table = make("table", undefined, "data");
    const head = table.createTHead().insertRow();
    heads.forEach((title, i) => head.append(Object.assign(make("th", title, i && i < heads.length - 1 ? "right" : ""), { scope: "col" })));
    const body = table.createTBody();
    lines.forEach((cells) => {
      const row = body.insertRow();
      cells.forEach((value, i) => row.append(make("td", value, i === heads.length - 1 ? "wide" : i ? "right" : "")));
    });
    const region = make("div", undefined, "scroll");
    region.tabIndex = 0;
    region.setAttribute("role", "region");
    region.setAttribute("aria-label", label);
    region.append(table);
    return region;
  };

  // One class: its prompt, what it is confused with, and images.
  const oneClass = (d, one, two, chosen, positives) => {
    document.getElementById("h-class").textContent = `${chosen} (${positives} positives)`;
    const story = Object.fromEntries(data.stories[one]?.[d]?.[chosen] ?? []);
    document.getElementById("classprompt").textContent = story.prompt ? `Prompt: ${story.prompt}` : "";
    const percent = (v) => `${Math.round(100 * v)}%`;
    const lines = data.methods.map(([name]) => [name, data.confused[name]?.[d]?.[chosen]]).filter(([, c]) => c)
      .map(([name, [hits, missed, alarms, left, others]]) => [titles[name], number(hits, 1), number(missed, 1), number(alarms, 1), number(left, 1),
        others.map(([c, among, usual]) => `${c} (${percent(among)} of them, ${percent(usual)} of all negatives)`).join("; ") || "–"]);
    document.getElementById("confusions").replaceChildren(lines.length
      ? tabled(["Method", "Found", "Missed", "False alarms", "Rightly left", "False alarms show more often"], lines, `Confusions of ${chosen}`)
      : make("p", "The predictions are not here, or the class lacks positives or negatives."));
    const known = data.examples.sets?.[d];
    const place = document.getElementById("examples");
    const shown = known?.classes[chosen] ?? [];
    document.getElementById("examplerule").textContent = shown.length ? `${data.examples.rule} Colour: the map of each method, strongest where it is high; above: the share of the set's images that score lower.${known.origin === "twin" ? " SYNTHETIC TWIN." : ""}` : "";
    if (!shown.length) {
      const old = data.examples.stale?.includes(d) ? "The example images were made from other weights." : "There are no example images of this class here.";
      place.replaceChildren(make("p", `${old} bench stage gallery makes them; bench map draws any image.`));
      return;
    }
    const order = [...new Set([one, two, ...titlesOf(shown)])];
    place.replaceChildren(...shown.map(([kind, spot, image, of]) => {
      const box = make("div", undefined, "example");
      box.append(make("h5", `${kind}: ${image}`));
      const strip = make("div", undefined, "strip");
      const frames = [["image", null], ...order.map((name) => [name, of[methodOf(name)]]).filter(([, v]) => v)];
      frames.forEach(([name, value]) => {
        const frame = make("figure");
        const canvas = make("canvas");
        const said = value === null ? "as the encoder sees it" : `${titles[name]}: above ${percent(value[0])}`;
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", `${known.origin === "twin" ? "Synthetic twin. " : ""}${image}, ${kind} of ${chosen}, ${said}${value?.[1] ? ", with its map" : ""}`);
        paint(canvas, known, spot, value?.[1]);
        frame.append(canvas, make("figcaption", value?.[1] || value === null ? said : `${said}, no map`));
        strip.append(frame);
      });
      box.append(strip);
      return box;
    }));
  };
  const methodOf = (cell) => cell.replace(/-main$/, "");
  const titlesOf = (shown) => data.methods.map(([name]) => name).filter((name) => shown.some(([, , , of]) => of[methodOf(name)]));
  const sheets = {};
  const sheet = (known) => (sheets[known.picture] ??= new Promise((done) => {
    const image = new Image();
    image.onload = () => done(image);
    image.src = known.picture;
  }));
  const heat = (v) => [255 * Math.min(1, Math.max(0, 3 * v - 0.8)), 255 * (1 - Math.abs(2 * v - 1)), 255 * Math.min(1, Math.max(0, 2.2 - 3 * v))];
  const paint = async (canvas, known, spot, map) => {
    const { side, across } = data.examples;
    canvas.width = canvas.height = side;
    const ground = canvas.getContext("2d");
    const image = await sheet(known);
    ground.drawImage(image, (spot % across) * side, Math.floor(spot / across) * side, side, side, 0, 0, side, side);
    if (!map) return;
    const [height, width, packed] = map;
    const values = [...atob(packed)].flatMap((c) => [c.charCodeAt(0) >> 4, c.charCodeAt(0) & 15]).slice(0, height * width);
    const small = Object.assign(make("canvas"), { width, height });
    const pixels = small.getContext("2d").createImageData(width, height);
    values.forEach((v, i) => pixels.data.set([...heat(v / 15), 0.55 * 17 * v], 4 * i));
    small.getContext("2d").putImageData(pixels, 0, 0);
    ground.imageSmoothingEnabled = true;
    ground.drawImage(small, 0, 0, side, side);
  };

  // Labels at the end of slopes, moved apart so that each can be read.
  const apart = (values, gap) => {
    const order = values.map((v, i) => [v, i]).sort((x, y) => x[0] - y[0]);
    order.forEach((item, i) => { if (i && item[0] < order[i - 1][0] + gap) item[0] = order[i - 1][0] + gap; });
    const placed = [];
    order.forEach(([v, i]) => { placed[i] = v; });
    return placed;
  };
  const drawSlopes = (P, d, one, two) => {
    const list = [one, two].filter((name, i, both) => both.indexOf(name) === i)
      .flatMap((name) => (data.slopes[name] ?? []).filter(([, v]) => v[d]).map(([label, v]) => [name, label, ...v[d]]));
    document.getElementById("slopepane").hidden = !list.length;
    if (!list.length) return;
    const ends = list.map(([, , , changed]) => changed);
    const every = [...ends, ...list.map(([, , main]) => main)];
    const height = Math.max(320, 90 + 20 * list.length);
    const gap = (Math.max(...every) - Math.min(...every) || 0.1) * 17 / (height - 130);
    const places = apart(ends, gap);
    const room = Math.floor((document.getElementById("plot-slopes").clientWidth - 70) * 0.63 / 6.2) - 7;  // letters
    const short = (text) => (text.length > room ? `${text.slice(0, room - 1)}…` : text);
    P.react("plot-slopes", list.map(([name, label, main, changed, delta, low, high, p]) => ({
      type: "scatter", mode: "lines+markers", x: [0, 1], y: [main, changed], marker: { size: 7 },
      line: { color: colour(name), width: 2, dash: low > 0 || high < 0 ? "solid" : "dot" },
      hovertemplate: `${titles[name]}, ${label}: ${signed(delta)} [${signed(low)}, ${signed(high)}], Holm p ${chance(p)}<extra></extra>`,
    })), look(`${d}, macro AUROC<br>dotted: may be no change`, {
      height, margin: { l: 60, r: 10, t: 56, b: 44 },
      xaxis: { range: [-0.12, 3.1], tickvals: [0, 1], ticktext: ["as configured", "changed"], showgrid: false, zeroline: false, fixedrange: true },
      annotations: list.map(([name, label, , , delta], i) => ({
        x: 1.06, y: places[i], xanchor: "left", showarrow: false, font: { size: 11 }, text: `${short(`${titles[name]}, ${label}`)} ${signed(delta)}`,
      })),
    }), settings);
  };

  const render = async () => {
    const d = dataset.value;
    const [one, two] = [a.value, b.value];
    const counts = data.sets[d].classes;
    document.getElementById("classnames").replaceChildren(...Object.keys(counts).map((c) => Object.assign(make("option"), { value: c })));
    const compared = pairs(d, one, two);
    const difference = Object.fromEntries(compared.map(([c, ...rest]) => [c, rest]));
    const wanted = cls.value.trim().toLowerCase();
    const chosen = Object.keys(counts).find((c) => c.toLowerCase() === wanted);
    const shown = Object.keys(counts).filter((c) => c.toLowerCase().includes(wanted));
    const macro = difference.macro;
    const twin = data.sets[d].origin === "twin" ? " SYNTHETIC TWIN." : "";
    document.getElementById("said").textContent =
      `${d}: ${titles[one]} ${interval(data.auroc[one][d]?.macro)}, ${titles[two]} ${interval(data.auroc[two][d]?.macro)}` +
      (macro ? `; difference ${signed(macro[0])} [${signed(macro[1])}, ${signed(macro[2])}], Holm p ${chance(macro[3])}.` : ".") +
      ` ${shown.length} of ${Object.keys(counts).length} classes.${twin}`;

    rows = shown.map((c) => {
      const gap = difference[c];
      const [pos, neg, named] = counts[c];
      return [c, interval(data.auroc[one][d]?.[c]), interval(data.auroc[two][d]?.[c]),
        gap ? `${signed(gap[0])} [${signed(gap[1])}, ${signed(gap[2])}]` : "–", gap ? chance(gap[3]) : "–",
        number(pos, 0), number(neg, 0), named === null ? "–" : String(named)];
    });
    const heads = ["Class", titles[one], titles[two], "Difference", "Holm p", "Positives", "Negatives", "Training studies"];
    const table = make("table", undefined, "data");
    const head = table.createTHead().insertRow();
    heads.forEach((title, i) => {
      const th = make("th", undefined, i ? "right" : "");
      th.scope = "col";
      th.append(Object.assign(make("button", title), { type: "button" }));
      head.append(th);
    });
    const body = table.createTBody();
    rows.forEach((cells) => {
      const row = body.insertRow();
      cells.forEach((value, i) => {
        const td = make("td", i ? value : undefined, i ? "right" : "");
        if (!i) td.append(Object.assign(make("a", value), { href: address(d, one, two, value) }));
        row.append(td);
      });
    });
    const region = make("div", undefined, "scroll");
    region.tabIndex = 0;
    region.setAttribute("role", "region");
    region.setAttribute("aria-label", `Classes of ${d}`);
    region.append(table);
    const box = make("div", undefined, "scrollbox");
    const more = make("p", "scroll sideways for more columns →", "more");
    more.setAttribute("aria-hidden", "true");
    box.append(more, region);
    document.getElementById("exploretable").replaceChildren(box);
    watch(box);
    edges(box);

    const made = [one, two].filter((name, i, list) => list.indexOf(name) === i).flatMap((name) => {
      const stories = data.stories[name]?.[d];
      if (!stories) return [];
      const list = make("dl", undefined, "story");
      const where = chosen && stories[chosen] ? chosen : "macro";
      [...stories[where], ...stories.shared].forEach(([what, said]) => {
        const pair = make("div");
        pair.append(make("dt", what), make("dd", said));
        list.append(pair);
      });
      return [make("h4", `${titles[name]} on ${d}, ${where}`), list];
    });
    document.getElementById("exploremade").replaceChildren(...made);
    document.getElementById("classpane").hidden = !chosen;
    document.getElementById("forestpane").hidden = one === two || !compared.length;
    if (chosen) oneClass(d, one, two, chosen, counts[chosen][0]);

    const P = await plotly();
    if (!P) {
      document.getElementById("plot-macro").textContent = "Interactive figures need the extra `page` where the page is built: pip install 'cxr-alignbench[page]'.";
      return;
    }
    const points = data.methods.map(([name]) => [name, data.auroc[name][d]?.macro]).filter(([, t]) => t && t[0] !== null);
    const beside = data.beside.map(([t, v]) => [t, v[d]]).filter(([, t]) => t && t[0] !== null);
    const trace = (list, labels, own) => ({
      type: "scatter", mode: "markers", x: list.map((t) => t[0]), y: labels, error_x: whisker(list), marker: own,
      hovertemplate: "%{y}: %{x:.3f}<extra></extra>",
    });
    P.react("plot-macro", [
      trace(points.map(([, t]) => t), points.map(([n]) => `${titles[n]} ${data.groups[n]?.[d] ?? ""}`), { size: 10, color: points.map(([n]) => colour(n)) }),
      trace(beside.map(([, t]) => t), beside.map(([t]) => t), { size: 9, symbol: "diamond-open", color: "#808890" }),
    ], look(`${d}, letters: not separable`, { height: 120 + 26 * (points.length + beside.length), yaxis: { autorange: "reversed" }, xaxis: { title: { text: "macro AUROC" } } }), settings);

    if (chosen) {
      const line = (which, x) => data.methods.map(([name]) => [name, data.curves[name]?.[d]?.[chosen]?.[which]])
        .filter(([, ys]) => ys).map(([name, ys]) => ({
          type: "scatter", mode: "lines", name: titles[name], x: x.map((v) => v / 1000), y: ys.map((v) => v / 1000),
          line: { color: colour(name), width: name === one || name === two ? 3 : 1.2 }, opacity: name === one || name === two ? 1 : 0.55,
        }));
      const share = counts[chosen][0] / (counts[chosen][0] + counts[chosen][1]);
      const guess = (y) => ({ type: "scatter", mode: "lines", name: "chance", x: [0, 1], y, line: { dash: "dot", color: "#808890", width: 1 } });
      P.react("plot-roc", [...line(0, data.grid[0]), guess([0, 1])], look("ROC, mean over seeds", { height: 360, showlegend: true, legend: { orientation: "h", y: -0.25 }, xaxis: { title: { text: "false positive rate" }, range: [0, 1] }, yaxis: { title: { text: "true positive rate" }, range: [0, 1] } }), settings);
      P.react("plot-pr", [...line(1, data.grid[1]), guess([share, share])], look("Precision and recall, mean over seeds", { height: 320, xaxis: { title: { text: "recall" }, range: [0, 1] }, yaxis: { title: { text: "precision" }, range: [0, 1] } }), settings);
    }
    drawSlopes(P, d, one, two);
    if (!document.getElementById("forestpane").hidden) {
      const list = compared.filter(([c]) => c === "macro" || shown.includes(c)).sort((x, y) => (y[0] === "macro") - (x[0] === "macro") || y[1] - x[1]);
      P.react("plot-forest", [
        trace(list.map(([, ...t]) => t), list.map(([c]) => c), { size: 7, color: list.map(([c]) => (c === "macro" ? "#c0392b" : colour(one))) }),
      ], look(`${titles[one]} − ${titles[two]}, AUROC`, { height: 110 + 18 * list.length, yaxis: { range: [list.length - 0.5, -0.5], dtick: 1 }, xaxis: { zeroline: true, zerolinewidth: 2 } }), settings);
    }
  };

  // The address holds the choice: #x/SET/METHOD/METHOD/CLASS.
  const address = (...parts) => `#x/${parts.map(encodeURIComponent).join("/")}`;
  const choose = () => {
    if (!location.hash.startsWith("#x/")) return false;
    const [d, one, two, c] = location.hash.slice(3).split("/").map(decodeURIComponent);
    if (data.sets[d]) dataset.value = d;
    if (titles[one]) a.value = one;
    if (titles[two]) b.value = two;
    cls.value = c ?? "";
    return true;
  };
  const chosen = () => [dataset.value, a.value, b.value, ...(cls.value ? [cls.value] : [])];
  form.addEventListener("input", () => { history.replaceState(null, "", address(...chosen())); render(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", () => {
    if (choose()) { render(); document.getElementById("explore").scrollIntoView(); }
  });
  document.getElementById("theme").addEventListener("click", render);
  document.getElementById("explorecsv").addEventListener("click", () => {
    const safe = (v) => `"${(/^[\s]*[=+\-@]/.test(v) && !/^[+-]?\d/.test(v) ? `'${v}` : v).replaceAll('"', '""')}"`;
    const heads = ["class", titles[a.value], titles[b.value], "difference", "holm_p", "positives", "negatives", "training_studies"];
    text(`${dataset.value}.csv`, [heads, ...rows].map((row) => row.map(safe).join(",")).join("\n") + "\n");
  });
  if (choose()) document.getElementById("explore").scrollIntoView();
  render();
})();
