"""Every command of README.md and docs/ is run in a small project, or is listed below with the reason why not.

A command that is neither fails the test, and so does a listed one that no page shows any more.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmark.cli import main
from benchmark.core.tables import Manifest
from benchmark.data.cards import load_card
from benchmark.data.dataset import evaluation_set
from benchmark.evaluation.statistics import pilots
from benchmark.twins.build import WRITERS
from benchmark.twins.ct.catalogue import SITES

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

NOT_RUN = {
    "make reproduce": "builds the environment from the package index, then takes half an hour",
    "make grid": "builds the environment from the package index, then takes an hour",
    "make test": "builds the environment from the package index, then runs this very suite",
    "make fuzz": "tries a hundred thousand inputs; tests/fuzz tries some",
    'make fuzz FUZZ="--inputs 1000000 --processes 8 --minutes 60"': "as above, for an hour",
    'make fuzz FUZZ="--only DICOM JPEG --inputs 20000"': "as above, for minutes",
    "make places": "builds the environment from the package index; tests/stages/test_places.py does its part",
    "make chaos": "kills a hundred runs; tests/chaos kills some",
    "bench data check ct_rate --data-root /data/CT-RATE": "needs the volumes; tests/data has some",
    "python perf/twin_realism.py --reports NLMCXR_reports.tgz --boxes BBox_List_2017.csv --det test.json": (
        "needs the official files of boxes"
    ),
    "make docs": "builds the environment from the package index; a step of CI",
    "make understanding": "needs every trained method; its parts are run by tests/evaluation",
    'bench map data/twins/chestxdet10/test_data/NAME.png "There is pleural effusion" --method radzero': (
        "needs a trained method; tests/stages/test_tasks.py runs it"
    ),
    'bench map data/twins/ct_rate/dataset/…/NAME.nii.gz "There is consolidation" --method carzero': (
        "needs a training on volumes; tests/evaluation/test_volume_maps.py does its parts"
    ),
    "bench stage transfer": "needs every trained method; tests/stages/test_tasks.py runs it",
    "bench stage gallery": "needs every trained method; tests/stages/test_tasks.py runs it",
    "make smoke": "builds the environment from the package index; a job of CI of its own",
    "pip install 'cxr-alignbench[cluster]'": "needs the package index",
    "pip install .": "installs the package of the page; tests/stages/test_plugin.py does it",
    "dvc repro": "runs the whole grid; `make smoke` runs it at the smallest size in CI",
    "dvc exp run -S training.epochs=3": "runs the whole grid",
    "dvc exp run tables -S training.epochs=3": "runs the main tables",
    "bench run --method all --dataset main --set training.epochs=20": "trains every main cell for minutes",
    "dvc exp show": "needs an experiment, which is a run of the grid",
    "bench run --method carzero --dataset chestxray14 --profile official": "trains on credentialed data",
    "mlflow ui --backend-store-uri sqlite:///mlflow.db": "a server that runs until it is stopped",
    "bench prompts align REPORTS --aligner llm --out aligned.parquet": "needs a local language model",
    "pytest -m llm": "needs a local language model",
    "python -m perf.calm curves": "two trainings; tests/perf runs its parts",
    "python -m perf.calm trainings": "four trainings; tests/perf runs its parts",
    "pytest -m slurm": "needs Debian's slurm-wlm and munge",
    "pytest -m ray": "needs ray",
    "pytest -m stores": "needs PostgreSQL, moto and dvc-s3",
    "python -m tests.stages.slurm_node FOLDER": "needs Debian's slurm-wlm and munge",
    "python -m perf.rounding": "twenty-two trainings; tests/perf runs its parts",
    "python -m perf.simulate_plans": "simulates for minutes; tests/evaluation runs it small",
    "python -m perf.simulate_statistics": "simulates for an hour; tests/evaluation runs it small",
    "pip install 'cxr-alignbench[dicom]'": "needs the package index",
    "pip install 'cxr-alignbench[exchange]'": "needs the package index",
    "pip install 'cxr-alignbench[page]'": "needs the package index",
    "bench export padchest --as croissant --out padchest.json": (
        "needs the extra `exchange`; tests/exchange runs it where that is installed"
    ),
    "bench score ours.csv --labels labels.csv --id study --id VolumeName": (
        "tests/score/test_files_that_people_have.py runs it on such files"
    ),
    "bench plan carzero clip --dataset padchest --stratum tail --difference 0.05 --figure power.png": (
        "plans from results of another set; tests/reporting/test_plan.py does it"
    ),
    "bench report attribution": (
        "needs a cell for each combination of ingredients; tests/reporting/test_attribution.py runs it"
    ),
    "bench report ablations": (
        "needs ablation cells with results; tests/reporting/test_ablations.py runs it"
    ),
    "bench report checklist > checklist.md": "writes by the shell; tests/reporting/test_checklist.py runs it",
    "make perf-check": "builds the environment from the package index; tests/perf runs its parts",
    "python perf/check.py": "a measurement of minutes",
    "python perf/gradients.py": "a measurement of minutes",
    "python perf/ratios.py --record": "a measurement of minutes",
    "python perf/scale.py": "a measurement of minutes",
    "python perf/step.py": "a measurement of a minute",
    "python perf/spread.py": "needs every main cell under two budgets",
    "python perf/scale.py --million": "a measurement of minutes",
    "python perf/scale.py --works scoring --methods clip": "a measurement of a minute",
    "python perf/paper.py": "counts a large model; tests/perf counts a small one",
    "python perf/answers.py --run": "a measurement of minutes",
    "python perf/answers.py --run --first": "a measurement of minutes",
    "bench explain carzero padchest": "a row of a table of times; the page of the guide's set is run",
    "python perf/curves.py": "trainings of hours",
    "python perf/numerics.py": "a measurement of minutes",
    "python perf/numerics.py --fingerprint --emulate Haswell EPYC": "needs qemu-user",
    "python perf/intervals.py": "a measurement of minutes",
    "bench run --method clip --checkpoint FILE": "an option in a sentence; tests/official reads such a file",
    (
        "bench run --method brgsa --checkpoint brgsa.ckpt --tokenizer DIR --dataset ct_rate --protocol brgsa "
        "--data-root DIR"
    ): "needs volumes; tests/official/test_brgsa_checkpoint.py runs it",
    (
        "bench run --method clip --checkpoint CT-CLIP_v2.pt --tokenizer DIR --dataset ct_rate "
        "--protocol ct-clip --data-root DIR"
    ): "needs volumes; tests/official/test_ct_clip.py runs it",
    "bench run --method brgsa --dataset ct_rate": "trains for minutes on hundreds of volumes",
    "bench run --method carzero --dataset ct_rate": "as above",
    "bench run --method all --dataset rad_chestct --seeds 0": "as above, six times",
    "make ct": "builds the environment from the package index, then trains for most of an hour",
    "bench stage ct": "trains for most of an hour; tests/stages/test_places.py runs it small",
    "pip install 'cxr-alignbench[astra]'": "needs the package index",
    "pip install 'cxr-alignbench[lora]'": "needs the package index",
    "bench stage encoders": "trains for most of an hour; tests/stages/test_own_encoders.py runs it small",
    "bench stage robustness": "trains every method under ten settings; tests/reporting/test_robustness.py",
    "bench stage robustness --setting width-32": "trains every method; as above",
    "bench stage robustness --report": "needs every trained main cell; as above",
    "bench stage cells labels": "a method that the small grid lacks; tests/prompts",
    "bench stage cells main": "trains every main cell; `make smoke` runs it at the smallest size in CI",
    "bench run --method clip --dataset ct_rate --seeds 0 --set ct.image=astra": "needs the extra `astra`",
    "python perf/twins.py ct_rate --images 4 --size 160": "a measurement",
    "python perf/twins.py": "a measurement of minutes",
    "bench data twin ct_rate --sheet sheet.jpg": "draws for a minute; tests/twins draws a small one",
    "python -m benchmark.twins.ct.contact_sheet --out sheet.jpg": "draws for a minute; see tests/twins",
}
NAMES = {
    "bench submit", "bench submit BUNDLE --quoted",
    "bench run", "bench map", "bench score", "bench parity", "bench prompts show",
    "bench run --set training.epochs=3", "bench init",
    "bench data check", "bench data check NAME --data-root DIR", "bench check method",
    "bench check method NAME",
}  # fmt: skip
"""Inline code that names a command without its arguments; full lines of these are run."""
PROGRAMS = ("bench", "make", "dvc", "mlflow", "python", "pytest", "torchrun", "pip", "export")


def documented(root: Path) -> dict[str, str]:
    """Command → the first page that shows it, from fenced blocks and inline code, in order."""
    found: dict[str, str] = {}
    for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```(?:\w*)\n(.*?)```", text, re.S)
        lines = [line for block in blocks for line in block.splitlines()]
        inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
        for line in [*lines, *(code for code in inline if " " in code)]:
            command = re.sub(r"\s+", " ", line.partition(" #")[0]).strip()
            if command.split(" ")[0] in PROGRAMS:
                found.setdefault(command, page.name)
    return found


ROOT = Path(__file__).resolve().parents[2]
COMMANDS = documented(ROOT)


@pytest.fixture(scope="module")
def guide(small_project, root, tmp_path_factory) -> Path:
    """The small project with trained cells, summaries, git, and the files that the pages name."""
    home = tmp_path_factory.mktemp("guide") / "project"
    shutil.copytree(small_project, home, ignore=shutil.ignore_patterns("runs", "results", "mlflow.db"))
    params = yaml.safe_load((home / "params.yaml").read_text())
    params["seeds"], params["training"]["epochs"] = [0], 1
    params["methods"] = ["clip", "carzero"]
    params["tuning"]["trials"] = 1
    whole = yaml.safe_load((root / "params.yaml").read_text())
    params["profiles"] = {"official": whole["profiles"]["official"]}
    made = params["twins"]["images"]
    params["twins"]["images"] = {**dict.fromkeys(WRITERS.names(), 40), "padchest": 60, **made}
    params["twins"].update(size=96, side=32, volumes=dict.fromkeys(SITES, 8))
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    shutil.copy(root / "dvc.yaml", home)
    shutil.copytree(root / "reports", home / "reports", ignore=shutil.ignore_patterns("tables"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_ALIGNBENCH_HOME", str(home))
        assert main(["stage", "cells", "main", "--jobs", "1"]) == 0
        for part in ("main", "all"):
            assert main(["stage", "summarise", part]) == 0
        assert main(["report", "tables", "--part", "main"]) == 0
        assert main(["stage", "prepare", "padchest"]) == 0
        assert main(["stage", "prepare", "padchest"]) == 0
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    (home / ".gitignore").write_text("/data/\n/runs/\n/results/\n.cache/\n/mlflow.db\n/mlartifacts/\n")
    for command in (
        ["init", "-q"],
        ["add", "params.yaml", "dvc.yaml", ".gitignore"],
        [*who, "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *command], cwd=home, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=home, check=True)
    write_predictions(home)
    write_reports(home)
    write_ward(home, root)
    write_checkpoint(home)
    write_about(home, root)
    write_models(home, root)
    return home


def write_predictions(home: Path) -> None:
    manifest = Manifest.load(home / "data" / "prepared" / "padchest")
    rng = np.random.default_rng(0)
    ids = manifest.frame[["image_id", "patient_id"]].reset_index(drop=True)
    labels = (rng.random((len(ids), 2)) < 0.4).astype(int)
    pd.concat([ids, pd.DataFrame(labels, columns=["a", "b"])], axis=1).to_csv(
        home / "labels.csv", index=False
    )
    for name in ("predictions.csv", "theirs.csv", "ours.parquet"):
        scores = pd.DataFrame(labels + rng.normal(size=labels.shape), columns=["a", "b"])
        frame = pd.concat([ids[["image_id"]], scores], axis=1)
        frame.to_parquet(home / name) if name.endswith("parquet") else frame.to_csv(home / name, index=False)
    chosen = evaluation_set(manifest, load_card("padchest"))
    whole = pd.DataFrame(rng.normal(size=chosen.labels.shape), columns=list(chosen.classes))
    pd.concat([chosen.frame[["image_id"]], whole], axis=1).to_csv(home / "scores.csv", index=False)


def write_reports(home: Path) -> None:
    """reports/: a text file as MIMIC-CXR has it; NLMCXR_reports.tgz: two reports of Open-I; train.csv:
    reports with labels beside them, as CT-CLIP has them."""
    (home / "train.csv").write_text("AccessionNo,report_text,Emphysema\na,Emphysema.,1\nb,No nodule.,0\n")
    report = sorted((home / "data" / "twins" / "mimic_cxr").rglob("s*.txt"))[0]
    shutil.copy(report, home / "reports" / "s50414267.txt")
    xml = (
        '<?xml version="1.0"?><eCitation><uId id="CXR{0}"/><MedlineCitation><Article><Abstract>'
        '<AbstractText Label="FINDINGS">There is a small left pleural effusion.</AbstractText>'
        '<AbstractText Label="IMPRESSION">Cardiomegaly.</AbstractText></Abstract></Article>'
        "</MedlineCitation><MeSH><major>Cardiomegaly</major></MeSH></eCitation>"
    )
    with tarfile.open(home / "NLMCXR_reports.tgz", "w:gz") as archive:
        for number in (1, 2):
            path = home / f"{number}.xml"
            path.write_text(xml.format(number))
            archive.add(path, f"ecgen-radiology/{number}.xml")
            path.unlink()


def write_ward(home: Path, root: Path) -> None:
    """What docs/add-a-dataset.md shows, with films from the twin and enough rows for two classes."""
    card, prompts = re.findall(r"```yaml\n(.*?)```", (root / "docs" / "add-a-dataset.md").read_text(), re.S)[
        :2
    ]
    folder = home / "my-cards" / "ward7"
    folder.mkdir(parents=True)
    (folder / "card.yaml").write_text(card)
    (folder / "prompts.yaml").write_text(prompts)
    (home / "ward7" / "films").mkdir(parents=True)
    images = sorted((home / "data" / "twins" / "chestxray14").rglob("*.png"))[:12]
    rows = ["file,person,view,set,Cardiomegaly,Pleural Effusion"]
    for number, image in enumerate(images):
        shutil.copy(image, home / "ward7" / "films" / f"a{number:03d}.png")
        rows.append(f"a{number:03d}.png,p{number},PA,test,{number % 2},{(number // 2) % 2}")
    (home / "ward7" / "labels.csv").write_text("\n".join(rows) + "\n")


def write_about(home: Path, root: Path) -> None:
    """about.yaml and claims.yaml as the pages show them, and the key that openssl makes."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    text = (root / "docs" / "exchange.md").read_text()
    table = (root / "docs" / "paper-table.md").read_text()
    claims = re.findall(r"```yaml\n(.*?)```", table, re.S)[0]
    (home / "claims.yaml").write_text(claims.replace(", printed: 0.763", ""))
    (home / "about.yaml").write_text(re.findall(r"```yaml\n(.*?)```", text, re.S)[0])
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (home / "key.pem").write_bytes(Ed25519PrivateKey.generate().private_bytes(*form))


def write_checkpoint(home: Path) -> None:
    """A small checkpoint under CARZero's official names and a tokenizer to go with it."""
    import torch

    from tests.official.official_checkpoints import carzero_state, tokenizer

    tokenizer(home / "DIR", 60)
    torch.save({"state_dict": carzero_state(60)}, home / "best_model.ckpt")


def write_models(home: Path, root: Path) -> None:
    """models/: tiny models in the official layouts; my-encoders/: the card that the page shows."""
    from tests.encoders import tiny_models as tiny

    for kind in ("siglip", "clip", "bert"):
        (home / "models" / kind).mkdir(parents=True)
        getattr(tiny, kind)(home / "models" / kind)
    tiny.vision(home / "models" / "dinov2", "Dinov2")
    tiny.open_clip_folder(home / "models" / "open-clip")
    card = re.findall(r"```yaml\n(.*?)```", (root / "docs" / "bring-your-model.md").read_text(), re.S)[0]
    (home / "my-encoders").mkdir()
    (home / "my-encoders" / "ward-dinov2.yaml").write_text(card)


def arguments(command: str, home: Path, official: Path) -> list[str]:
    """The command with the small project's files in the place of what the reader would name."""
    twins = home / "data" / "twins"
    words = shlex.split(command)
    for place, option in enumerate(words[:-1]):
        if option == "--data-root" and words[place + 1] == "DIR":
            words[place + 1] = str(twins / words[words.index("--dataset") + 1])
    put = {
        "/data/ChestX-ray14": twins / "chestxray14",
        "/data/PadChest": twins / "padchest",
        "/data/padchest": twins / "padchest",
        "FIXTURES": official / "clip",
        "tests/official/fixtures": official,
        "METHOD": "clip",
        "2000": "20",
    }
    return [str(put.get(word, word)) for word in words]


def test_the_lists_hold_no_command_that_no_page_shows() -> None:
    assert (set(NOT_RUN) | NAMES) - set(COMMANDS) == set()
    assert len(COMMANDS) > 40


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in NAMES])
def test_documented_command(command, guide, official, monkeypatch, capfd, request) -> None:
    reason = NOT_RUN.get(command)
    if "--cluster slurm" in command and "--dry-run" not in command:
        reason = "needs a Slurm cluster"
    if "--cluster ray" in command:
        reason = "needs a Ray cluster"
    if reason is not None:
        pytest.skip(f"{COMMANDS[command]}: {command}: {reason}")
    monkeypatch.chdir(guide)
    monkeypatch.setenv("CXR_ALIGNBENCH_DATASETS", "my-cards")
    monkeypatch.setenv("CXR_ALIGNBENCH_ENCODERS", "my-encoders")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(pilots, "SAMPLES", (30, 30))  # of `bench plan`; tests/evaluation judges its plans
    words = arguments(command, guide, official)
    if words[0] == "export":
        name, _, value = words[1].partition("=")
        assert os.environ[name] == value
        return
    if command.startswith("bench stage profile"):
        monkeypatch.chdir(copy_of_params(guide))
        monkeypatch.setenv("CXR_ALIGNBENCH_DATASETS", str(guide / "my-cards"))
        monkeypatch.setenv("CXR_ALIGNBENCH_ENCODERS", str(guide / "my-encoders"))
    if "sharp" in words:
        request.getfixturevalue("sharp")
    if words[0] == "bench":
        code = main(words[1:])
    else:
        programs = {"python": [sys.executable], "dvc": [sys.executable, "-m", "dvc"],
                    "torchrun": [sys.executable, "-m", "torch.distributed.run"]}  # fmt: skip
        code = subprocess.run([*programs[words[0]], *words[1:]], timeout=400).returncode
    out, err = capfd.readouterr()
    allowed = {0, 1} if words[:2] == ["bench", "doctor"] or words[1:3] == ["data", "check"] else {0}
    assert code in allowed, err[-2000:]
    assert "Traceback" not in err
    assert out.strip() or words[0] == "torchrun"


def copy_of_params(guide: Path) -> Path:
    folder = guide / "scratch"
    folder.mkdir(exist_ok=True)
    shutil.copy(ROOT / "params.yaml", folder)
    return folder


@pytest.fixture
def sharp(monkeypatch, tmp_path):
    """The method of docs/add-a-method.md, offered by an entry point as an installed package is."""
    from methods.base import METHODS

    page = (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
    (tmp_path / "sharp_method.py").write_text(page.split("```python\n")[1].split("```")[0], encoding="utf-8")
    info = tmp_path / "sharp_method-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sharp-method\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cxr_alignbench.methods]\nsharp = sharp_method:Sharp\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(METHODS, "_found", None)
    monkeypatch.setattr(METHODS, "_registered", dict(METHODS._registered))
    yield
    sys.modules.pop("sharp_method", None)
