"""The page, as text and in a real headless browser."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess

import pytest

from benchmark.cli import main
from benchmark.grid.layout import Project
from benchmark.reporting.outputs import PartReport
from benchmark.reporting.site.content import write_site

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def page(project) -> str:
    return write_site(PartReport(Project(project))).read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere(page):
    sources = re.findall(r"""(?:src|href|srcset|action)=["']([^"']*)["']""", page)
    assert sources
    assert all(s.startswith(("#", "data:")) for s in sources)
    assert "default-src 'none'" in page
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_every_link_has_its_place_and_ids_are_unique(page):
    body = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    ids = re.findall(r'\sid="([^"]+)"', body)
    assert len(ids) == len(set(ids))
    links = re.findall(r'href="#([^"]+)"', body)
    assert links
    assert {link for link in links if not link.startswith("x/")} <= set(ids)
    assert {link for link in links if link.startswith("x/")} == {"x/chestxray14", "x/chexpert"}


def test_twins_are_marked_everywhere(page):
    assert page.count("SYNTHETIC TWIN") > 10
    text = html.unescape(page)
    assert "not from patients" in text
    assert not re.search(r'<span class="pill supported">supported</span>', text)
    images = re.findall(r'<img [^>]*alt="([^"]*)"', page)
    assert images
    assert all("Synthetic twin." in alt for alt in images)


def test_no_report_text(project, tmp_path):
    """Sentences of the prepared reports never reach the page."""
    from benchmark.core.tables import Manifest

    work = tmp_path / "work"
    shutil.copytree(project, work)
    for dataset in ("chestxray14", "chexpert"):
        folder = work / "data" / "prepared" / dataset
        manifest = Manifest.load(folder)
        manifest.frame["report"] = "FINDINGS: canary-7f3a sentence of a report."
        manifest.save(folder)
    for path in write_site(PartReport(Project(work))).parent.rglob("*"):
        assert b"canary-7f3a" not in path.read_bytes()


def test_names_cannot_inject_markup(project, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(project, work)
    params = (work / "params.yaml").read_text(encoding="utf-8")
    hostile = params.replace("CARZero, global only", "</script><script>alert(1)</script>")
    assert hostile != params
    (work / "params.yaml").write_text(hostile, encoding="utf-8")
    text = write_site(PartReport(Project(work))).read_text(encoding="utf-8")
    assert "<script>alert(1)" not in text
    assert text.count("<script") == 6


def test_command(inside, capsys):
    assert main(["report", "site", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"page": "reports/site/index.html"}


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
  form.reset(); await wait(50);
  out.reset = visible().length;
  const cell = document.querySelector('[data-cell="carzero-main"]');
  cell.open = true; await wait(50);
  const part = cell.querySelector(".classes details"); part.open = true; await wait(50);
  out.classes = part.querySelectorAll("tbody tr").length;
  out.prompt = part.querySelector("tbody tr").cells[5].textContent;
  location.hash = "#cell-clip-main"; await wait(50);
  out.order = ["answer", "explore", "tables", "verdicts"].map((id) => document.getElementById(id).getBoundingClientRect().top);
  location.hash = "#x/chexpert/carzero-main/clip-main/Edema"; await wait(300);
  const explorer = document.getElementById("explorer").elements;
  out.explored = [explorer.dataset.value, explorer.a.value, explorer.b.value, explorer.cls.value];
  out.said = document.getElementById("said").textContent;
  out.rows = document.querySelectorAll("#exploretable tbody tr").length;
  explorer.cls.value = ""; document.getElementById("explorer").dispatchEvent(new Event("input")); await wait(300);
  out.every = document.querySelectorAll("#exploretable tbody tr").length;
  out.address = location.hash;
  out.unpacked = document.getElementById("plotly").textContent.trim() !== "";
  for (let i = 0; i < 20 && out.unpacked && !document.querySelector("#plot-macro .main-svg"); i += 1) await wait(200);
  out.drawn = document.querySelectorAll("#plot-macro .main-svg, #plot-forest .main-svg").length;
  const clicks = [];
  HTMLAnchorElement.prototype.click = function click() { clicks.push([this.download, this.href.slice(0, 5)]); };
  document.querySelector('.csv[data-table="zero_shot"]').click();
  document.getElementById("explorecsv").click();
  out.downloads = clicks;
  const wide = [...document.querySelectorAll(".tablebox .scrollbox")].filter((b) => b.querySelector(".scroll").scrollWidth > b.querySelector(".scroll").clientWidth + 1);
  out.signs = wide.map((b) => [b.className, getComputedStyle(b.querySelector(".more")).display]);
  const first = table.tBodies[0].rows[0].cells[0];
  const inner = table.closest(".scroll");
  const left = first.getBoundingClientRect().left; inner.scrollLeft = 200; await wait(50);
  out.frozen = Math.abs(first.getBoundingClientRect().left - left);
  inner.scrollLeft = 0;
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
  out.elsewhere = performance.getEntriesByType("resource").map((r) => r.name).filter((n) => !n.startsWith("data:"));
  out.problems = problems;
  document.getElementById("probe").textContent = JSON.stringify(out);
})().catch((e) => { document.getElementById("probe").textContent = JSON.stringify({ problems: ["probe: " + e.stack] }); });
</script>
"""  # noqa: E501


def browse(page: str, tmp_path, size: str) -> tuple[dict, str]:
    """Open the page with a probe at its end; returns what the probe saw and the browser's log."""
    path = tmp_path / "page.html"
    probed = page.replace("<style>", PROBE + "<style>", 1).replace("</body>", ACTIONS + "</body>")
    path.write_text(probed, encoding="utf-8")
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--disable-background-networking", "--no-first-run", "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--window-size={size}", "--virtual-time-budget=8000", "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1])), done.stderr


@pytest.mark.browser
@needs_browser
@pytest.mark.parametrize("size", ["1280,900", "390,844", "1920,1080"])
def test_in_a_browser(page, tmp_path, size):
    seen, log = browse(page, tmp_path, size)
    assert seen["problems"] == []
    assert "CONSOLE" not in log
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
    assert not seen["unpacked"] or seen["drawn"] >= 2
    assert seen["downloads"] == [["zero_shot.csv", "blob:"], ["chexpert.csv", "blob:"]]
    assert seen["signs"] or size.startswith("1920")
    assert all("wider" in name and "right" in name and shown == "block" for name, shown in seen["signs"])
    assert seen["frozen"] < 1
    assert seen["broken"] == 0
    assert seen["unnamed"] == 0
    assert seen["wider"] <= 0
    assert sorted(theme for theme, *_ in seen["themes"]) == ["dark", "light"]
    for _, ratio, where in seen["themes"]:
        assert ratio >= 4.5, where
