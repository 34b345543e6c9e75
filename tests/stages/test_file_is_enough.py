"""A reader, encoders and an aligner of an installed package reach a trained and evaluated cell; nothing else
is touched."""

from __future__ import annotations

import re
from importlib import invalidate_caches
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from benchmark.core.files import read_json
from benchmark.core.tables import read_table
from benchmark.data.readers import READERS
from benchmark.encoders.cards import ENCODERS
from benchmark.prompts.aligned import ALIGNERS

pytestmark = pytest.mark.filterwarnings("ignore")

PAGE = Path(__file__).parents[2] / "docs" / "add-a-dataset.md"
OFFERS = """[cxr_alignbench.readers]
lines = ward_plugin:read
[cxr_alignbench.encoders]
plug-pixels = tests.encoders.tiny:Pixels
plug-words = tests.encoders.tiny:Words
[cxr_alignbench.aligners]
plain = ward_plugin:Plain
"""
CODE = '''
import pandas as pd
from benchmark.data.readers.common import Log, manifest
from benchmark.prompts.aligned import Statement

def read(root, card):
    """lines.txt: image, person, then 0 or 1 of each class of the card."""
    rows = [line.split() for line in (root / "lines.txt").read_text().splitlines()]
    meta = pd.DataFrame({
        "image_id": [r[0] for r in rows], "path": [r[0] for r in rows], "patient_id": [r[1] for r in rows],
        "split": "test", "view": "PA",
    })
    labels = {c: pd.array([int(r[2 + k]) for r in rows], "Int8") for k, c in enumerate(card.classes)}
    return manifest(root, card, meta, labels, Log(), table=root / "lines.txt")

class Plain:
    hash = "plain-1"
    def statements(self, sentence):
        return (Statement("cardiomegaly", "present"),) if "heart" in sentence else ()
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package as pip leaves it: a module, and its offers beside it."""
    about = tmp_path / "site" / "ward_plugin-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ward-plugin\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(OFFERS)
    (tmp_path / "site" / "ward_plugin.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    invalidate_caches()
    for registry in (READERS, ENCODERS, ALIGNERS):
        monkeypatch.setattr(registry, "_found", None)


@pytest.fixture
def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of the page's dataset in a layout that only the plug-in reads, and its card."""
    card, prompts = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)[:2]
    about = yaml.safe_load(card)
    del about["table"]
    folder, root = tmp_path / "cards" / "ward7", tmp_path / "ward7"
    folder.mkdir(parents=True)
    root.mkdir()
    (folder / "card.yaml").write_text(yaml.safe_dump({**about, "reader": "lines"}, sort_keys=False))
    (folder / "prompts.yaml").write_text(prompts)
    monkeypatch.setenv("CXR_ALIGNBENCH_DATASETS", str(tmp_path / "cards"))
    rng, lines = np.random.default_rng(0), []
    for n in range(24):
        cv2.imwrite(str(root / f"{n}.png"), rng.integers(0, 256, (16, 16), dtype=np.uint8))
        lines.append(f"{n}.png p{n // 2} {n % 2} {n % 3 // 2}")
    (root / "lines.txt").write_text("\n".join(lines))
    return root


def test_a_cell_of_a_plugged_in_reader_and_encoders(package, ward, fresh_copy, bench) -> None:
    arguments = ["run", "--method", "clip", "--dataset", "ward7", "--data-root", str(ward), "--seeds", "0"]
    for item in ("encoders.image=plug-pixels", "encoders.text=plug-words", "training.epochs=1"):
        arguments += ["--set", item]
    code, out, err = bench(fresh_copy, *arguments)
    assert code == 0, err
    assert "24 images of 12 patients, 2 classes" in out
    (path,) = (fresh_copy / "results").glob("clip*/seed-0/ward7-official/metrics.parquet")
    frame, _ = read_table(path)
    assert set(frame["encoder"]) == {"plug-pixels+plug-words"}
    assert frame[(frame["metric"] == "auroc") & (frame["class"] == "macro")]["value"].notna().any()
    (run,) = (fresh_copy / "runs").glob("clip*/seed-0/run.json")
    assert (read_json(run)["image_dim"], read_json(run)["text_dim"]) == (5, 6)

    (ward / "lines.txt").write_text((ward / "lines.txt").read_text().replace(" p0 0", " p0 1"))
    code, _, err = bench(fresh_copy, *arguments)
    assert code == 0, err
    assert "made again: data changed" in err, "what the plug-in reads is part of the key"
    assert "seed 0: reused" in err, "and no training is made again for it"
    changed, _ = read_table(path)
    assert not pd.DataFrame.equals(frame, changed)


def test_reports_are_aligned_by_a_plugged_in_aligner(package, tmp_path, bench) -> None:
    (tmp_path / "a.txt").write_text("FINDINGS: The heart is large. The lungs are clear.")
    out = tmp_path / "aligned.parquet"
    code, _, err = bench(tmp_path, "prompts", "align", "a.txt", "--aligner", "plain", "--out", str(out))
    assert code == 0, err
    frame, about = read_table(out)
    assert frame[frame["concept"].notna()]["aligned"].tolist() == ["There is cardiomegaly"]
    assert (about["aligner"], about["aligner_hash"]) == ("plain", "plain-1")
    code, said, _ = bench(tmp_path, "ls", "aligners")
    assert code == 0
    assert "plain" in said
