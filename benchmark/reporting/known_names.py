"""Names of sets, strata, metrics and cells in the ledger and the published values, held against the cards,
the tasks and params.yaml: of a mistyped one there are never results, so that its claim would stand as not run
without a word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from benchmark.core.errors import BenchError, closest
from benchmark.core.files import read_yaml
from benchmark.core.tasks import TASKS
from benchmark.data.cards import card_names, load_card
from benchmark.grid.declared import declared_task
from benchmark.grid.layout import Project
from benchmark.grid.modality import on_volumes
from benchmark.grid.params import main_name
from benchmark.grid.params_file import load_params
from benchmark.grid.start import project_files
from benchmark.prompts.settings import STYLES
from benchmark.reporting.claims import (
    CLAIMS,
    CT_FAMILY,
    Absolute,
    Claim,
    Contrast,
    Interaction,
    Ledger,
    Paired,
    source_file,
)

STRATA = ("all", "head", "medium", "tail", "named", "never-named", "findings")
"""Groups of classes that any set may have."""
SUBGROUPS = ("sex=", "age=", "view=", "site=")
OF_TASKS = {
    "classification": r"(auroc|average_precision|auprc_trapezoid)(_gap)?|(f1|mcc)(_max_test_set)?"
    r"|sensitivity_at_specificity_[\d.]+(_max_test_set)?|top_\d+|ece",
    "brgsa_rules": r"(accuracy|precision|recall|weighted_f1)_brgsa|strict_recall_at_1|precision_at_3",
    "grounding": r"pointing_game(_ties_shared|_centre|_mean_map)?|(cnr|iou_held_out)(_mean_map)?"
    r"|iou_open_vocabulary",
    "negation": r"auroc_(present|absent|contrast)|choice_(true|negated|omitted)|true_over_(negated|omitted)"
    r"|present_over_denied|denied_over_present",
    "paraphrase": r"flips_by_(wording(_refitted)?|any_wording|image)|calls_lost_by_(wording|image)",
    "reconstructions": r"(auroc|average_precision)_(first_of_scan|mean_of_scan|every_volume)",
    "retrieval": r"recall_at_\d+_(image_to_text|text_to_image)|(modality_gap|(un)?paired_cosine)(_\w+)?",
    "segmentation": r"dice(_any_scale|_held_out)?|empty_specificity|pixel_auroc",
    "transfer": r"auroc_zero_shot|(auroc_(probe|tuned|encoder_(last_stage|full))|images|classes)_[\d.]+",
    "underdiagnosis": r"(fnr|fpr|underdiagnosis|overdiagnosis)(_gap)?",
    "volume_grounding": r"pointing_game(_mean_map|_chance)?",
    "volume_retrieval": r"recall_at_\d+_report_to_volume|label_overlap_at_\d+(_as_released)?",
}
"""Task → the names of its metrics. One that is not here, of a plug-in, may have any."""


def check_names(claims: Sequence[Claim], path: Path) -> None:
    """Raises BenchError for the first claim that names a set, stratum or metric of which there is none."""
    for claim in claims:
        own = claim.contrast
        sets = own.datasets if isinstance(own.datasets, tuple) else ()
        strata = (own.stratum, own.against) if isinstance(own, Interaction) else (own.stratum,)
        odd = next(filter(None, (unknown_set(name) for name in sets)), "")
        odd = odd or next(filter(None, (unknown_stratum(name, sets) for name in strata)), "")
        odd = odd or next(filter(None, _odd_metrics(own)), "")
        if isinstance(own, Paired) and own.prompts:
            odd = odd or next(filter(None, map(_unknown_prompts, (own.prompts.a, own.prompts.b))), "")
        if odd:
            raise BenchError(f"{path}: claim '{claim.id}': {odd}")


def check_rows(ledger: Ledger, project: Project) -> None:
    """Raises BenchError for the first claim or prediction that names a cell which neither params.yaml, the
    parameters that the code comes with, nor a checkpoint or model of elsewhere can have. Of these alone there
    may be results yet. Where those parameters were cut down to one profile (`bench stage profile`), nothing
    says which cells went, and none is judged."""
    path, shipped = source_file(project, CLAIMS), project_files() / "params.yaml"
    if "profiles" not in read_yaml(shipped):
        return
    for kind, name, cells, volumes in _rows(ledger):
        for cell in cells:
            if _elsewhere(cell) or cell in _cells(project.params, volumes):
                continue
            known = {*_cells(project.params, volumes), *_cells(shipped, volumes)}
            if cell not in known:
                where = "METHOD-ct or a key of ct.cells" if volumes else "METHOD-main or a key of cells"
                hint = f"Name {where} of params.yaml, or RELEASE-official."
                text = f"{path}: {kind} '{name}': there is no cell '{cell}'.{_guess(cell, known)} {hint}"
                raise BenchError(text)


def _rows(ledger: Ledger) -> Iterator[tuple[str, str, list[str], bool]]:
    """Kind and name of each entry, the cells that it names, and whether they are of CT volumes."""
    for claim in ledger.claims:
        own = claim.contrast
        cells = [own.a] if isinstance(own, Absolute) else [own.a, own.b]
        yield "claim", claim.id, cells, claim.family == CT_FAMILY
    for prediction in ledger.predictions:
        yield "prediction", prediction.id, list(prediction.rows), False


@cache
def _cells(path: Path, volumes: bool) -> frozenset[str]:
    """The main cells and ablation cells of parameters, of radiographs or of CT volumes."""
    params = load_params(path)
    own = on_volumes(params) if volumes else params
    return frozenset({*own.cells, *(main_name(own, method) for method in own.methods)})


def _elsewhere(cell: str) -> bool:
    """Whether it is a released checkpoint, or any model of two towers."""
    from benchmark.official.seen import SEEN

    release, official, _ = cell.partition("-official")
    return cell.endswith("-model") or bool(official and release in SEEN)


def unknown_set(name: str) -> str:
    """What is wrong with the name of a set; empty where it has a card."""
    known = card_names()
    return "" if name in known else f"there is no card of '{name}'.{_guess(name, known)}"


def unknown_stratum(name: str, sets: Sequence[str]) -> str:
    """What is wrong with the name of a stratum of these sets, or of any; empty where a card or every set has
    it."""
    if name in STRATA or name.startswith(SUBGROUPS):
        return ""
    for own in [[one] for one in sets] or [card_names()]:
        known = [*STRATA, *(group for one in own for group in load_card(one).subsets)]
        if name not in known:
            whose = f"{own[0]} has no" if sets else "no set has a"
            return f"{whose} stratum '{name}'.{_guess(name, known)}"
    return ""


def _odd_metrics(own: Contrast) -> Iterator[str]:
    """What is wrong with each metric of a claim: of a paired one, methods are not compared by it; of another
    one, no task has it."""
    from benchmark.evaluation.statistics.metrics import COMPARED

    compared = [f"{metric}_macro" for metric in COMPARED]
    if isinstance(own, Paired | Interaction):
        odd = own.metric not in {*compared, *COMPARED}
        yield f"methods are not compared by '{own.metric}'.{_guess(own.metric, compared)}" if odd else ""
    elif set(TASKS.names()) <= OF_TASKS.keys():
        first = own.metric.removesuffix("_macro") if isinstance(own, Absolute) else own.metric
        for name in (first, getattr(own, "metric_b", "") or first):
            if not any(re.fullmatch(names, name) for names in OF_TASKS.values()):
                shown = [metric for task in TASKS.names() for metric in declared_task(task).shown]
                yield f"no task has a metric '{name}'.{_guess(name, shown)} See the tables of the task."


def _unknown_prompts(name: str) -> str:
    """What is wrong with the name of inference prompts, which begins with their style."""
    return "" if name.startswith(STYLES) else f"there are no prompts '{name}'.{_guess(name, STYLES)}"


def _guess(name: str, known: Iterable[str]) -> str:
    near = closest(name, known)
    return f" Did you mean '{near}'?" if near else ""
