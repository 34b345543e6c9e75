"""The page, as text and in a real headless browser."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
import shutil
import time

import numpy as np
import pytest

from benchmark.cli import main
from benchmark.core.errors import BenchError
from benchmark.grid.layout import Project
from benchmark.reporting.explain import explain
from benchmark.reporting.joint import Scores
from benchmark.reporting.outputs import PartReport
from benchmark.reporting.site.content import write_site
from benchmark.reporting.site.explore import confusions
from benchmark.reporting.site.volumes import read_volumes
from benchmark.reporting.site.words import with_terms
from benchmark.reporting.story import explain_lines
from benchmark.stages.examples import chosen_examples


def unpacked(page: str, name: str) -> dict:
    found = re.search(rf'<script type="text/plain" id="{name}">(.*?)</script>', page, re.S)
    assert found
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def test_the_page_and_explain_tell_one_story(page, project):
    """Every line that `bench explain` prints of a main cell stands on the page, of every class."""
    stories = unpacked(page, "explored")["stories"]
    for cell, dataset, cls in (("carzero-main", "chexpert", "Edema"), ("clip-main", "chestxray14", None)):
        said = [list(line) for line in explain_lines(explain(Project(project), cell, dataset, cls))]
        shown = stories[cell][dataset]
        assert sorted(shown[cls or "macro"] + shown["shared"]) == sorted(said)
    explored = unpacked(page, "explored")
    story = dict(map(tuple, stories["carzero-main"]["chexpert"]["Edema"]))
    value, low, high = explored["auroc"]["carzero-main"]["chexpert"]["Edema"]
    assert story["AUROC"] == f"{value:.3f} [{low:.3f}, {high:.3f}]  SYNTHETIC TWIN"
    pairs = explored["pairs"]["clip-main|carzero-main"]["chexpert"]
    delta = next(row[1] for row in pairs if row[0] == "Edema")
    against = [text for what, text in stories["carzero-main"]["chexpert"]["Edema"] if what == "against"]
    assert any(text.startswith(f"clip-main: {-delta:+.3f}") for text in against)


def test_examples_of_other_weights_are_not_shown(page):
    examples = unpacked(page, "explored")["examples"]
    assert list(examples["sets"]) == ["chexpert"]
    assert examples["stale"] == ["chestxray14"]
    kind, place, image, of = examples["sets"]["chexpert"]["classes"]["Edema"][1]
    assert (kind, place, image, of["clip"]) == ("missed", 1, "i0002", [0.4])
    height, width, levels = of["carzero"][1]
    assert (height, width) == (4, 4)
    assert base64.b64decode(levels).hex() == "0123456789abcdef"


def test_examples_follow_their_rule():
    share = np.array([[0.9, 0.1], [0.2, 0.5], [0.8, 0.9], [0.5, 0.3]])
    labels = np.array([[1, 0], [1, 0], [0, -1], [0, 1]])
    assert chosen_examples(share, labels) == [
        (0, "found", 0), (0, "missed", 1), (0, "false alarm", 2), (1, "found", 3), (1, "false alarm", 1),
    ]  # fmt: skip


def test_confusions_are_counted_over_seeds():
    labels = np.array([[1, 0], [1, 1], [0, 1], [0, 0], [-1, 1]])
    right, wrong = [0.9, 0.8, 0.2, 0.1, 1.0], [0.9, 0.1, 0.8, 0.2, 1.0]
    scores = np.array([[right, right], [wrong, wrong]]).transpose(0, 2, 1)
    own = Scores(("a", "b"), labels, np.arange(5), scores, (0, 1), {})
    found = confusions(own)["a"]
    assert found[:4] == [1.5, 0.5, 0.5, 1.5]
    assert found[4] == [["b", 1.0, 0.5]]
    labels[3, 1] = -1
    again = confusions(Scores(("a", "b"), labels, np.arange(5), scores, (0, 1), {}))["a"]
    assert again[4] == [], "of both negatives of a only one is known to show b or not, and it does"


def test_terms_are_explained_where_they_stand():
    said = with_terms("Cells of one group <b>; the MDE, again MDE; excellent cells, subgroups and an upgrade")
    assert said.count('class="term"') == 3
    assert '<a class="term" href="#term-cell">Cells</a> of one' in said
    assert '<a class="term" href="#term-mde">MDE</a>, again MDE' in said
    assert "&lt;b&gt;" in said


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


def test_volumes_stand_on_the_page_as_their_files_say(page, project, root, tmp_path):
    """The tables of reports/ct, bold where they are, and both pictures; without them there is no section."""
    assert 'id="ct"' not in page
    work = tmp_path / "work"
    shutil.copytree(project, work)
    shutil.copytree(root / "reports" / "ct", work / "reports" / "ct")
    (work / "docs").mkdir(exist_ok=True)
    shutil.copy(root / "docs" / "ct-twin.jpg", work / "docs")
    made = write_site(PartReport(Project(work))).read_text(encoding="utf-8")
    section = html.unescape(made[made.index('<section id="ct"') : made.index('<section id="verdicts"')])
    csv_rows = (root / "reports" / "ct" / "overview.csv").read_text(encoding="utf-8").count("\n") - 1
    table = section[section.index('id="ct-overview"') : section.index('id="ct-claims"')]
    assert table.count("<tr>") == csv_rows + 1
    for line in (root / "reports" / "ct" / "summarisation.md").read_text(encoding="utf-8").splitlines():
        for bold in re.findall(r"\*\*([\d.]+ [^*]*)\*\* \|", line):
            assert f"<strong>{bold}</strong>" in section
    assert "\\" not in re.sub(r'src="[^"]*"', "", section)
    assert section.count("data:image/webp;base64,") == 2
    assert len(made) - len(page) < 400_000
    (work / "reports" / "ct" / "bank.md").write_text("# Bank\n\n| a | b |\n")
    with pytest.raises(BenchError, match=r"bank\.md"):
        read_volumes(Project(work))


ASKED = (
    ["verify", "--json"],
    ["explain", "carzero", "chexpert"],
    ["explain", "clip-main", "chexpert", "--json"],
)


def test_command(inside, capsys, monkeypatch):
    """Which also keeps what `bench verify` and `bench explain` find of the same results."""
    time.sleep(0.1)  # what changed a moment ago keeps no answer
    assert main(["report", "site", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"page": "reports/site/index.html"}
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.reporting.gather.Gathered.evidence", None)
        kept = [(main(words), capsys.readouterr().out) for words in ASKED]
    shutil.rmtree(inside / ".cache" / "answers")
    assert kept == [(main(words), capsys.readouterr().out) for words in ASKED]
