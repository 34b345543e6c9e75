"""What trained methods make of one changed finding: `reports/understanding/`, from runs that lie on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import BenchError
from benchmark.core.files import atomic_path, read_json
from benchmark.core.hashing import hash_value
from benchmark.core.progress import watched
from benchmark.core.reuse import key_of, reuse, source
from benchmark.core.tables import METRIC_COLUMNS, write_table
from benchmark.evaluation.counterfactual import (
    LEAST,
    Pairs,
    causal_rows,
    denial_rows,
    mean_rows,
    specificity,
    specificity_rows,
)
from benchmark.evaluation.statistics.trials import Trials, wins
from benchmark.evaluation.trial_rows import Rows, trial_rows
from benchmark.grid.params import main_cell
from benchmark.prompts.aligned import Statement, wording
from benchmark.prompts.lexicon import load_lexicon
from benchmark.stages.features import device, shared_image_encoder, text_store
from benchmark.stages.run import Session
from benchmark.twins.catalogue import catalogue
from benchmark.twins.counterfactual import COMPANIONS, SITE, Plan, counterfactual_plan, draw, drawn_alone
from methods.base import METHODS

if TYPE_CHECKING:
    from benchmark.encoders.store import FeatureStore, TextStore
    from methods.base import Method

PATIENTS = 20
Ask = Callable[..., np.ndarray]
Owner = Callable[[np.ndarray], np.ndarray]
_GENERATOR = "benchmark.twins.counterfactual"


def understanding(session: Session) -> dict[str, list[Path]]:
    """Cell → one folder a seed with `rows.parquet` and `specificity.npz`, made where they are missing.

    Raises BenchError where a main cell has no finished training.
    """
    params = session.params
    concepts = asked()
    plan = counterfactual_plan(concepts, PATIENTS, params.twins.seed)
    images, shown = scene_features(session, plan)
    texts = prompts_of(concepts)
    with watched("encode prompts"):
        encoded = text_store(session.project, params, list(texts.values()))
    found: dict[str, list[Path]] = {}
    for method in params.methods:
        cell = main_cell(params, method)
        for seed in params.seeds:
            run = session.project.run(cell.name, seed)
            if not (run / "run.json").is_file():
                raise BenchError(f"{run}: no finished training. Run `bench stage cells main` first.")
            folder = session.project.root / "results" / "understanding" / cell.name / f"seed-{seed}"
            key = key_of(
                weights=read_json(run / "run.json")["model_sha256"],
                images=images.key,
                texts=list(texts.values()),
                lexicon=load_lexicon().hash,
                statistics=params.statistics.model_dump(mode="json"),
                source=source(
                    __name__, _GENERATOR, METHODS.get(method).__module__, "benchmark.evaluation.scoring"
                ),
            )
            with session.writing(f"{cell.name} seed {seed}", folder):
                folder.mkdir(parents=True, exist_ok=True)
                files = [folder / "rows.parquet", folder / "specificity.npz"]

                def make(
                    run: Path = run, folder: Path = folder, method: str = method, seed: int = seed
                ) -> None:
                    _one(session, plan, images, shown, encoded, texts, run, folder, method, seed)

                done = reuse(folder / "made.json", key, files, make)
            session.say(f"{cell.name} seed {seed}: counterfactual images, {done}")
            found.setdefault(cell.name, []).append(folder)
    return found


def asked() -> tuple[str, ...]:
    """Findings that are drawn and asked for: the drawn classes of PadChest."""
    from benchmark.data.cards import load_card

    classes = set(load_card(SITE).protocol_classes())
    return tuple(c for c in drawn_alone() if c in classes)


def prompts_of(concepts: Sequence[str]) -> dict[str, str]:
    """Name → prompt: the class prompts, their denials (`no <class>`), and of a finding with sides the aligned
    wording for each."""
    from benchmark.data.cards import load_card
    from benchmark.prompts.class_prompts import class_prompts

    found = class_prompts(load_card(SITE), style="pos-neg")
    sides = zip(found.class_of_text, found.polarity, found.texts, strict=True)
    text = {(found.classes[c], polarity): said for c, polarity, said in sides}
    lexicon = load_lexicon()
    out = {name: text[name, 1] for name in concepts}
    out |= {f"no {name}": text[name, -1] for name in concepts}
    for name in concepts:
        if {"left", "right"} <= set(catalogue()[name].sides):
            for side in ("left", "right"):
                out[f"{side} {name}"] = wording(Statement(name, "present", side), lexicon)
    return out


def related_to(concepts: Sequence[str]) -> dict[str, frozenset[str]]:
    """Finding → itself, its kinds and what it is a kind of, in the lexicon."""
    lexicon = load_lexicon()
    below = {c: frozenset({c}) | (lexicon.descendants(c) if c in lexicon else frozenset()) for c in concepts}
    return {c: below[c] | {o for o in concepts if c in below[o]} for c in concepts}


def scene_features(session: Session, plan: Plan) -> tuple[FeatureStore, np.ndarray]:
    """Features of every scene under the run's image encoder, drawn only where they are not in the cache; and
    (S,) whether a scene differs from its patient's own image: some findings show in lateral views only."""
    from benchmark.data.pixels import preprocess
    from benchmark.encoders.cache import image_features

    params, encoder = session.params, shared_image_encoder(session.params.encoders.image)
    key = key_of(
        seed=plan.seed,
        scenes=hash_value([[s.patient, s.kind, [vars(f) for f in s.findings]] for s in plan.scenes]),
        size=params.twins.size,
        catalogue=[concept.model_dump(mode="json") for concept in catalogue().values()],
        preprocessing=encoder.preprocessing.model_dump(mode="json"),
        source=source(_GENERATOR, "benchmark.twins.findings.*", "benchmark.data.pixels"),
    )
    folder = session.project.cache / "counterfactual" / key.digest[:16]
    path = folder / "pixels.npy"

    def make() -> None:
        side = encoder.preprocessing.side
        pixels = np.zeros((len(plan.scenes), side, side), np.uint8)
        with watched("draw counterfactual images") as report:
            for i, image in enumerate(draw(plan, params.twins.size, min(os.cpu_count() or 1, 8))):
                pixels[i] = preprocess(image, encoder.preprocessing)
                report(i + 1, len(pixels))
        with atomic_path(path) as target, open(target, "wb") as handle:
            np.save(handle, pixels)

    with session.writing("counterfactual images", folder):
        folder.mkdir(parents=True, exist_ok=True)
        reuse(folder / "made.json", key, [path], make)
    pixels = np.load(path, mmap_mode="r")
    shown = np.array([(pixels[i] != pixels[s.patient]).any() for i, s in enumerate(plan.scenes)])
    with watched("encode counterfactual images") as report:
        features = image_features(
            pixels,
            encoder,
            session.project.cache / "features",
            precision=params.encoders.precision,
            pixels_key=key.digest,
            device=device(),
            report=report,
        )
    return features, shown


def _one(
    session: Session,
    plan: Plan,
    images: FeatureStore,
    shown: np.ndarray,
    encoded: TextStore,
    texts: dict[str, str],
    run: Path,
    folder: Path,
    method: str,
    seed: int,
) -> None:
    from benchmark.evaluation.evaluate import finish
    from benchmark.evaluation.statistics.metric_values import RowIdentity
    from benchmark.training.finished import load_method

    model = load_method(run)
    concepts = [name for name in texts if name in catalogue()]
    wide = np.concatenate([plan.rows("base"), plan.rows("added")])
    whole, denied = (np.full((len(plan.scenes), len(concepts)), np.nan, np.float32) for _ in range(2))
    for scores, prefix in ((whole, ""), (denied, "no ")):
        scores[wide] = _score(model, images, encoded, wide, [texts[prefix + c] for c in concepts])
    pairs = pairs_of(plan, concepts, shown)
    statistics = session.params.statistics
    rows = causal_rows(whole, concepts, pairs, statistics)
    rows += denial_rows(whole, denied, concepts, pairs, statistics)
    related = related_to(concepts)
    matrix = specificity(whole, concepts, pairs, related)
    rows += specificity_rows(matrix, pairs, related, statistics.level)
    measured = [pair.finding for pair in pairs]
    rows += _narrow_rows(plan, measured, model, images, encoded, texts, statistics.level)
    identity = RowIdentity(
        run_id=run.parent.name,
        method=method,
        dataset="counterfactual",
        origin="twin",
        split="counterfactual",
        prompts="template",
        seed=seed,
        task="counterfactual",
    )
    frame = finish(rows, True, identity)[list(METRIC_COLUMNS)]
    write_table(folder / "rows.parquet", frame, {"notice": "twin", "patients": len(plan.visits)})
    with atomic_path(folder / "specificity.npz") as target, open(target, "wb") as handle:
        np.savez_compressed(handle, changes=matrix.changes, findings=matrix.findings, prompts=matrix.prompts)


def pairs_of(plan: Plan, concepts: Sequence[str], shown: np.ndarray) -> list[Pairs]:
    """The images with and without each finding, for findings that LEAST patients show. shown: (S,) whether
    the scene differs from the patient's own image."""
    out = []
    for concept in concepts:
        after = plan.rows("added", concept)
        after = after[shown[after]]
        patients = np.array([plan.scenes[i].patient for i in after], dtype=np.int64)
        if len(after) >= LEAST:
            out.append(Pairs(concept, patients, after, patients))
    return out


def _score(
    model: Method, images: FeatureStore, encoded: TextStore, rows: np.ndarray, texts: Sequence[str]
) -> np.ndarray:
    from benchmark.evaluation.scoring import score

    return score(model, images, encoded.get(encoded.rows(list(texts))), rows=rows, device=device())


def _narrow_rows(
    plan: Plan,
    concepts: Sequence[str],
    model: Method,
    images: FeatureStore,
    encoded: TextStore,
    texts: dict[str, str],
    level: float,
) -> Rows:
    """Side, severity, removal and companions, each asked with the prompts of its own finding."""
    people = len(plan.visits)

    def ask(rows: np.ndarray, *names: str) -> np.ndarray:
        return _score(model, images, encoded, rows, [texts[n] for n in names])

    def patient(rows: np.ndarray) -> np.ndarray:
        return np.array([plan.scenes[i].patient for i in rows], dtype=np.int64)

    sides, grades, monotone, removals = [], [], [], []
    for concept in concepts:
        moved, added = plan.rows("moved", concept), plan.rows("added", concept)
        if len(moved) >= LEAST:
            rows = np.concatenate([added, moved])
            rows = rows[[plan.scenes[i].changed.side in ("left", "right") for i in rows]]
            lean = np.subtract(*ask(rows, f"right {concept}", f"left {concept}").T)
            right = np.array([plan.scenes[i].changed.side == "right" for i in rows])
            sides.append(
                Trials(concept, wins(np.where(right, lean, -lean), np.zeros(len(rows))), patient(rows))
            )
        graded = plan.rows("graded", concept)
        if len(graded) >= LEAST:
            rows = np.concatenate([added, graded])
            value, who = ask(rows, concept)[:, 0], patient(rows)
            order = list(catalogue()[concept].severities)
            grade = np.array([order.index(plan.scenes[i].changed.severity) for i in rows])
            steps, owners, whole = [], [], []
            for one in np.unique(who):
                own = value[who == one][np.argsort(grade[who == one])]
                step = wins(own[1:], own[:-1])
                steps.append(step)
                owners.append(np.full(len(step), one))
                whole.append(float((step == 1).all()))
            grades.append(Trials(concept, np.concatenate(steps), np.concatenate(owners)))
            monotone.append(Trials(concept, np.array(whole), np.unique(who)))
        removed = plan.rows("removed", concept)
        if len(removed):
            before = patient(removed)
            drop = wins(ask(before, concept)[:, 0], ask(removed, concept)[:, 0])
            removals.append((drop, before))
    found = trial_rows("right_side_preferred", sides, people, level, "")
    found += trial_rows("graver_scores_higher", grades, people, level, "")
    found += trial_rows("severity_monotone", monotone, people, level, "")
    falls = Trials("all", *(np.concatenate(part) for part in zip(*removals, strict=True)))
    found += trial_rows("score_falls_when_removed", [falls], people, level, "")
    return found + _companion_rows(plan, concepts, ask, patient, level)


def _companion_rows(plan: Plan, concepts: Sequence[str], ask: Ask, patient: Owner, level: float) -> Rows:
    """What the finding's prompt does for the finding, for its companion alone and for both, in deviations of
    the prompt over the patients' own images; and how often the finding alone beats the companion alone."""
    effect: dict[str, list[Trials]] = {"finding": [], "companion": [], "finding_beside_companion": []}
    won = []
    for finding, device_ in COMPANIONS:
        if finding not in concepts:
            continue
        name = f"{finding} / {device_}"

        def of(kind: str, finding: str = finding, device_: str = device_) -> np.ndarray:
            return np.array(
                [i for i in plan.rows(kind, finding) if plan.scenes[i].companion == device_],  # type: ignore[arg-type]
                dtype=np.int64,
            )

        alone, both = of("companion"), of("both")
        who = patient(alone)
        ill = np.array([i for i in plan.rows("added", finding) if plan.scenes[i].patient in who], np.int64)
        base, f, c, fc = (ask(rows, finding)[:, 0] for rows in (who, ill, alone, both))
        unit = max(float(ask(plan.rows("base"), finding).std()), 1e-6)
        for key, change in (
            ("finding", f - base),
            ("companion", c - base),
            ("finding_beside_companion", fc - c),
        ):
            effect[key].append(Trials(name, change / unit, who))
        won.append(Trials(name, wins(f, c), who))
    people = len(plan.visits)
    rows = trial_rows("finding_beats_companion", won, people, level, "")
    for key, groups in effect.items():
        rows += mean_rows(f"change_by_{key}", groups, people, level)
    return rows
