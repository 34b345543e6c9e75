"""The tasks beside zero-shot classification: grounding, segmentation, retrieval with the modality gap.

`tasks` of params.yaml names the datasets. Each task writes <task>.parquet beside the metrics of the same
cell, seed and dataset, and is evaluated anew only where weights, data, prompts or settings differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core.errors import DataError, ParamsError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import derive_seed, hash_file, hash_value
from benchmark.core.tables import read_table, write_table
from benchmark.grid.layout import source_name
from benchmark.grid.params import Cell, Task
from benchmark.stages.evaluate import Target, code_key, prompt_label, prompt_set, target
from benchmark.stages.features import device, shared_image_encoder
from benchmark.stages.task_rows import gap_rows, pointing_rows, recall_rows, segmentation_rows

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.core.preprocessing import Preprocessing
    from benchmark.prompts.class_prompts import PromptSet
    from benchmark.stages.run import Session
    from methods.base import Method

IMAGES_AT_ONCE = 32


@dataclass
class Tasks:
    """Evaluates the tasks of cells; keeps what the cells of one call share."""

    session: Session
    _targets: dict[tuple[Task, str], Target] = field(default_factory=dict)
    _sizes: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def evaluate(
        self,
        cell: Cell,
        seed: int,
        run: dict[str, Any],
        method: Method | None = None,
        dataset: str | None = None,
    ) -> dict[tuple[Task, str], pd.DataFrame]:
        """(task, dataset) → metric rows of every task of the cell; of one dataset where it is given.

        Tasks that the method has no maps or embeddings for are left out. Raises ParamsError where a dataset
        offers no such task.
        """
        found = {}
        for task in cell.tasks:
            for name in getattr(self.session.params.tasks, task):
                if dataset in (None, name):
                    rows = self._one(task, name, cell, seed, run, method)
                    if rows is not None:
                        found[task, name] = rows
        return found

    def target(self, task: Task, dataset: str) -> Target:
        """The dataset as a protocol of this task evaluates it: the one asked for, the card's default, an
        official one, another; retrieval takes the images of the classification protocol."""
        if (task, dataset) not in self._targets:
            session = self.session
            if task == "retrieval":
                self._targets[task, dataset] = session.target(dataset)
            else:
                self._targets[task, dataset] = self._by_protocol(task, dataset)
        return self._targets[task, dataset]

    def _by_protocol(self, task: Task, dataset: str) -> Target:
        from benchmark.data.cards import load_card

        card = load_card(dataset)
        names = [name for name, protocol in card.protocols.items() if protocol.task == task]
        if not names:
            raise ParamsError(
                f"params.yaml: tasks.{task} lists '{dataset}', whose card has no protocol of this task. "
                "Take it out, or see `bench ls datasets`."
            )
        asked = self.session.protocol or card.default_protocol
        names.sort(key=lambda name: (name != asked, not card.protocols[name].official))
        for name in names:
            try:
                return target(
                    self.session.project,
                    self.session.params,
                    self.session.manifest(dataset),
                    protocol=name,
                    encoders=self.session.encoders,
                )
            except DataError:
                if name == names[-1]:
                    raise
        raise AssertionError("unreachable")

    def _one(
        self, task: Task, dataset: str, cell: Cell, seed: int, run: dict[str, Any], method: Method | None
    ) -> pd.DataFrame | None:
        """Metric rows, from disk where everything that they rest on is the same."""
        from benchmark.evaluation.evaluate import finish
        from benchmark.evaluation.statistics.influence import patient_codes
        from benchmark.training.loop import load_method

        at = self.target(task, dataset)
        session = self.session
        folder = session.project.results(cell.name, seed) / source_name(dataset, at.manifest.origin)
        table, mark = folder / f"{task}.parquet", folder / f"{task}.json"
        key = hash_value(
            [
                code_key(cell.method, "benchmark.stages.tasks", "benchmark.stages.task_rows"),
                run["model_sha256"],
                run["options"],
                at.images.key,
                at.chosen.info,
                cell.prompts.model_dump(),
                session.params.statistics.model_dump(),
                session.params.tasks.pairs if task == "retrieval" else None,
                session.params.texts.rule if task == "retrieval" else None,
                at.encoder,
            ]
        )
        if mark.is_file() and read_json(mark)["key"] == key:
            known = read_json(mark)
            if known["sha256"] is None:
                return None
            if table.is_file() and known["sha256"] == hash_file(table):
                return read_table(table)[0]
        mark.unlink(missing_ok=True)
        if method is None:
            method = load_method(session.project.run(cell.name, seed))
        method = method.to(device()).eval()
        protocol = str(at.chosen.info["protocol"])
        prompts = prompt_set(at.card, protocol, cell.prompts)
        make = {
            "grounding": self._grounding,
            "segmentation": self._segmentation,
            "retrieval": self._retrieval,
        }
        found = make[task](method, at, prompts)
        if found is None:
            table.unlink(missing_ok=True)
            write_json(mark, {"key": key, "sha256": None})
            return None
        rows, shown = found
        identity = {
            "run_id": run["identity"][:16],
            "method": cell.method,
            "variant": cell.variant,
            "encoder": at.encoder,
            "dataset": dataset,
            "origin": at.manifest.origin,
            "split": protocol,
            "prompts": shown,
            "seed": seed,
            "task": task,
        }
        frame = finish(rows, identity, patient_codes(at.chosen.patients, len(at.chosen))[2])
        about = {
            "cell": cell.name,
            "notice": at.manifest.origin,
            "evaluation": at.chosen.info,
            "note": at.note,
        }
        write_table(table, frame, about)
        write_json(mark, {"key": key, "sha256": hash_file(table)})
        return frame

    @property
    def _level(self) -> float:
        return self.session.params.statistics.level

    def _steps(self) -> Preprocessing:
        own = self.session.encoders
        encoder = shared_image_encoder(self.session.params.encoders.image) if own is None else own[0]
        return encoder.preprocessing

    def _image_sizes(self, at: Target) -> list[tuple[int, int]]:
        """(height, width) of every chosen image, from its header."""
        from benchmark.data.pixels import image_size

        key = f"{at.manifest.dataset} {at.chosen.info['protocol']}"
        if key not in self._sizes:
            root = at.manifest.root
            self._sizes[key] = [image_size(root / path) for path in at.chosen.frame["path"]]
        return self._sizes[key]

    def _grounding(
        self, method: Method, at: Target, prompts: PromptSet
    ) -> tuple[list[dict[str, Any]], str] | None:
        from benchmark.evaluation.grounding import pointing_game

        trials = trials_of(at)
        if not trials:
            raise DataError(f"{at.manifest.dataset}: no box of any class. Check the file of boxes.")
        phrased = any(trial.phrase for trial in trials)
        texts = list(dict.fromkeys(t.phrase for t in trials)) if phrased else list(at.chosen.classes)
        place = {text: k for k, text in enumerate(texts)}
        wanted = [(t.image, place[t.phrase if phrased else t.cls]) for t in trials]
        scores = self._maps(method, at, None if phrased else prompts, texts, wanted)
        if scores is None:
            return None
        sizes = self._image_sizes(at)
        result = pointing_game(
            scores, [t.boxes for t in trials], [sizes[t.image] for t in trials], self._steps()
        )
        rows = pointing_rows(
            result,
            [t.cls for t in trials],
            np.array([t.image for t in trials]),
            () if phrased else at.chosen.classes,
            at.chosen.patients,
            self._level,
        )
        return rows, "phrase" if phrased else prompt_label(prompts)

    def _segmentation(
        self, method: Method, at: Target, prompts: PromptSet
    ) -> tuple[list[dict[str, Any]], str] | None:
        from benchmark.evaluation.pixelwise import MaskedMaps, segment
        from benchmark.evaluation.statistics.influence import patient_codes

        classes, sizes = at.chosen.classes, self._image_sizes(at)
        half = np.array([derive_seed(0, "half", str(p)) % 2 == 0 for p in at.chosen.patients])
        codes = patient_codes(at.chosen.patients, len(at.chosen))[0]
        results = {}
        for k, cls in enumerate(classes):
            wanted = [(i, k) for i in range(len(at.chosen))]
            maps = self._maps(method, at, prompts, classes, wanted)
            if maps is None:
                return None
            masked = MaskedMaps(maps, masks_of(at, cls, sizes), sizes, self._steps(), method.MAP_IS_ATTENTION)
            results[cls] = segment(masked, codes=codes, half=half)
        return segmentation_rows(results, at.chosen.patients, self._level), prompt_label(prompts)

    def _retrieval(
        self, method: Method, at: Target, prompts: PromptSet
    ) -> tuple[list[dict[str, Any]], str] | None:
        import torch

        from benchmark.evaluation.scoring import score

        pairs = pairs_of(at, self.session.params.tasks.pairs, self.session.params.texts.rule)
        if len(pairs.texts) < 2:
            raise DataError(f"{at.manifest.dataset}: fewer than two reports; retrieval needs more.")
        store = at.encode(pairs.texts)
        features = store.get(store.rows(pairs.texts))
        rows = at.rows[pairs.images]
        scores = score(method, at.images, features, rows=rows, device=device())
        patients = at.chosen.patients[pairs.images]
        found = recall_rows(scores, pairs.own, patients, self._level)
        with torch.no_grad():
            images = method.prepare_image(at.images.get(rows).to(device()))
            spaces = method.embeddings(images, method.prepare_text(features.to(device())))
        for name, (image, text) in spaces.items():
            found += gap_rows(name, image.cpu().numpy(), text.cpu().numpy()[pairs.own], patients, self._level)
        return found, "report"

    def _maps(
        self,
        method: Method,
        at: Target,
        prompts: PromptSet | None,
        texts: Sequence[str],
        wanted: Sequence[tuple[int, int]],
    ) -> Any:
        """(n, h, w) maps of (image, text) pairs; with `prompts`, of (image, class), the mean over the
        positive texts of the class. None where the method has no maps of two dimensions."""
        import torch

        if len(at.images.grid) != 2:
            return None
        said = list(texts) if prompts is None else list(prompts.texts)
        store = at.encode(said)
        features = store.get(store.rows(said))
        images = np.array([i for i, _ in wanted])
        order = np.argsort(images, kind="stable")
        out: list[Any] = [None] * len(wanted)
        unique = list(dict.fromkeys(images[order].tolist()))
        of_image: dict[int, list[int]] = {}
        for number in order.tolist():
            of_image.setdefault(int(images[number]), []).append(number)
        for first in range(0, len(unique), IMAGES_AT_ONCE):
            group = unique[first : first + IMAGES_AT_ONCE]
            asked = sorted({wanted[n][1] for i in group for n in of_image[i]})
            columns = _columns(prompts, asked)
            used = sorted({c for own in columns.values() for c in own})
            with torch.no_grad():
                maps = method.similarity_map(
                    at.images.get(at.rows[group]).to(device()), features[used].to(device())
                )
            if maps is None:
                return None
            maps = maps.detach().float().cpu()
            for row, image in enumerate(group):
                for number in of_image[image]:
                    own = [used.index(c) for c in columns[wanted[number][1]]]
                    out[number] = maps[row, own].mean(0)
        return torch.stack(out)


def _columns(prompts: PromptSet | None, asked: Sequence[int]) -> dict[int, list[int]]:
    """Text or class → the columns of its texts."""
    if prompts is None:
        return {k: [k] for k in asked}
    sides = list(zip(prompts.class_of_text, prompts.polarity, strict=True))
    return {k: [c for c, (owner, sign) in enumerate(sides) if owner == k and sign == 1] for k in asked}


@dataclass(frozen=True)
class Trial:
    """One try of the pointing game. image: row of the chosen frame. boxes: (K, 4) corners, in original
    pixels."""

    image: int
    cls: str
    phrase: str
    boxes: np.ndarray


def trials_of(at: Target) -> list[Trial]:
    """One trial an image and class with a box, or, where boxes have phrases, an image, class and phrase."""
    regions = at.manifest.regions
    if regions is None:
        return []
    place = {name: row for row, name in enumerate(at.chosen.frame["image_id"])}
    own = regions[
        (regions["kind"] == "box")
        & regions["image_id"].isin(list(place))
        & regions["class"].isin(list(at.chosen.classes))
    ]
    own = own.assign(phrase=own["phrase"].fillna("").astype(str))
    trials = []
    for (image, cls, phrase), part in own.groupby(["image_id", "class", "phrase"], sort=False):
        x, y, w, h = (part[c].to_numpy(dtype=float) for c in ("x", "y", "w", "h"))
        trials.append(Trial(place[image], str(cls), str(phrase), np.stack([x, y, x + w, y + h], axis=1)))
    return sorted(trials, key=lambda t: t.image)


def masks_of(at: Target, cls: str, sizes: Sequence[tuple[int, int]]) -> Callable[[int], np.ndarray | None]:
    """Image → the union of the class's masks and filled boxes, None where it has none."""
    from benchmark.data.masks import decode_mask
    from benchmark.evaluation.segmentation import boxes_to_mask

    regions = at.manifest.regions
    of_image: dict[str, Any] = {}
    if regions is not None:
        own = regions[regions["class"] == cls]
        of_image = {str(name): part for name, part in own.groupby("image_id", sort=False)}
    names = at.chosen.frame["image_id"].tolist()

    def mask(i: int) -> np.ndarray | None:
        part = of_image.get(names[i])
        if part is None:
            return None
        boxes = part.loc[part["kind"] == "box", ["x", "y", "w", "h"]].to_numpy(dtype=float)
        whole = boxes_to_mask(boxes.tolist(), *sizes[i]).astype(bool)
        for text in part.loc[part["kind"] == "mask", "rle"]:
            whole |= decode_mask(text)
        return whole

    return mask


@dataclass(frozen=True)
class Pairs:
    """images: (I,) rows of the chosen frame. own: (I,) the text of each. texts: distinct reports."""

    images: np.ndarray
    own: np.ndarray
    texts: tuple[str, ...]


def pairs_of(at: Target, most: int, rule: str) -> Pairs:
    """One image and its report of each study, frontal where there is one; at most `most` studies, chosen by a
    hash of their id. Studies without a report are left out."""
    from benchmark.prompts.training_texts import training_texts

    frame = at.chosen.frame
    texts = training_texts(replace(at.manifest, frame=frame), "raw_report", rule=rule)
    frontal = frame["view"].isin(["PA", "AP"]).to_numpy()
    studies = frame["study_id"].fillna(frame["image_id"]).astype(str).tolist()
    first: dict[str, int] = {}
    for row in np.argsort(~frontal, kind="stable").tolist():
        if texts[row]:
            first.setdefault(studies[row], row)
    chosen = sorted(first, key=lambda study: (derive_seed(0, "retrieval", study), study))[:most]
    rows = np.array(sorted(first[study] for study in chosen), dtype=np.int64)
    distinct = list(dict.fromkeys(texts[row][0] for row in rows))
    place = {text: k for k, text in enumerate(distinct)}
    return Pairs(rows, np.array([place[texts[row][0]] for row in rows], dtype=np.int64), tuple(distinct))
