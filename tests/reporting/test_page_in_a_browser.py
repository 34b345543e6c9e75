"""The page in Chromium: nothing fails, every control works, and axe finds no barrier."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
PROBE = """
<script>
const problems = [];
addEventListener("error", (e) => problems.push("error: " + e.message));
addEventListener("securitypolicyviolation", (e) => problems.push("policy: " + e.blockedURI));
</script>
"""


ACTIONS = """
<pre id="probe"></pre>
<script>
(async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const until = async (holds) => { for (let i = 0; i < 200 && !holds(); i += 1) await wait(50); };
  const out = {};
  const table = document.querySelector('table[data-name="zero_shot"]');
  const column = [...table.tHead.rows[0].cells].findIndex((c) => c.textContent === "Ours");
  const values = () => [...table.tBodies[0].rows].map((r) => parseFloat(r.cells[column].textContent));
  const head = table.tHead.rows[0].cells[column];
  head.querySelector("button").click();
  out.up = values(); out.sortUp = head.getAttribute("aria-sort");
  head.querySelector("button").click();
  out.down = values(); out.sortDown = head.getAttribute("aria-sort");
  const form = document.getElementById("filters");
  const visible = () => [...document.querySelectorAll(".tablebox tbody tr")].filter((r) => r.offsetParent !== null);
  out.before = visible().length;
  form.elements.dataset.value = "chexpert";
  form.elements.method.value = "CARZero";
  form.dispatchEvent(new Event("input"));
  out.after = visible().map((r) => [r.dataset.dataset ?? "", r.dataset.method ?? ""]);
  out.figures = [...document.querySelectorAll("figure")].filter((f) => !f.hidden).map((f) => f.dataset.dataset ?? "");
  out.status = document.getElementById("shown").textContent;
  form.reset(); await until(() => visible().length === out.before);
  out.reset = visible().length;
  const cell = document.querySelector('[data-cell="carzero-main"]');
  cell.open = true; await until(() => cell.querySelector(".classes details"));
  const part = cell.querySelector(".classes details"); part.open = true; await until(() => part.querySelector("tbody tr"));
  out.classes = part.querySelectorAll("tbody tr").length;
  out.prompt = part.querySelector("tbody tr").cells[5].textContent;
  location.hash = "#cell-clip-main"; await wait(50);
  out.order = ["answer", "explore", "tables", "verdicts"].map((id) => document.getElementById(id).getBoundingClientRect().top);
  location.hash = "#x/chexpert/carzero-main/clip-main/Edema";
  await until(() => document.querySelectorAll("#confusions tbody tr").length && document.querySelectorAll("#examples canvas").length === 6);
  const explorer = document.getElementById("explorer").elements;
  out.explored = [explorer.dataset.value, explorer.a.value, explorer.b.value, explorer.cls.value];
  out.said = document.getElementById("said").textContent;
  out.rows = document.querySelectorAll("#exploretable tbody tr").length;
  out.confused = document.querySelectorAll("#confusions tbody tr").length;
  out.shown = [...document.querySelectorAll("#examples canvas")].map((c) => c.getAttribute("aria-label"));
  const painted = (c) => {
    const copy = Object.assign(document.createElement("canvas"), { width: c.width, height: c.height }).getContext("2d", { willReadFrequently: true });
    copy.drawImage(c, 0, 0);
    return [...copy.getImageData(0, 0, c.width, c.height).data];
  };
  const canvases = [...document.querySelectorAll("#examples canvas")];
  await until(() => canvases.every((c) => painted(c).some((v, n) => n % 4 < 3 && v > 40)));
  out.coloured = canvases.map((c) => painted(c).some((v, n, all) => n % 4 === 0 && Math.abs(v - all[n + 1]) > 20));
  out.story = document.getElementById("exploremade").textContent;
  explorer.cls.value = ""; document.getElementById("explorer").dispatchEvent(new Event("input"));
  await until(() => document.querySelectorAll("#exploretable tbody tr").length > 1);
  out.every = document.querySelectorAll("#exploretable tbody tr").length;
  out.address = location.hash;
  out.unpacked = document.getElementById("plotly").textContent.trim() !== "";
  if (out.unpacked) await until(() => ["macro", "forest", "slopes"].every((n) => document.querySelector(`#plot-${n} .main-svg`)));
  out.drawn = document.querySelectorAll("#plot-macro .main-svg, #plot-forest .main-svg, #plot-slopes .main-svg").length;
  out.slopes = [document.getElementById("slopepane").hidden, document.querySelectorAll("#plot-slopes .scatter").length];
  const clicks = [];
  HTMLAnchorElement.prototype.click = function click() { clicks.push([this.download, this.href.slice(0, 5)]); };
  document.querySelector('.csv[data-table="zero_shot"]').click();
  document.getElementById("explorecsv").click();
  document.querySelector(".png").click();
  await until(() => clicks.length === 3);
  out.downloads = clicks.map(([name, kind]) => [name.replace(/^.*[.]png$/, "picture.png"), kind]).sort();
  document.getElementById("copybibtex").click();
  out.copied = document.getElementById("copybibtex").textContent;
  const tip = document.getElementById("tip");
  const mark = document.querySelector("a.fn"); mark.scrollIntoView({ behavior: "instant", block: "center" }); await wait(200);
  mark.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
  out.note = [tip.hidden, tip.textContent.slice(0, 3), location.hash.includes("table-")];
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" })); out.closed = tip.hidden;
  const mde = [...document.querySelectorAll("th [data-term]")].find((b) => b.textContent === "MDE");
  mde.scrollIntoView({ behavior: "instant", block: "center" }); await wait(200); mde.focus({ preventScroll: true }); out.term = tip.textContent; const at = tip.getBoundingClientRect();
  out.inside = at.left >= 0 && at.right <= innerWidth && at.top >= 0 && at.bottom <= innerHeight;
  mde.blur();
  out.terms = [...document.querySelectorAll("a.term, [data-term]")].every((e) => document.getElementById(e.dataset.term ?? e.hash.slice(1)));
  const wide = [...document.querySelectorAll(".tablebox .scrollbox")].filter((b) => b.querySelector(".scroll").scrollWidth > b.querySelector(".scroll").clientWidth + 1);
  out.signs = wide.map((b) => [b.className, getComputedStyle(b.querySelector(".more")).display]);
  const first = table.tBodies[0].rows[0].cells[0];
  const inner = table.closest(".scroll");
  const left = first.getBoundingClientRect().left; inner.scrollLeft = 200; await wait(50);
  out.frozen = Math.abs(first.getBoundingClientRect().left - left);
  inner.scrollLeft = 0;
  const split = (cell) => {
    const text = cell.firstChild, range = document.createRange();
    if (text?.nodeType !== 3) return false;
    range.setStart(text, 0); range.setEnd(text, text.data.split(" ")[0].length);
    return range.getClientRects().length > 1;
  };
  out.split = [...document.querySelectorAll(".data td:first-child")].filter((c) => c.offsetParent && split(c)).map((c) => c.textContent);
  const drawing = document.querySelector("#plot-slopes .main-svg")?.getBoundingClientRect();
  out.cut = [...document.querySelectorAll("#plot-slopes .annotation-text, #plot-slopes .gtitle")]
    .filter((e) => e.getBoundingClientRect().right > drawing.right + 1).map((e) => e.textContent);
  out.opened = document.getElementById("cell-clip-main").open;
  document.querySelectorAll("details").forEach((d) => { d.open = true; });
  await wait(100);
  out.broken = [...document.images].filter((i) => i.complete && i.naturalWidth === 0).length;
  out.wider = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  out.unnamed = [...document.querySelectorAll("button, a[href], input, select, summary, img, [role=region]")]
    .filter((e) => !(e.textContent.trim() || e.alt || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.labels?.length)).length;
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0.99) return c; } return [255, 255, 255]; };
  const contrast = () => {
    let worst = [21, ""];
    for (const e of document.querySelectorAll("body *")) {
      const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
      if (!own || e.closest("script, .hidden, #probe") || e.offsetParent === null) continue;
      const pair = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((a, b) => b - a);
      const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
      if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 120)];
    }
    return worst;
  };
  out.themes = [];
  for (let i = 0; i < 2; i += 1) { out.themes.push([document.documentElement.dataset.theme, ...contrast()]); document.getElementById("theme").click(); }
  {
    const judged = await axe.run(document, { resultTypes: ["violations"] });
    out.axe = judged.violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160))}`);
    out.rules = judged.violations.length + judged.passes.length;
  }
  out.elsewhere = performance.getEntriesByType("resource").map((r) => r.name).filter((n) => !n.startsWith("data:"));
  out.problems = problems;
  document.getElementById("probe").textContent = JSON.stringify(out);
})().catch((e) => { document.getElementById("probe").textContent = JSON.stringify({ problems: ["probe: " + e.stack] }); });
</script>
"""  # noqa: E501


def browse(page: str, tmp_path, size: str) -> tuple[dict, list[str]]:
    """Open the page with a probe at its end; returns what the probe saw and what the console said.

    In real time: the virtual time of `--dump-dom` runs out while a picture or the clipboard is waited for.
    """
    path = tmp_path / "page.html"
    axe = f"<script>{AXE.read_text(encoding='utf-8')}</script>"
    probed = page.replace("<style>", PROBE + "<style>", 1).replace("</body>", axe + ACTIONS + "</body>")
    path.write_text(probed, encoding="utf-8")
    width, height = map(int, size.split(","))
    said: list[str] = []
    with sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"],
            env={**os.environ, "HOME": str(tmp_path)},
        )
        tab = browser.new_page(viewport={"width": width, "height": height})
        tab.on("console", lambda message: said.append(message.text))
        tab.goto(path.as_uri())
        tab.wait_for_selector("#probe:not(:empty)", state="attached", timeout=180_000)
        seen = json.loads(tab.text_content("#probe"))
        browser.close()
    return seen, said


@pytest.mark.browser
@needs_browser
@pytest.mark.parametrize("size", ["1280,900", "390,844", "1920,1080"])
def test_in_a_browser(page, tmp_path, size):
    seen, said = browse(page, tmp_path, size)
    assert seen["problems"] == []
    assert said == []
    assert seen["elsewhere"] == []
    assert seen["up"] == sorted(seen["up"])
    assert seen["down"] == sorted(seen["down"], reverse=True)
    assert (seen["sortUp"], seen["sortDown"]) == ("ascending", "descending")
    assert 0 < len(seen["after"]) < seen["before"]
    assert {d for d, _ in seen["after"]} <= {"", "chexpert"}
    assert {m for _, m in seen["after"]} <= {"", "CARZero"}
    assert set(seen["figures"]) <= {"", "chexpert"}
    assert seen["status"].startswith(f"{len(seen['after'])} of ")
    assert seen["reset"] == seen["before"]
    assert seen["classes"] == 14
    assert seen["prompt"].startswith("There is ")
    assert seen["opened"]
    assert seen["order"] == sorted(seen["order"])
    assert seen["explored"] == ["chexpert", "carzero-main", "clip-main", "Edema"]
    assert seen["said"].startswith("chexpert: CARZero 0.")
    assert "SYNTHETIC TWIN" in seen["said"]
    assert (seen["rows"], seen["every"]) == (1, 5)
    assert seen["address"] == "#x/chexpert/carzero-main/clip-main"
    assert not seen["unpacked"] or seen["drawn"] >= 3
    assert not seen["unpacked"] or seen["slopes"][0] is False
    assert seen["downloads"] == [
        ["chexpert.csv", "blob:"],
        ["picture.png", "blob:"],
        ["zero_shot.csv", "blob:"],
    ]
    assert seen["copied"].startswith(("Copied", "Selected"))
    assert seen["confused"] == 2
    assert len(seen["shown"]) == 6
    assert all(label.startswith("Synthetic twin. i000") for label in seen["shown"])
    assert seen["coloured"] == [False, True, False] * 2
    assert "CARZero on chexpert, Edema" in seen["story"]
    assert "bench stage cell carzero" in seen["story"]
    assert seen["note"] == [False, "[1]", False]
    assert seen["closed"]
    assert seen["term"].startswith("MDE. Minimum detectable effect")
    assert seen["inside"]
    assert seen["terms"]
    assert seen["axe"] == []
    assert seen["rules"] > 20
    assert seen["signs"] or size.startswith("1920")
    assert all("wider" in name and "right" in name and shown == "block" for name, shown in seen["signs"])
    assert seen["frozen"] < 1
    assert seen["split"] == []
    assert seen["cut"] == []
    assert seen["broken"] == 0
    assert seen["unnamed"] == 0
    assert seen["wider"] <= 0
    assert sorted(theme for theme, *_ in seen["themes"]) == ["dark", "light"]
    for _, ratio, where in seen["themes"]:
        assert ratio >= 4.5, where
