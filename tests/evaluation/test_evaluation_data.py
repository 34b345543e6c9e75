"""What an evaluation rests on: the content of labels, boxes, patients and reports, not their counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.core import reuse
from benchmark.core.features import ImageFeatures
from benchmark.core.preprocessing import Preprocessing
from benchmark.core.settings import StatisticsConfig
from benchmark.core.tables import Manifest
from benchmark.core.tasks import TASKS, TaskContext, TaskSettings, task_named, task_settings
from benchmark.data.cards import load_card
from benchmark.data.dataset import evaluation_set
from benchmark.encoders.store import FeatureStore
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.evaluation_data import EvaluationData, are_findings, validation_data
from benchmark.evaluation.maps import IMAGES_AT_ONCE, similarity_maps
from benchmark.evaluation.operating_point import held_out_data
from benchmark.evaluation.tasks import reconstructions
from benchmark.evaluation.tasks.negation import stated
from benchmark.grid.params import cell_named
from benchmark.grid.params_file import load_params
from benchmark.prompts.class_prompts import PromptSet, class_prompts
from benchmark.stages.evaluate import task_key
from benchmark.stages.run_record import WeightsRecord

IMAGES = 12


NAMES = [name for name in TASKS.names() if not name.startswith("volume_")]
"""Every task of radiographs; the others are of CT volumes."""


def manifest(dataset: str = "chestxray14", splits: tuple[str, ...] = ("test", "validate")) -> Manifest:
    import pandas as pd

    card = load_card(dataset)
    rows = {
        "image_id": [f"i{k}" for k in range(IMAGES)],
        "path": [f"i{k}.png" for k in range(IMAGES)],
        "patient_id": [f"p{k // 2}" for k in range(IMAGES)],
        "study_id": [f"s{k}" for k in range(IMAGES)],
        "view": ["PA"] * IMAGES,
        "split": [splits[0] if k < 8 else splits[1] for k in range(IMAGES)],
        "report": [f"report {k}" for k in range(IMAGES)],
        "sex": ["F", "M"] * (IMAGES // 2),
        "age": [30.0 + k for k in range(IMAGES)],
        "site": [None] * IMAGES,
    }
    rows |= {c: np.arange(IMAGES) % (2 + n % 3) == 0 for n, c in enumerate(card.classes)}
    frame = pd.DataFrame(rows).astype(dict.fromkeys(card.classes, "Int8"))
    boxes = pd.DataFrame(
        {"image_id": ["i0", "i1"], "class": card.classes[0], "kind": "box", "x": [1.0, 2.0], "y": 1.0,
         "w": 3.0, "h": 3.0, "rle": None, "phrase": None}
    )  # fmt: skip
    return Manifest(dataset, "twin", Path(), card.classes, frame, boxes)


def data_of(own: Manifest, protocol: str = "official") -> EvaluationData:
    chosen = evaluation_set(own, load_card(own.dataset), protocol)
    features = ImageFeatures(torch.ones(IMAGES, 4), torch.ones(IMAGES, 4, 4), (2, 2))
    place = {name: row for row, name in enumerate(own.frame["image_id"])}
    return EvaluationData(
        load_card(own.dataset), own, chosen, FeatureStore.of(features, "x"),
        np.array([place[i] for i in chosen.frame["image_id"]]), lambda texts: pytest.fail("no text is read"),
        "e", Preprocessing(size=8), {}, lambda frame: [[t] for t in frame["report"]],
    )  # fmt: skip


@pytest.fixture
def protocol() -> str:
    card = load_card("chestxray14")
    return next(n for n, p in card.protocols.items() if p.split == ("test",) and p.image_list is None)


def test_labels_moved_between_images_change_the_content_although_their_counts_do_not(protocol) -> None:
    own = manifest()
    before = data_of(own, protocol)
    moved = own.frame.copy()
    cls = own.classes[0]
    moved.loc[[0, 1], cls] = moved.loc[[1, 0], cls].to_numpy()
    assert moved[cls].sum() == own.frame[cls].sum()
    after = data_of(replace(own, frame=moved), protocol)
    assert after.content("labels") != before.content("labels")
    assert after.identity == before.identity
    assert data_of(manifest(), protocol).content("labels") == before.content("labels"), "read again, the same"


def test_each_task_notices_what_it_reads_and_nothing_else(protocol) -> None:
    own = manifest()
    statistics = StatisticsConfig()
    before = {n: task_named(n).reads(data_of(own, protocol), statistics) for n in NAMES}
    assert own.regions is not None
    wider = own.regions.assign(w=own.regions["w"] + 1)
    said = own.frame.assign(report=own.frame["report"].str.upper())
    for changed, readers in (
        (replace(own, regions=wider), {"grounding", "segmentation"}),
        (replace(own, frame=said), {"retrieval"}),
        (replace(own, frame=own.frame.assign(sex=own.frame["sex"][::-1].to_numpy())),
         {"classification", "grounding", "segmentation", "negation", "paraphrase", "underdiagnosis",
          "brgsa_rules", "reconstructions", "transfer"}),
    ):  # fmt: skip
        found = {n: task_named(n).reads(data_of(changed, protocol), statistics) for n in NAMES}
        assert {n for n in found if found[n] != before[n]} == readers


def test_another_patient_is_another_evaluation_set(protocol) -> None:
    own = manifest()
    other = own.frame.assign(patient_id=["q", *own.frame["patient_id"][1:]])
    assert data_of(replace(own, frame=other), protocol).identity != data_of(own, protocol).identity


def test_the_validation_split_leaves_out_patients_of_the_evaluation_set(protocol) -> None:
    own = manifest()
    shared = own.frame.copy()
    shared.loc[8, "patient_id"] = "p0"
    data = data_of(replace(own, frame=shared), protocol)
    found, missing = validation_data(data)
    assert (found is not None, missing) == (True, "")
    assert found.chosen.frame["image_id"].tolist() == ["i9", "i10", "i11"]
    assert found.rows.tolist() == [9, 10, 11]
    assert found.chosen.classes == data.chosen.classes
    assert not set(found.chosen.patients) & set(data.chosen.patients)
    assert found.chosen.labels[0].tolist() == own.frame.loc[9, list(data.chosen.classes)].tolist()
    none, missing = validation_data(data_of(manifest(splits=("test", "train")), protocol))
    assert (none, missing) == (None, "the dataset has no validation split")


def test_settings_of_tasks_are_checked_with_the_nearest_name() -> None:
    found = task_settings({"retrieval": {"datasets": ["openi"], "pairs": 12}, "grounding": ["chestxdet10"]})
    assert found["retrieval"].model_dump() == {"datasets": ("openi",), "pairs": 12}
    assert found["grounding"].datasets == ("chestxdet10",)
    for given, message in (
        ({"retreival": ["openi"]}, "Did you mean 'retrieval'"),
        ({"retrieval": {"pair": 3}}, "retrieval.pair: unknown key. Did you mean 'pairs'"),
        ({"retrieval": {"pairs": 1}}, "retrieval.pairs: "),
        ({"classification": ["openi"]}, "data.evaluate"),
    ):
        with pytest.raises(ValueError, match=message):
            task_settings(given)


def forget() -> None:
    """Source is read again, as a new process would."""
    reuse._code.cache_clear()
    reuse.source.cache_clear()


def test_editing_what_makes_strata_subgroups_or_metrics_is_another_key(
    protocol, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, statistics = data_of(manifest(), protocol), StatisticsConfig()
    cell = cell_named(load_params(Path(__file__).parents[2] / "params.yaml"), "clip")
    run = WeightsRecord(model_sha256="w", options={}, device="cpu", commit=None)

    def keys() -> dict[str, str]:
        return {
            n: task_key(task_named(n), cell, run, data, (), statistics, task_named(n).Settings()).digest
            for n in NAMES
        }

    before, real = keys(), reuse._file_of
    every = set(NAMES)
    for module, readers in (
        ("benchmark.evaluation.evaluation_data", every),
        ("benchmark.evaluation.statistics.strata", every),
        ("benchmark.evaluation.statistics.subgroups", every),
        ("benchmark.evaluation.pixelwise", {"grounding", "segmentation"}),
        ("benchmark.evaluation.operating_point", {"paraphrase", "underdiagnosis", "transfer"}),
        ("benchmark.evaluation.tasks.negation", {"negation"}),
        ("benchmark.evaluation.tasks.grounding", {"grounding"}),
        ("methods.clip", every),
        ("methods.carzero", set()),
    ):
        path = tmp_path / f"{module}.py"
        path.write_text(real(module).read_text() + "\nEDITED = True\n")
        with monkeypatch.context() as patch:
            patch.setattr(reuse, "_file_of", lambda name, m=module, p=path: p if name == m else real(name))
            forget()
            after = keys()
        forget()
        assert {n for n in every if after[n] != before[n]} == readers, module


def test_held_out_images_are_of_patients_that_the_evaluation_does_not_have(protocol) -> None:
    """i8 is of the patient of i0, which is tested: its label must fix no threshold."""
    own = manifest()
    own = replace(
        own, frame=own.frame.assign(patient_id=["p0" if k == 8 else f"p{k // 2}" for k in range(IMAGES)])
    )
    data = data_of(own, protocol)
    found = held_out_data(data, ("validate",))
    assert found is not None
    assert found.chosen.frame["image_id"].tolist() == ["i9", "i10", "i11"]
    assert found.rows.tolist() == [9, 10, 11]
    assert found.chosen.patients.tolist() == ["p4", "p5", "p5"]
    whole = own.frame[list(found.chosen.classes)].to_numpy(dtype=int)
    assert found.chosen.labels.tolist() == whole[9:].tolist()
    assert data.chosen.frame["image_id"].tolist() == [f"i{k}" for k in range(8)]
    assert held_out_data(data, ("train",)) is None
    alike = replace(own, frame=own.frame.assign(patient_id=[f"p{k % 4}" for k in range(IMAGES)]))
    assert held_out_data(data_of(alike, protocol), ("validate",)) is None


class Products:
    """Maps that are an image's value times a text's, so that each says which pair it is of."""

    def similarity_map(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        assert len(images) <= IMAGES_AT_ONCE
        return images[:, None, None, None] * texts[None, :, None, None] * torch.ones(2, 3)


def test_each_map_is_of_its_own_image_and_texts() -> None:
    """Seventy rows of the evaluation set, which are the store's in another order, asked for out of order."""
    rows = np.random.default_rng(0).permutation(70)

    class Store(SimpleNamespace):
        def get(self, wanted):
            return torch.tensor(np.asarray(wanted) + 1.0)

    texts = Store(rows=lambda said: np.array([int(t) for t in said]) - 1)  # the value of a text is its name
    data = SimpleNamespace(images=Store(grid=(2, 3)), rows=rows, encode=lambda said: texts)
    pairs = [(i, k) for i in np.random.default_rng(1).permutation(70).tolist() for k in (1, 0)]
    found = similarity_maps(Products(), data, ["10", "100"], pairs, "cpu")
    assert found.shape == (140, 2, 3)
    assert found[:, 1, 2].tolist() == [(rows[i] + 1.0) * (10, 100)[k] for i, k in pairs]
    prompts = PromptSet(
        ("a", "b"), ("1", "20", "40", "3", "5"), (0, 1, 1, 1, 0), (1, 1, 1, -1, -1), "mean-score", "x"
    )
    found = similarity_maps(Products(), data, prompts, pairs, "cpu")
    assert found[:, 0, 0].tolist() == [(rows[i] + 1.0) * (1, 30)[k] for i, k in pairs]
    assert similarity_maps(Products(), data, ["1"], pairs, "cpu", axes=3) is None


def test_the_first_the_mean_and_each_reconstruction_of_a_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two volumes a scan, of which the second is the first reconstruction. The store holds all twelve."""
    own = manifest("ct_rate")
    frame = own.frame.assign(study_id=[f"s{k // 2}" for k in range(IMAGES)])
    labels = frame[list(own.classes)].iloc[1::2].loc[lambda f: f.index.repeat(2)].set_index(frame.index)
    frame[list(own.classes)] = labels
    own = replace(own, frame=frame.assign(**{reconstructions.FIRST: np.arange(IMAGES) % 2 == 1}))
    data = data_of(own, "first")
    assert data.rows.tolist() == [1, 3, 5, 7]
    assert reconstructions.every_reconstruction(data).rows.tolist() == list(range(8))
    assert reconstructions.every_reconstruction(data_of(own, "volumes")).rows.tolist() == list(range(8))
    scores = np.random.default_rng(0).normal(size=(IMAGES, len(data.chosen.classes)))
    monkeypatch.setattr(reconstructions, "predict", lambda method, at, prompts, given: scores[at.rows])
    statistics = StatisticsConfig()
    given = TaskContext(statistics, TaskSettings(), lambda *_: pytest.fail("scored twice"), "cpu")
    prompts = class_prompts(data.card, "first", "template")
    result = task_named("reconstructions").evaluate(None, data, prompts, given)
    found = result.rows.set_index("metric")["value"].to_dict()
    mean = (scores[:8:2] + scores[1:8:2]) / 2
    every = evaluation_set(own, data.card, "volumes")
    for name, values, chosen in (
        ("first_of_scan", scores[1:8:2], data.chosen),
        ("mean_of_scan", mean, data.chosen),
        ("every_volume", scores[:8], every),
    ):
        rows = evaluate(values, chosen.labels, chosen.patients, chosen.classes, config=statistics)
        macro = rows[(rows["class"] == "macro") & (rows["stratum"] == "all")].set_index("metric")["value"]
        for metric in reconstructions.METRICS:
            assert found[f"{metric}_{name}"] == pytest.approx(macro[metric]), name
    assert len(found) == 6
    single = replace(own, frame=own.frame.assign(study_id=[f"s{k}" for k in range(IMAGES)]))
    assert task_named("reconstructions").evaluate(None, data_of(single, "first"), prompts, given) is None


def test_no_finding_is_no_finding_of_an_image(monkeypatch) -> None:
    """It counted as one: every normal image was ill, and none was left to be overdiagnosed. A finding without
    a threshold counted as absent, and an image that shows nothing else as normal."""
    from benchmark.evaluation.tasks import underdiagnosis

    own = manifest("chexpert")
    classes = list(own.classes)
    frame = own.frame.copy()
    frame[classes] = 0
    frame.loc[:5, "No Finding"] = frame.loc[6, "Edema"] = frame.loc[7, "Fracture"] = 1
    frame.loc[8:, "Fracture"] = 1  # no held-out negative: its threshold is not known
    data = data_of(replace(own, frame=frame), "fourteen")
    scores = {len(data): np.zeros((8, len(classes))), 4: np.zeros((4, len(classes)))}
    scores[8][:, classes.index("No Finding")] = 1  # called in every image, but no finding
    scores[8][0, classes.index("Edema")] = 1
    monkeypatch.setattr("benchmark.evaluation.operating_point.LEAST_NEGATIVES", 1)
    monkeypatch.setattr(underdiagnosis, "predict", lambda method, which, *_: scores[len(which)])
    task = task_named("underdiagnosis")
    given = TaskContext(StatisticsConfig(), task.Settings(), None, "cpu")  # type: ignore[arg-type]
    prompts = class_prompts(data.card, "fourteen")
    rows = task.evaluate(None, data, prompts, given).rows.set_index(["metric", "class", "stratum"])  # type: ignore
    assert rows.loc[("underdiagnosis", "macro", "all"), ["value", "n_pos"]].tolist() == [1, 1]
    assert rows.loc[("overdiagnosis", "macro", "all"), ["value", "n_pos"]].tolist() == [1 / 6, 6]
    assert "No Finding" not in rows.loc["fpr"].index.get_level_values("class")
    assert "Fracture" not in rows.loc["fpr"].index.get_level_values("class")
    asked = stated(data)
    assert (asked[:, classes.index("No Finding")] == -1).all(), "nobody denies that there is no finding"
    assert (asked[:, classes.index("Edema")] == data.chosen.labels[:, classes.index("Edema")]).all()
    assert are_findings(load_card("vindr_cxr"), ["No finding", "Other lesion", "Edema"]).tolist() == [0, 0, 1]
    assert are_findings(load_card("cxr_lt"), ["Normal", "Mass"]).tolist() == [0, 1]


def test_an_image_that_does_not_say_where_a_finding_is_counts_as_no_negative(monkeypatch, protocol) -> None:
    """Every image without a mask counted as one without the finding: with an ignored label, and labelled as
    positive. i0 and i1 have a box; nothing marks i2, and the label of i3 is ignored."""
    from benchmark.evaluation.tasks import segmentation

    own = manifest()
    name = own.classes[0]
    frame = own.frame.assign(**{name: pd.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], "Int8")})
    maps = torch.randn(8, 2, 2, generator=torch.Generator().manual_seed(0))
    maps[2:4] += 5  # what the two show would move every threshold and the AUROC

    def rows(changed):
        data = data_of(replace(own, frame=changed), protocol)
        chosen = replace(data.chosen, classes=(name,), labels=data.chosen.labels[:, [0]])
        chosen.labels[chosen.frame["image_id"] == "i3"] = -1
        data = replace(data, chosen=chosen)
        data.__dict__["sizes"] = [(8, 8)] * len(data)
        place = {image: k for k, image in enumerate(f"i{k}" for k in range(8))}
        asked = lambda method, data, prompts, wanted, device: torch.stack(  # noqa: E731
            [maps[place[data.chosen.frame["image_id"][i]]] for i, _ in wanted]
        )
        monkeypatch.setattr(segmentation, "similarity_maps", asked)
        monkeypatch.setattr("benchmark.evaluation.pixelwise.halves", lambda p: np.isin(p, ["p0", "p2", "i0"]))
        given = TaskContext(StatisticsConfig(), TaskSettings(), None, "cpu")  # type: ignore[arg-type]
        method = SimpleNamespace(MAP_IS_ATTENTION=False)
        prompts = class_prompts(data.card, protocol)
        return task_named("segmentation").evaluate(method, data, prompts, given).rows.set_index("metric")

    frame["patient_id"] = [f"p{k}" for k in range(IMAGES)]
    found = rows(frame)
    plain = rows(frame[~frame["image_id"].isin(["i2", "i3"])].reset_index(drop=True))
    assert found["value"].to_dict() == pytest.approx(plain["value"].to_dict(), nan_ok=True)
    assert found.loc["empty_specificity", "n_pos"] == 4
    assert "2 images that do not say where the class is are left out" in found.loc["pixel_auroc", "note"]
    assert "left out" not in plain.loc["pixel_auroc", "note"]
