"""A project with results, made by the real statistics from simulated scores: no training, no images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.core.files import write_json
from benchmark.core.hashing import hash_file
from benchmark.core.tables import Manifest, Predictions, ScoresRecord, write_table
from benchmark.data.cards import load_card
from benchmark.data.dataset import evaluation_set
from benchmark.evaluation.comparison import (
    Comparison,
    Run,
    compare,
    over_seeds,
    ranking,
    summarise_runs,
)
from benchmark.evaluation.evaluate import StatisticsConfig, evaluate
from benchmark.evaluation.evaluation_data import subgroups_of
from benchmark.evaluation.floor import against_floor
from benchmark.evaluation.statistics.metric_values import RowIdentity
from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from benchmark.reporting.table import Table
from benchmark.stages.summarise import Summary, settings_of

STRENGTH = {"clip-main": 0.4, "carzero-main": 1.4, "carzero-global": 0.7, "carzero-main · name": 1.0}
FLOOR = "reference-thumbnail"
"""A floor with the scores of `clip-main`, which is therefore level with it."""
SEEDS = (0, 1, 2)
PARAMS = """
profile: twin
methods: [clip, carzero]
seeds: [0, 1, 2]
data: {train: mimic_cxr, evaluate: [chestxray14, chexpert]}
twins: {images: {}}
encoders: {}
texts: {}
prompts: {}
prompt_ablation: {methods: [carzero], datasets: [chestxray14, chexpert], prompts: [{style: name}]}
training: {epochs: 3}
method: {clip: {}, carzero: {}}
cells:
  carzero-global:
    {method: carzero, table: features, label: 'CARZero, global only', options: {features: global}}
statistics: {}
"""


def build(root: Path, images: int = 240) -> Path:
    """Write params.yaml, prepared manifests, runs, predictions, metrics and summaries under `root`."""
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    named = {"studies": 900, "present": {}}
    frames, pairs, metrics = [], [], []
    floors: list[pd.DataFrame] = []
    stand: list[pd.DataFrame] = []
    for dataset in ("chestxray14", "chexpert"):
        card = load_card(dataset)
        chosen = prepare(root, dataset, images)
        for k, cls in enumerate(chosen.classes):
            for concept in card.concepts.get(cls, ()):
                named["present"][concept] = (3 * 4 ** (k % 5)) if k else 0
        comparison = score(root, dataset, chosen)
        place = RowIdentity(dataset=dataset, origin="twin", split=chosen.info.protocol)
        identity = {name: replace(place, **identify(name)) for name in STRENGTH}
        frames.append(over_seeds(comparison, identity=identity))
        main = ["clip-main", "carzero-main"]
        for names in (main, [n for n in STRENGTH if n.startswith("carzero")]):
            part = Comparison({n: comparison.summaries[n] for n in names}, comparison.grouped)
            pairs.append(compare(part, identity=place, methods=2))
        level = Comparison({**comparison.summaries, FLOOR: comparison.summaries["clip-main"]}, True)
        floors.append(
            against_floor(level, main, [FLOOR], identity=place, declared=2, config=StatisticsConfig())
        )
        identity = {FLOOR: replace(place, run_id=FLOOR, variant="floor", task="classification")}
        own = over_seeds(Comparison({FLOOR: level.summaries[FLOOR]}, True), identity=identity)
        stand.append(own.assign(title="8 × 8 thumbnail", about=f"thumbnail: fitted on {dataset}"))
    folder = Project(root).texts("mimic_cxr", "findings+impression")
    folder.mkdir(parents=True)
    (folder / "named.json").write_text(json.dumps(named), encoding="utf-8")
    metrics = pd.concat(frames, ignore_index=True)
    beside = pd.concat(stand, ignore_index=True), pd.concat(floors, ignore_index=True)
    paired = pd.concat(pairs, ignore_index=True)
    made = settings_of(load_params(root / "params.yaml"))
    Summary(metrics, paired, ranking(paired), *beside, made).save(root / "results" / "summary" / "all")
    own = metrics[metrics["run_id"].isin(["clip-main", "carzero-main"])]
    Summary(own, paired, ranking(paired), *beside, made).save(root / "results" / "summary" / "main")
    runs(root)
    results = sorted((root / "results").glob("*/seed-*/*/*.parquet"))
    files = {path.relative_to(root).as_posix(): hash_file(path) for path in results}
    for part in ("main", "all"):
        write_json(Project(root).sources(part), files)
    load_params(root / "params.yaml")
    return root


def prepare(root: Path, dataset: str, images: int):
    """A manifest without pixels: labels that fall off like real ones, two images a patient."""
    rng = np.random.default_rng(len(dataset))
    card = load_card(dataset)
    protocol = card.protocol(None)
    classes = tuple(dict.fromkeys([*card.concepts, *card.protocol_classes(None)]))
    frame = pd.DataFrame(
        {
            "image_id": [f"i{n:04d}" for n in range(images)],
            "path": [f"i{n:04d}.png" for n in range(images)],
            "patient_id": [f"p{n // 2:04d}" for n in range(images)],
            "study_id": [f"s{n:04d}" for n in range(images)],
            "view": [("PA", "AP")[n % 2] for n in range(images)],
            "split": protocol.split[0] if protocol.split else "test",
            "report": None,
            "sex": rng.choice(["F", "M"], images),
            "age": rng.integers(20, 90, images).astype(float),
            "site": None,
        }
    )
    share = np.linspace(0.35, 0.02, len(classes))
    for name, rate in zip(classes, share, strict=True):
        frame[name] = pd.array((rng.random(images) < rate).astype(int), dtype="Int8")
    source = protocol.labels.source
    if source:
        for name in classes:
            frame[f"{name}@{source}"] = frame[name]
    if protocol.image_list:
        frame[f"list:{protocol.image_list}"] = True
    manifest = Manifest(dataset, "twin", root / "data" / "twins" / dataset, classes, frame)
    manifest.save(root / "data" / "prepared" / dataset)
    return evaluation_set(manifest, card, None)


def identify(name: str) -> dict[str, str]:
    cell, _, prompts = name.partition(" · ")
    method, _, variant = cell.partition("-")
    return {
        "run_id": cell,
        "method": method,
        "variant": variant,
        "encoder": "image+text",
        "prompts": prompts or "template",
        "task": "classification",
    }


def score(root: Path, dataset: str, chosen) -> Comparison:
    """Save predictions and metrics per seed; return the summary over seeds."""
    subgroups = subgroups_of(chosen.frame)
    found = []
    for number, (name, strength) in enumerate(STRENGTH.items()):
        for seed in SEEDS:
            rng = np.random.default_rng([number, seed, len(dataset)])
            difficulty = np.random.default_rng(5).normal(0, 0.15, len(chosen.classes))
            shared = np.random.default_rng(7).normal(size=chosen.labels.shape)
            signal = (strength + difficulty) * (chosen.labels == 1)
            scores = signal + 0.8 * shared + 0.6 * rng.normal(size=shared.shape)
            found.append(Run(name, seed, scores))
            write_scores(root, dataset, chosen, name, seed, scores, subgroups)
    return summarise_runs(
        found, chosen.labels, chosen.patients, chosen.classes, subgroups=subgroups, config=StatisticsConfig()
    )


def write_scores(root, dataset, chosen, name, seed, scores, subgroups) -> None:
    own = identify(name)
    cell, _, prompts = name.partition(" · ")
    label = {"": "template:There is {}", "pos-neg-there-is": "pos-neg:There is {}"}.get(
        prompts, prompts.replace("template-", "template:")
    )
    identity = {
        **own,
        "run_id": "0123456789abcdef",
        "dataset": dataset,
        "origin": "twin",
        "split": chosen.info.protocol,
        "prompts": label,
        "seed": seed,
    }
    folder = root / "results" / cell / f"seed-{seed}" / dataset
    ids = pd.DataFrame({"image_id": chosen.frame["image_id"].to_list(), "patient_id": chosen.patients})
    frame = pd.concat([ids, pd.DataFrame(scores, columns=list(chosen.classes))], axis=1)
    info = {
        **identity,
        "protocol": chosen.info.protocol,
        "prompt_hash": "a" * 64,
        "weights_hash": "b" * 64,
        "data_hash": "c" * 64,
        "commit": "d" * 40,
        "device": "CPU",
        "precision": "float32",
        "versions": {"torch": "2"},
        "trained_on": "mimic_cxr",
    }
    file = f"predictions-{prompts}" if prompts else "predictions"
    Predictions(tuple(chosen.classes), frame, ScoresRecord.model_validate(info)).save(
        folder / f"{file}.parquet"
    )
    metrics = evaluate(
        scores,
        chosen.labels,
        chosen.patients,
        chosen.classes,
        subgroups={} if prompts else subgroups,
        identity=RowIdentity(**identity),
    )
    path = folder / "metrics.parquet"
    if prompts:
        from benchmark.core.tables import read_table

        before, about = read_table(path)
        write_table(path, pd.concat([before, metrics], ignore_index=True), about)
    else:
        write_table(
            path, metrics, {"cell": cell, "notice": "twin", "evaluation": chosen.info.as_json(), "note": ""}
        )


def add_checkpoint(root: Path, dataset: str, images: int, origin: str = "official") -> None:
    """What `bench run --checkpoint` leaves: one seed of an official checkpoint on official files."""
    chosen = prepare(root, dataset, images)
    scores = np.random.default_rng(1).normal(size=chosen.labels.shape) + 1.5 * (chosen.labels == 1)
    about = chosen.info.as_json() | {"official_images": images}
    name, place = "carzero-official", f"{dataset}-official"
    identity = {**identify(name), "dataset": dataset, "origin": origin, "split": about["protocol"]}
    identity |= {"run_id": "f" * 16, "prompts": "official", "seed": 0}
    own = RowIdentity(**identity)
    metrics = evaluate(scores, chosen.labels, chosen.patients, chosen.classes, identity=own)
    folder = root / "results" / name / "seed-0" / place
    write_table(folder / "metrics.parquet", metrics, {"cell": name, "evaluation": about, "note": ""})
    ids = pd.DataFrame({"image_id": chosen.frame["image_id"].to_list(), "patient_id": chosen.patients})
    frame = pd.concat([ids, pd.DataFrame(scores, columns=list(chosen.classes))], axis=1)
    info = ScoresRecord.model_validate(identity)
    Predictions(tuple(chosen.classes), frame, info).save(folder / "predictions.parquet")


def with_statistics(root: Path, statistics: str) -> None:
    """Change `statistics` of params.yaml, as if the summaries had been made again with it; their values are
    those of before."""
    params = root / "params.yaml"
    text = params.read_text(encoding="utf-8")
    assert text.count("statistics: {}") == 1
    params.write_text(text.replace("statistics: {}", f"statistics: {statistics}"), encoding="utf-8")
    for part in ("main", "all"):
        folder = root / "results" / "summary" / part
        replace(Summary.load(folder), settings=settings_of(load_params(params))).save(folder)


def runs(root: Path) -> None:
    for cell in (name for name in STRENGTH if " · " not in name):
        for seed in SEEDS:
            folder = root / "runs" / cell / f"seed-{seed}"
            folder.mkdir(parents=True)
            features = "global" if cell.endswith("global") else "both"
            run = {
                "identity": "0" * 64, "method": cell.split("-")[0], "seed": seed, "seconds": 10.0 + seed,
                "parameters_trained": 1000, "peak_memory_bytes": 2**30, "device": "CPU", "commit": "d" * 40,
                "best_epoch": 2, "val_loss": 1.0, "model_sha256": "b" * 64, "train_images": 100,
                "val_images": 10, "epochs": 3, "options": {"features": features}, "training": {"epochs": 3},
                "versions": {"torch": "2"}, "steps": 6, "sentences_seen": 300, "flops_per_image": 2.5e6,
                "val_auroc": 0.7, "gain_last_quarter": 0.001 + 0.008 * cell.endswith("global"),
                "converged": not cell.endswith("global"),
            }  # fmt: skip
            (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
            source = {"trained_on": "mimic_cxr", "trained_origin": "twin", "cell": {}}
            (folder / "source.json").write_text(json.dumps(source), encoding="utf-8")
            history = pd.DataFrame(
                {"epoch": [1, 2, 3], "step": [2, 4, 6], "learning_rate": 1e-3, "train_loss": [3.0, 2.0, 1.5],
                 "val_loss": [3.0, 2.5, 2.4], "seconds": [3.0, 6.0, 10.0]}
            )  # fmt: skip
            history.to_csv(folder / "history.csv", index=False)


def shown(table: Table) -> list[dict[str, str]]:
    """Rows as people read them, by the key of the column."""
    return [{c.key: table.cell(row, c) for c in table.shown_columns} for row in table.rows]
