"""What was made from other settings, files or code is made again, and says what changed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.core.files import read_json
from benchmark.grid.layout import Project
from benchmark.grid.request import Request, plan

pytestmark = pytest.mark.filterwarnings("ignore")

RUN = ("run", "--method", "clip", "--dataset", "chestxray14", "--seeds", "0")
Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture
def trained(small_project: Path, tmp_path: Path, bench: Bench) -> Path:
    """A copy of the small project in which the main cell of CLIP alone is trained and evaluated (seed 0)."""
    code, _, err = bench(small_project, *RUN)
    assert code == 0, err
    home = tmp_path / "trained"
    shutil.copytree(small_project, home, ignore=shutil.ignore_patterns("clip-main-*"))
    return home


def auroc(out: str) -> float:
    wanted = {"class": "macro", "stratum": "all", "metric": "auroc"}
    return next(m["value"] for m in json.loads(out)["metrics"] if wanted.items() <= m.items())


def test_all_is_reused_and_every_part_says_so(trained: Path, bench: Bench) -> None:
    """And said again without torch as long as nothing changes."""
    code, _, err = bench(trained, *RUN)
    assert code == 0
    for line in ("mimic_cxr: reused 160 images", " reports, reused", "clip-main seed 0: reused"):
        assert line in err
    assert "again" not in err
    time.sleep(0.1)  # what changed a moment ago keeps no answer, as now the copy's runs of MLflow
    code, out, err = bench(trained, *RUN)
    words = f"""from benchmark.cli import main
import sys
main({RUN!r})
print(*{{'torch', 'pandas'}} & {{*sys.modules}})"""
    again = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert (again.stdout, again.stderr) == (f"{out}\n", err)


def test_a_finished_run_computes_its_summary_once(trained: Path, bench: Bench, monkeypatch) -> None:
    """Without its kept answer too; and anew where what computes it is another one."""
    asked = (*RUN, "--json")
    _, before, _ = bench(trained, *asked)

    def refused(*_: object) -> None:
        raise AssertionError("the summary was computed again")

    monkeypatch.setattr("benchmark.reporting.run_summary.summarise", refused)
    shutil.rmtree(trained / ".cache" / "answers", ignore_errors=True)
    code, out, err = bench(trained, *asked)
    assert (code, out) == (0, before), err
    monkeypatch.setattr("benchmark.stages.code.version", lambda name: f"another {name}")
    shutil.rmtree(trained / ".cache" / "answers", ignore_errors=True)
    code, _, err = bench(trained, *asked)
    assert (code, "AssertionError" in err) == (70, True)


def test_another_rule_for_texts_trains_on_other_texts(trained: Path, bench: Bench) -> None:
    before = (trained / "data/texts/mimic_cxr/findings+impression/aligned.parquet").read_bytes()
    others = set((trained / "runs").glob("clip-main-*/seed-0/run.json"))  # of tests that shared the project
    code, _, err = bench(trained, *RUN, "--set", "texts.rule=impression")
    assert code == 0, err
    run = read_json(trained / "runs/clip-main/seed-0/run.json")
    (other,) = set((trained / "runs").glob("clip-main-*/seed-0/run.json")) - others
    assert read_json(other)["text_key"] != run["text_key"]
    assert read_json(other)["model_sha256"] != run["model_sha256"]
    assert (trained / "data/texts/mimic_cxr/findings+impression/aligned.parquet").read_bytes() == before


def test_a_twin_of_another_size_has_a_folder_of_its_own(trained: Path, bench: Bench) -> None:
    twin = sorted(p.name for p in (trained / "data/twins/chestxray14").rglob("*.png"))
    code, _, err = bench(trained, *RUN, "--set", "twins.images.chestxray14=80")
    assert code == 0, err
    assert "chestxray14: 80 images" in err
    assert sorted(p.name for p in (trained / "data/twins/chestxray14").rglob("*.png")) == twin
    code, _, err = bench(trained, *RUN)
    assert "chestxray14: reused 160 images" in err
    assert "again" not in err


TRAINING = [
    "data.validation=0.3",
    "data.train_views=[PA]",
    "data.train_images=100",
    "texts.negations=drop",
    "training.epochs=1",
    "method.clip.options.width=16",
    "encoders.precision=float32",
    "numerics=native",
    "twins.images.mimic_cxr=100",
]
EVALUATION = [
    "prompts.style=name",
    "statistics.level=0.9",
    "data.protocols.chestxray14=nih",
    "twins.images.chestxray14=80",
    "prompt_ablation={methods: [clip], datasets: [chestxray14], prompts: [{style: name}]}",
]
NEITHER = [
    "training.checkpoint_seconds=1",
    "tuning.trials=3",
    "seeds=[0]",
    "data.evaluate=[padchest]",
    "data.ablate_on=[openi]",
    "twins.images.padchest=80",
]


@pytest.mark.parametrize("change", [*TRAINING, *EVALUATION, *NEITHER])
def test_every_change_has_a_name_of_its_own(small_project: Path, change: str) -> None:
    """A change of training is a cell of its own; one of evaluation rests on the configured training."""
    project = Project(small_project)

    def name(*sets: str) -> str:
        return plan(project, Request("clip", "chestxray14", sets=sets)).cells[0].name

    trained, _, evaluated = name(change).partition("~")
    assert name() == "clip-main"
    assert (trained != "clip-main") == (change in TRAINING)
    assert bool(evaluated) == (change in EVALUATION)
    assert project.run(name(change), 0).parent.name == trained


def test_another_share_of_validation_overwrites_nothing(trained: Path, bench: Bench) -> None:
    before = (trained / "runs/clip-main/seed-0/run.json").read_bytes()
    results = (trained / "results/clip-main/seed-0/chestxray14/metrics.parquet").read_bytes()
    code, out, err = bench(trained, *RUN, "--set", "data.validation=0.3")
    assert code == 0, err
    assert "\n  clip-main-" in out, "the table says that this is not the configured cell"
    code, out, err = bench(trained, *RUN, "--protocol", "nih")
    assert code == 0, err
    assert re.search(r"clip-main~\w+ seed 0: reused", err), "only the evaluation is another one"
    assert re.search(r"\n  clip-main~\w+ ", out)
    assert (trained / "runs/clip-main/seed-0/run.json").read_bytes() == before
    assert (trained / "results/clip-main/seed-0/chestxray14/metrics.parquet").read_bytes() == results


def move_labels(home: Path) -> None:
    """Give every image of the CheXNet list the labels of the next one; all counts stay as they are."""
    path = home / "data/twins/chestxray14/CheXNet/test_list.txt"
    rows = [line.split(" ", 1) for line in path.read_text().splitlines()]
    labels = [row[1] for row in rows]
    moved = [f"{name} {label}\n" for (name, _), label in zip(rows, labels[1:] + labels[:1], strict=True)]
    path.write_text("".join(moved))


def test_labels_that_moved_on_disk_are_read_and_evaluated_again(trained: Path, bench: Bench) -> None:
    before = auroc(bench(trained, *RUN, "--json")[1])
    move_labels(trained)
    code, out, err = bench(trained, *RUN, "--json")
    assert code == 0, err
    assert "chestxray14: 160 images" in err
    assert "made again: data changed" in err
    assert "clip-main seed 0: reused" in err, "labels of an evaluation set train nothing"
    assert auroc(out) != before


def test_a_corrected_report_is_aligned_and_trained_again(trained: Path, bench: Bench) -> None:
    report = sorted((trained / "data/twins/mimic_cxr").rglob("s*.txt"))[1]
    report.write_text("FINDINGS: There is a large left pleural effusion.\n")
    code, _, err = bench(trained, *RUN)
    assert code == 0, err
    assert "made again: reports changed" in err
    assert "clip-main seed 0: trained again (data changed)" in err


def test_altered_weights_are_noticed(trained: Path, bench: Bench) -> None:
    weights = trained / "runs/clip-main/seed-0/model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    code, _, err = bench(trained, *RUN)
    assert code == 0
    assert "clip-main seed 0: trained again (files changed)" in err
    assert weights.read_bytes() == whole


@pytest.mark.parametrize("left", ['{"trained_on": "padchest"}', '{"trained_on": "pad', None])
def test_where_a_run_was_trained_is_said_of_this_run(trained: Path, bench: Bench, left: str | None) -> None:
    """A training that is killed once its weights are written leaves the record of the one before, on another
    dataset maybe."""
    source = trained / "runs/clip-main/seed-0/source.json"
    own = source.read_bytes()
    source.unlink()
    if left is not None:
        source.write_text(left)
    code, _, err = bench(trained, *RUN)
    assert code == 0, err
    assert "clip-main seed 0: reused" in err
    assert source.read_bytes() == own


@pytest.mark.parametrize("name", ["encoder_learning_rate=0.5", "encoder_chunk=4"])
def test_a_setting_that_nothing_uses_is_refused(trained: Path, bench: Bench, name: str) -> None:
    before = sorted(str(p) for p in trained.rglob("*"))
    for key in ("training", "method.clip.training"):
        code, out, err = bench(trained, *RUN, "--set", f"{key}.{name}")
        assert (code, out) == (2, "")
        assert "acts on encoders that are fine-tuned" in err
        assert len(err.strip().splitlines()) == 1
    assert sorted(str(p) for p in trained.rglob("*")) == before
