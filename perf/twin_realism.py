"""How much a twin's reports and lesions look like real ones: the same measures of both, side by side.

    python perf/twin_realism.py --reports NLMCXR_reports.tgz [--boxes BBox_List_2017.csv] [--det test.json]

Reports: the twin's of Open-I and of MIMIC-CXR, as many as there are real ones, written without drawing a
picture. Sentences count as equal when their lower-case words are. Boxes: shares of the image's area at the
10th, 50th and 90th percentile by finding, of the ChestX-ray14 and ChestX-Det10 twins and of the official
files, where they are named.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from benchmark.data.cards import load_card
from benchmark.prompts.aligned import align_report
from benchmark.prompts.class_prompts import class_prompts
from benchmark.prompts.rules import RuleAligner
from benchmark.prompts.sources import read_reports
from benchmark.twins.build import TwinSpec, generate
from benchmark.twins.population import findings_of, visits
from benchmark.twins.reports import write_report
from benchmark.twins.sites import site
from perf.options import described

SENTENCES, WORDS = 4000, 20_000
"""How many are compared: ratios of distinct ones fall with the number."""
DETECTION = {
    "Atelectasis": "atelectasis",
    "Calcification": "calcified densities",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidation",
    "Effusion": "pleural effusion",
    "Emphysema": "emphysema",
    "Fibrosis": "pulmonary fibrosis",
    "Fracture": "fracture",
    "Infiltrate": "infiltrates",
    "Mass": "pulmonary mass",
    "Nodule": "nodule",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "pneumothorax",
}


def twin_reports(name: str, count: int, seed: int = 0) -> list[str]:
    """Findings and impression of the first `count` visits of a site."""
    place, out = site(name), []
    for visit in visits(place, 4 * count, seed):
        _, sections = write_report(visit, findings_of(visit, place, seed), place, seed)
        out.append(
            "\n\n".join(f"{s.upper()}: {sections[s]}" for s in ("findings", "impression") if s in sections)
        )
        if len(out) == count:
            break
    return out


def text_measures(reports: Iterable[str]) -> dict[str, float]:
    """Length, repetition and vocabulary of the sentences, and what the rule aligner makes of them."""
    rules, card = RuleAligner(), load_card("padchest")
    prompts = {_plain(text) for text in class_prompts(card, style="official").texts}
    sentences: list[str] = []
    stated: list[str] = []
    per_report, signs = [], Counter[str]()
    for report in reports:
        found = align_report(report, rules, rules.lexicon)
        per_report.append(len(found))
        sentences += [_plain(s.text) for s in found]
        for sentence in found:
            signs.update(s.presence for s in sentence.statements)
            pairs = zip(sentence.statements, sentence.aligned, strict=True)
            stated += [_plain(text) for s, text in pairs if s.presence == "present"]
    rng = np.random.default_rng(0)
    some = Counter(sentences[i] for i in rng.permutation(len(sentences))[:SENTENCES])
    words = [w for i in rng.permutation(len(sentences)) for w in sentences[i].split()][:WORDS]
    lengths = [len(s.split()) for s in sentences]
    total = sum(some.values())
    return {
        "sentences a report": float(np.mean(per_report)),
        "words a sentence": float(np.mean(lengths)),
        "words, 10th percentile": float(np.percentile(lengths, 10)),
        "words, 90th percentile": float(np.percentile(lengths, 90)),
        f"distinct of {total} sentences": len(some) / total,
        "sentences that occur once": sum(n == 1 for n in some.values()) / total,
        "ten commonest sentences": sum(n for _, n in some.most_common(10)) / total,
        f"vocabulary of {len(words)} words": len(set(words)),
        f"pairs of words in {len(words)}": len(set(itertools.pairwise(words))),
        "absent of all statements": signs["absent"] / signs.total(),
        "statements equal to a PadChest prompt": float(np.mean([s in prompts for s in stated])),
        "PadChest prompts among them": len(prompts.intersection(stated)),
    }


def box_shares(boxes: Mapping[str, list[float]]) -> dict[str, tuple[float, float, float]]:
    """Finding → 10th, 50th and 90th percentile of the area, in shares of the image."""
    return {
        name: tuple(float(v) for v in np.percentile(boxes[name], (10, 50, 90)))  # type: ignore[misc]
        for name in sorted(boxes)
        if len(boxes[name]) >= 15
    }


def twin_boxes(dataset: str, images: int, size: int = 256) -> dict[str, list[float]]:
    names = {concept: name for name, concept in DETECTION.items()}
    out = defaultdict(list)
    for study in generate(dataset, TwinSpec(images=images, size=size), 0, workers=1):
        for image in study.images:
            for region in image.regions:
                if region.concept in names:
                    out[names[region.concept]].append(region.box[2] * region.box[3] / size**2)
    return out


def nih_boxes(path: Path) -> dict[str, list[float]]:
    """Official BBox_List_2017.csv, in pixels of 1024."""
    out = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        _, name, _, _, width, height, *_ = line.split(",")
        out[name].append(float(width) * float(height) / 1024**2)
    return out


def det_boxes(path: Path) -> dict[str, list[float]]:
    """Official test.json of ChestX-Det10, corners in pixels of 1024."""
    out = defaultdict(list)
    for entry in json.loads(path.read_text(encoding="utf-8")):
        for name, (left, top, right, bottom) in zip(entry["syms"], entry["boxes"], strict=True):
            out[name].append((right - left) * (bottom - top) / 1024**2)
    return out


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9_']+", text.lower()))


def main() -> int:
    parser = described(__doc__)
    parser.add_argument("--reports", type=Path, required=True)
    parser.add_argument("--boxes", type=Path)
    parser.add_argument("--det", type=Path)
    parser.add_argument("--images", type=int, default=800)
    options = parser.parse_args()
    real = list(read_reports(options.reports).values())
    columns = {
        "real": text_measures(real),
        "openi twin": text_measures(twin_reports("openi", len(real))),
        "mimic twin": text_measures(twin_reports("mimic_cxr", len(real))),
    }
    print("| reports | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns))
    for measure in columns["real"]:
        print(
            f"| {measure} | " + " | ".join(f"{c.get(measure, np.nan):.3g}" for c in columns.values()) + " |"
        )
    shares = {}
    for name, dataset in (("chestxdet10 twin", "chestxdet10"), ("chestxray14 twin", "chestxray14")):
        shares[name] = box_shares(twin_boxes(dataset, options.images))
    if options.det:
        shares["chestxdet10"] = box_shares(det_boxes(options.det))
    if options.boxes:
        shares["chestxray14"] = box_shares(nih_boxes(options.boxes))
    print("\n| box share of the image | " + " | ".join(shares) + " |\n|---|" + "---|" * len(shares))
    for finding in sorted(set().union(*shares.values())):
        cells = [
            " · ".join(f"{v:.4f}" for v in table[finding]) if finding in table else ""
            for table in shares.values()
        ]
        print(f"| {finding} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
