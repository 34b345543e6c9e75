from __future__ import annotations

import base64
import gzip
import zipfile
import zlib

import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmark.core.errors import DataError
from benchmark.core.tables import write_table
from benchmark.prompts.lexicon import load_lexicon
from benchmark.prompts.sections import openi_report, selected_text
from tests.canary import PHRASES, leaks, plant, plant_folder


def test_planted_reports_still_read_and_hold_the_phrases():
    text = "FINDINGS: Clear lungs.\n\nIMPRESSION: Normal."
    xml = '<e><uId id="CXR1"/><AbstractText Label="IMPRESSION">Normal.</AbstractText></e>'
    for planted in (plant(text), plant("just text"), plant(xml)):
        assert all(phrase in selected_text(planted) for phrase in PHRASES)
    assert openi_report(plant(xml).encode()).sections["impression"].endswith("Normal.")


def test_every_form_of_a_file_is_searched(tmp_path):
    phrase = PHRASES[0]
    (tmp_path / "log.txt").write_text(f"aligned: {phrase.upper().replace(' ', '_')}")
    (tmp_path / "a.gz").write_bytes(gzip.compress(phrase.encode()))
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/y.json", phrase * 50)
    write_table(tmp_path / "c.parquet", pd.DataFrame({"text": [phrase]}), {})
    write_table(tmp_path / "d.parquet", pd.DataFrame({"n": [1]}), {"note": phrase})
    (tmp_path / "e.pdf").write_bytes(b"%PDF-1.4\nstream\n" + zlib.compress(phrase.encode()) + b"\nendstream")
    note = PngInfo()
    note.add_text("Description", phrase, zip=True)
    Image.new("L", (4, 4)).save(tmp_path / "f.png", pnginfo=note)
    Image.new("L", (4, 4)).save(tmp_path / "g.jpg", comment=phrase.upper())
    for name, data in (
        ("h.html", (tmp_path / "f.png").read_bytes()),
        ("i.html", gzip.compress(phrase.encode() * 9)),
    ):
        (tmp_path / name).write_text(f"<img src='data:image/png;base64,{base64.b64encode(data).decode()}'>")
    (tmp_path / "clean.txt").write_text(" ".join(reversed(phrase.split())))
    found = {leak.path.name for leak in leaks(tmp_path)}
    others = {"log.txt", "a.gz", "b.zip", "e.pdf", "f.png", "g.jpg", "h.html", "i.html"}
    assert found == {*others, "c.parquet", "d.parquet"}
    assert {leak.path.name for leak in leaks(tmp_path, allowed=["*.parquet"])} == others


def test_folders_are_planted_whole(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "s1.txt").write_text("FINDINGS: a.")
    assert plant_folder(tmp_path) == 1
    assert leaks(tmp_path)
    with pytest.raises(DataError, match="no .txt or .xml"):
        plant_folder(tmp_path / "none")


def test_no_concept_has_the_words_of_a_phrase():
    said = " ".join(f"{c.name} {' '.join(c.synonyms)}" for c in load_lexicon().concepts.values()).lower()
    assert not [w for phrase in PHRASES for w in phrase.split() if w in said.split()]
