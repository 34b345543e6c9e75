"""Open-I (Indiana University): XML reports, as files or as the official archive, and PNG images.

    NLMCXR_reports.tgz  or  ecgen-radiology/1.xml …
    NLMCXR_png/CXR1_1_IM-0001-3001.png …  or flat, or DICOM under the same names

One row an image; the report id is the cluster unit. Labels come from the `automatic` terms by the card's
label rules: the first rule fills the class columns, each further rule `<class>@<rule>`. Reports without
image are counted, and so are reports without automatic terms, which are negative everywhere. Without any
image file the manifest still lists the images that the reports name, and `info` says that none is here.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

import numpy as np
import pandas as pd
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from benchmark.core.errors import DataError
from benchmark.core.guard import bounded_size, parsing
from benchmark.core.tables import Manifest
from benchmark.data.cards import Card, LabelRule
from benchmark.data.readers import READERS
from benchmark.data.readers.common import FETCH, Log, manifest
from benchmark.data.readers.files import find, image_index, only, relative, require_root

ARCHIVE = ("NLMCXR_reports*.tgz", "NLMCXR_reports*.tar.gz")
LARGEST_REPORT, LARGEST_ARCHIVE = 4 << 20, 1 << 30
"""Bytes; the official archive unpacks to a fiftieth of that."""
DEEPEST = 64
"""Levels of XML; reports have five."""
SECTIONS = ("COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION")


@dataclass(frozen=True)
class Report:
    """One XML file. automatic, major: terms as written. images: names without extension."""

    uid: str
    sections: dict[str, str]
    automatic: tuple[str, ...]
    major: tuple[str, ...]
    images: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sections that hold something, each under its head."""
        return "\n".join(f"{k}: {v}" for k, v in self.sections.items() if v)

    @property
    def terms(self) -> tuple[str, ...]:
        """Automatic terms lower-cased, without repeats, sorted."""
        return tuple(sorted({t.strip().lower() for t in self.automatic if t.strip()}))


@READERS.register("openi")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError where there is no report, for XML that is malformed or carries entities, for an
    image that two reports name."""
    root = require_root(root, card)
    log = Log()
    reports = sorted(read_reports(root, card, log), key=lambda r: _number(r.uid))
    files = image_index(root)
    index = {name.rsplit(".", 1)[0]: name for name in sorted(files)}
    rows = [(image, report) for report in reports for image in report.images]
    where = root / next(iter(log.files.values()))
    if not rows:
        raise DataError(f"{where}: none of {len(reports)} reports names an image.")
    log.see("report without image", [r.uid for r in reports if not r.images])
    log.see(
        "report without automatic terms: negative for every class", [r.uid for r in reports if not r.terms]
    )
    if index:
        log.drop("image file is absent", [image for image, _ in rows if image not in index])
        rows = [(image, report) for image, report in rows if image in index]
        named = {image for image, _ in rows}
        log.see("image file that no report names", [n for n in index if n not in named])
        if not rows:
            raise DataError(
                f"{root}: none of the images that the reports name is here. Unpack NLMCXR_png.tgz there."
            )
    else:
        log.note("no image files are here: the manifest lists the images that the reports name")
    labels = {
        f"{name}@{key}" if order else name: column
        for order, (key, rule) in enumerate(card.label_rules.items())
        for name, column in _apply(rule, [r for _, r in rows], card).items()
    }
    meta = pd.DataFrame(
        {
            "image_id": [image for image, _ in rows],
            "path": [only(root, index[i], files[index[i]]) if i in index else f"{i}.png" for i, _ in rows],
            "patient_id": [r.uid for _, r in rows],
            "study_id": [r.uid for _, r in rows],
            "split": "test",
            "report": [r.text or None for _, r in rows],
        }
    )
    result = manifest(root, card, meta, labels, log, table=where)
    of_class = _apply(next(iter(card.label_rules.values())), reports, card)
    stated = {name: int(np.count_nonzero(column)) for name, column in of_class.items()}
    info = result.info.counted(all_reports=len(reports)).model_copy(update={"reports_by_class": stated})
    return replace(result, info=info)


def read_reports(root: Path, card: Card, log: Log) -> list[Report]:
    """All reports below `root`, from files or from the archive (in memory, nothing is unpacked)."""
    folders = [
        p for p in (root / "ecgen-radiology", root / "NLMCXR_reports" / "ecgen-radiology") if p.is_dir()
    ]
    if folders:
        log.files["reports"] = relative(folders[0], root)
        files = sorted(folders[0].glob("*.xml"), key=lambda p: _number(p.stem))
        if not files:
            raise DataError(f"{folders[0]}: no XML report is here. Unpack NLMCXR_reports.tgz again.")
        reports = []
        for path in files:
            bounded_size(path, "a report", LARGEST_REPORT)
            with parsing(path, "a report"):
                data = path.read_bytes()
            reports.append(_report(data, str(path)))
    else:
        archives = find(root, ARCHIVE, 1)
        if not archives:
            raise DataError(
                f"{root}: neither ecgen-radiology/ nor NLMCXR_reports.tgz is here. "
                f"Check --data-root; {card.access}"
            )
        log.files["reports"] = relative(archives[0], root)
        reports = list(_from_archive(archives[0]))
        if not reports:
            raise DataError(f"{archives[0]}: no XML report inside. Fetch it again.")
    seen: dict[str, str] = {}
    for report in reports:
        for image in report.images:
            if image in seen:
                raise DataError(
                    f"{root}: image '{image}' is named by reports {seen[image]} and {report.uid}."
                )
            seen[image] = report.uid
    return reports


def _from_archive(path: Path) -> Iterator[Report]:
    with parsing(path, "a gzipped tar archive", FETCH) as _, tarfile.open(path, "r:gz") as archive:
        unpacked = 0
        for member in archive:
            unpacked += member.size
            if unpacked > LARGEST_ARCHIVE:
                raise DataError(f"{path}: {member.name} takes it over {LARGEST_ARCHIVE:,} bytes. {FETCH}")
            if not member.isfile() or not member.name.endswith(".xml"):
                continue
            handle = archive.extractfile(member) if member.size <= LARGEST_REPORT else None
            if handle is None:
                raise DataError(f"{path}: {member.name} has {member.size:,} bytes; no report is that long.")
            yield _report(handle.read(), f"{path}:{member.name}")


def _report(data: bytes, where: str) -> Report:
    with parsing(where, "well-formed XML", FETCH, private=True) as place:
        try:
            tree = _tree(data)
        except ParseError as error:
            place.line = error.position[0]
            raise
        except DefusedXmlException:
            raise DataError(
                f"{where}: declares a document type or entities, which no report does. Remove it."
            ) from None
    uid = tree.find("uId")
    if uid is None or not uid.get("id"):
        raise DataError(f"{where}: no uId. This is not an Open-I report.")
    sections: dict[str, str] = {}
    for element in tree.iter("AbstractText"):
        label = element.get("Label", "").strip().upper()
        if label in SECTIONS:
            sections[label] = " ".join("".join(element.itertext()).split())
    images = []
    for element in tree.iter("parentImage"):
        name = element.get("id", "").strip()
        if not name or "/" in name or "\\" in name or name.startswith("."):
            raise DataError(f"{where}: image name '{name}' is not a plain name.")
        images.append(name)
    return Report(
        uid=str(uid.get("id")).strip(),
        sections=sections,
        automatic=tuple(e.text or "" for e in tree.iter("automatic")),
        major=tuple(e.text or "" for e in tree.iter("major")),
        images=tuple(dict.fromkeys(images)),
    )


def _tree(data: bytes) -> Element:
    """The root element. Raises ParseError also where elements are nested deeper than DEEPEST."""
    parser = DefusedXMLParser(target=_Shallow(), forbid_dtd=True)
    parser.feed(data)
    root: Element = parser.close()
    return root


class _Shallow(TreeBuilder):
    """A builder that stops before a tree is so deep that taking it apart again overflows the stack."""

    depth = 0

    def start(self, tag: str, attrs: dict[str, str]) -> Element:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"elements nested deeper than {DEEPEST}")
        return super().start(tag, attrs)

    def end(self, tag: str) -> Element:
        self.depth -= 1
        return super().end(tag)


def _apply(rule: LabelRule, reports: list[Report], card: Card) -> dict[str, np.ndarray]:
    """class → (N,) int8 by one label rule."""
    joined = ["|".join(r.terms) for r in reports]
    sets = [set(r.terms) for r in reports]
    out = {}
    for name in card.classes:
        terms = rule.terms.get(name, ())
        if rule.match == "substring":
            hits = [any(t in text for t in terms) for text in joined]
        else:
            hits = [not have.isdisjoint(terms) for have in sets]
        out[name] = np.array(hits, dtype=np.int8)
    return out


def _number(text: str) -> tuple[int, str]:
    digits = "".join(c for c in text if c.isdigit())
    return (int(digits) if digits else 0, text)
