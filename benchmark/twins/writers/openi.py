"""Open-I: XML reports in the official archive, and flat PNG images.

`automatic` terms are found in the report's own sentences, in mixed case and with repeats; some abnormal
reports have none. `major` terms are an indexer's, from what is drawn. Some reports name no image.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from benchmark.core.files import atomic_path
from benchmark.data.cards import Card
from benchmark.prompts.lexicon import Lexicon, load_lexicon
from benchmark.twins.case import TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.common import (
    base_seed,
    digest,
    grey8,
    section,
    study_rng,
    write_png,
)

TERMS = {
    "atelectasis": ("Atelectases", "atelectasis"),
    "pleural effusion": ("pleural effusion", "Pleural Effusion", "effusion"),
    "pulmonary edema": ("pulmonary edema", "Edema"),
    "pulmonary fibrosis": ("Fibroses", "pulmonary fibrosis"),
    "infiltrates": ("infiltrates",),
    "lung opacity": ("opacity",),
    "increased density": ("opacity",),
    "alveolar pattern": ("opacity", "Alveolar Opacity"),
    "interstitial pattern": ("opacity", "Lung Diseases, Interstitial"),
    "ground glass pattern": ("opacity",),
    "fibrotic band": ("scarring",),
    "consolidation": ("Consolidation",),
    "pulmonary mass": ("mass lesion", "mass"),
    "emphysema": ("Emphysema", "Pulmonary Emphysema"),
    "bullas": ("bullous emphysema",),
    "hiatal hernia": ("hiatal hernia", "Hernia, Hiatal"),
    "rib fracture": ("rib fracture", "Rib Fractures"),
    "fracture": ("fracture", "Fractures, Bone"),
    "pneumoperitoneo": ("Pneumoperitoneum",),
}
"""Terms where the concept's own name is not what the collection writes; case is mixed on purpose."""
NO_TERMS, NO_IMAGE, ODD_NAME, EMPTY_SECTION, POOR, NO_INDEX = 0.12, 0.06, 0.05, 0.03, 0.02, 0.02
ARCHIVE = "NLMCXR_reports.tgz"
IMAGES = "NLMCXR_png"
GAP = 0.012
"""Share of report numbers that are not there."""


def image_name(number: int, order: int) -> str:
    """Image name without extension: `CXR<d>_IM-<4d>-<4d>`, at times with one more group. order: from 0,
    within the report."""
    code = int(digest("openi", number)[:8], 16)
    name = f"CXR{number}_IM-{code % 10_000:04d}-{(order % 9 + 1) * 1000 + 1 + order // 9}"
    odd = int(digest("openi odd", number, order)[:6], 16) / 16**6 < ODD_NAME
    return f"{name}-000{1 + code % 2}" if odd else name


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    base, lexicon = base_seed(rng), load_lexicon()
    ids: Ids = {}
    reports: dict[int, str] = {}
    number = 0
    for study in studies:
        local = study_rng(base, study, "openi")
        names = []
        number += 1 + int(local.random() < GAP)
        for order, image in enumerate(study.images):
            name = ids[image.number] = image_name(number, order)
            write_png(root / IMAGES / f"{name}.png", grey8(image.pixels))
            names.append(name)
        automatic, major = _automatic(study, lexicon, local), _major(study, local)
        reports[number] = _xml(number, study, names, automatic, major, local)
        if not automatic and local.random() < NO_IMAGE:
            number += 1
            reports[number] = _xml(number, study, [], [], ["normal"], local)
    _archive(root / ARCHIVE, reports)
    return ids


def _automatic(study: TwinStudy, lexicon: Lexicon, rng: np.random.Generator) -> list[str]:
    """Terms of positive and uncertain mentions; the software does not see doubt."""
    said = [f.concept for s in study.sentences for f in s.findings if f.presence != "absent"]
    if not study.sentences:
        said = [f.concept for f in study.findings if f.presence == "present"]
    if rng.random() < NO_TERMS:
        return []
    terms: list[str] = []
    for concept in dict.fromkeys(said):
        if concept not in lexicon or lexicon[concept].kind == "pseudo":
            continue
        forms = TERMS.get(concept, (lexicon[concept].name,))
        terms.append(forms[int(rng.integers(len(forms)))])
        if rng.random() < 0.4:
            terms.append(terms[-1].title())
    return terms


def _major(study: TwinStudy, rng: np.random.Generator) -> list[str]:
    present = [f for f in study.findings if f.presence == "present"]
    chance = rng.random(2)
    if chance[0] < NO_INDEX:
        return ["no indexing"]
    out = [
        "/".join(p for p in (f.concept.capitalize(), f.location, f.side, f.severity) if p) for f in present
    ]
    out = out or ["normal"]
    return [*out, "technical quality of image unsatisfactory "] if chance[1] < POOR else out


def _xml(
    number: int,
    study: TwinStudy,
    images: Sequence[str],
    automatic: Sequence[str],
    major: Sequence[str],
    rng: np.random.Generator,
) -> str:
    texts = {
        "COMPARISON": study.sections.get("comparison", "None."),
        "INDICATION": study.sections.get("indication", "XXXX-year-old with XXXX."),
        "FINDINGS": section(study, "findings"),
        "IMPRESSION": section(study, "impression"),
    }
    blank = dict(zip(texts, rng.random(4) < EMPTY_SECTION, strict=True))
    keep_one = not (texts["FINDINGS"] and texts["IMPRESSION"])
    lines = []
    for label, text in texts.items():
        if blank[label] and not (keep_one and label in ("FINDINGS", "IMPRESSION")):
            text = ""
        if label == "IMPRESSION" and blank["FINDINGS"]:
            text = texts["IMPRESSION"]
        lines.append(
            f'            <AbstractText Label="{label}">{escape(text.replace("___", "XXXX"))}</AbstractText>'
        )
    mesh = [f"      <major>{escape(t)}</major>" for t in major]
    mesh += [f"      <automatic>{escape(t)}</automatic>" for t in automatic]
    return "\n".join(
        [
            '<?xml version="1.0" encoding="utf-8"?>',
            "<eCitation>",
            '   <meta type="rr"/>',
            f'   <uId id="CXR{number}"/>',
            f'   <pmcId id="{number}"/>',
            "   <docSource>CXR</docSource>",
            f'   <IUXRId id="{number}"/>',
            "   <licenseType>open-access</licenseType>",
            "   <licenseURL>http://creativecommons.org/licenses/by-nc-nd/4.0/</licenseURL>",
            "   <ccLicense>byncnd</ccLicense>",
            "   <articleURL/>",
            "   <title>Synthetic twin of the Indiana University Chest X-ray Collection</title>",
            "   <MedlineCitation>",
            "      <Article>",
            "         <Abstract>",
            *lines,
            "         </Abstract>",
            "      </Article>",
            "   </MedlineCitation>",
            "   <MeSH>",
            *mesh,
            "   </MeSH>",
            *(line for order, name in enumerate(images, 1) for line in _parent_image(order, name)),
            "</eCitation>",
            "",
        ]
    )


def _parent_image(order: int, name: str) -> list[str]:
    return [
        f"   <parentImage id={quoteattr(name)}>",
        f"      <figureId>F{order}</figureId>",
        "      <caption>Chest radiograph, XXXX</caption>",
        '      <panel type="single">',
        f"         <url>/hadoop/storage/radiology/extract/{escape(name)}.jpg</url>",
        "         <imgModality>7</imgModality>",
        "      </panel>",
        "   </parentImage>",
    ]


def _archive(path: Path, reports: dict[int, str]) -> None:
    """A gzipped tar with fixed times and owners, members in the order of their numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic_path(path) as temporary,
        open(temporary, "wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for number in sorted(reports):
            data = reports[number].encode("utf-8")
            member = tarfile.TarInfo(f"ecgen-radiology/{number}.xml")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
