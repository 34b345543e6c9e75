"""What `bench report`, `bench verify` and `bench explain` call: gather, fold, write."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core import numerics
from benchmark.core.errors import BenchError
from benchmark.core.files import read_yaml, write_json
from benchmark.core.guard import parse_yaml
from benchmark.exchange.registry import submitted_rows
from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from benchmark.grid.parts import VOLUMES
from benchmark.reporting.changes import Reproduced, Stages, compare_locks, compare_tables
from benchmark.reporting.claims import CLAIMS, Claim, claims_of, load_claims, source_file
from benchmark.reporting.gather import PARTS, Gathered, gather
from benchmark.reporting.published import Published, load_published
from benchmark.reporting.table import Table, save
from benchmark.reporting.tables import Material, all_tables
from benchmark.reporting.verdicts import Judgement, judge

if TYPE_CHECKING:
    from benchmark.reporting.figures.style import Drawing

PUBLISHED = "published.yaml"
CT_FAMILY = "volumes"
"""The family of the ledger whose claims are judged by results on CT volumes."""


def table_folder(project: Project, part: str) -> Path:
    """reports/tables: the main tables. reports/grid: those with the ablations. reports/ct: those on CT."""
    return project.reports / {"main": "tables", VOLUMES: "ct"}.get(part, "grid")


def published(project: Project) -> Published:
    return load_published(source_file(project, PUBLISHED))


class PartReport:
    """One part's results with what is made of them, each made once."""

    def __init__(self, project: Project, part: str | None = None) -> None:
        self.project = project
        self.gathered = gather(project, part)

    @cached_property
    def tables(self) -> list[Table]:
        """Every table; the ledger of claims too, of which the main part has those on ablations as not run."""
        rows = submitted_rows(self.project.root)
        return all_tables(Material(self.gathered.traced, published(self.project), self.judgements, rows))

    @cached_property
    def drawings(self) -> list[Drawing]:
        from benchmark.reporting.figures import all_figures

        return all_figures(self.gathered.traced, self.gathered.histories, self.gathered.bands)

    @cached_property
    def judgements(self) -> list[Judgement]:
        return judge_all(self.project, gathered=self.gathered)


def write_tables(report: PartReport) -> list[Path]:
    """reports/tables/ (main), reports/grid/ (all) or reports/ct/: every table as Markdown, CSV and LaTeX.

    Tables of an earlier run go. fingerprint.json says which bits the processor computed, so that `bench
    doctor` can tell whether another one will make the same tables.
    """
    from benchmark.core import processor

    folder = table_folder(report.project, report.gathered.part)
    paths = [path for table in report.tables for path in save(table, folder)]
    remove_others(folder, paths, (".md", ".csv", ".tex"))
    numerics.apply(load_params(report.project.params).numerics)
    write_json(folder / processor.FINGERPRINT, processor.current())
    return paths


def figure_folder(project: Project) -> Path:
    return project.reports / "figures"


def write_figures(report: PartReport) -> list[Path]:
    """reports/figures/: every figure as SVG, PDF and PNG; those of an earlier run go."""
    from benchmark.reporting.figures.style import save as save_figure

    folder = figure_folder(report.project)
    paths = [path for drawing in report.drawings for path in save_figure(drawing, folder)]
    remove_others(folder, paths, (".svg", ".pdf", ".png"))
    return paths


def remove_others(folder: Path, kept: Sequence[Path], suffixes: Sequence[str]) -> None:
    for stale in set(folder.glob("*.*")) - set(kept):
        if stale.suffix in suffixes:
            stale.unlink()


def where(project: Project) -> list[str]:
    """Where the reports lie, for people; what is missing says how to make it."""
    lines = []
    for part in ("main", "all", VOLUMES):
        folder = table_folder(project, part)
        count = len(list(folder.glob("*.md")))
        if not count and part == VOLUMES:
            lines.append("tables   none on CT volumes. Run `bench stage ct`.")
        elif count:
            lines.append(f"tables   {project.relative(folder)}/ ({count} tables as .md, .csv and .tex)")
        else:
            lines.append(f"tables   none of part '{part}'. Run `bench report tables --part {part}`.")
    figures = project.reports / "figures"
    count = len(list(figures.glob("*.png")))
    lines.append(
        f"figures  {project.relative(figures)}/ ({count} figures)"
        if count
        else "figures  none. Run `bench report figures`."
    )
    page = project.reports / "site" / "index.html"
    lines.append(
        f"page     {project.relative(page)}" if page.is_file() else "page     none. Run `bench report site`."
    )
    return lines


def verify(project: Project, wanted: Sequence[str]) -> list[Judgement]:
    """Judge the whole ledger (its claims are corrected together) and return those asked for.

    Raises UnknownName for a claim that the ledger does not hold.
    """
    claims = claims_of(project, wanted)
    judgements = judge_all(project, claims)
    return [j for j in judgements if not wanted or j.claim in wanted]


def judge_all(
    project: Project, claims: Sequence[Claim] | None = None, gathered: Gathered | None = None
) -> list[Judgement]:
    """Every claim; `not run` throughout where nothing was summarised.

    gathered: the part whose claims are judged, those on CT volumes or all others; None: both, each by its own
    part.
    """
    claims = claims or load_claims(source_file(project, CLAIMS))
    parts = [False, True] if gathered is None else [gathered.part == VOLUMES]
    found = {j.claim: j for volumes in parts for j in _judged(project, claims, volumes, gathered)}
    return [found[claim.id] for claim in claims if claim.id in found]


def _judged(
    project: Project, claims: Sequence[Claim], volumes: bool, gathered: Gathered | None
) -> list[Judgement]:
    own = [claim for claim in claims if (claim.family == CT_FAMILY) == volumes]
    parts = [part for part in PARTS if (part == VOLUMES) == volumes]
    if gathered is None:
        if not any((project.summary(part) / "metrics.parquet").is_file() for part in parts):
            return judge(own, None, lambda *_: None)
        gathered = gather(project, VOLUMES if volumes else None)
    return judge(own, gathered.evidence, gathered.interaction)


def changes(
    project: Project, part: str | None = None, since: str = "HEAD", until: str | None = None
) -> Reproduced:
    """The tables and dvc.lock of `until` (None: those on disk) against those of `since`. part None: both,
    where they are made.

    Raises BenchError where there are no tables, no git, or no such commit.
    """
    folders = {name: table_folder(project, name) for name in ("main", "all", VOLUMES)}
    now = {name: _tables(project, folder, until) for name, folder in folders.items()}
    made = [name for name, found in now.items() if found]
    wanted = made if part is None else [part]
    if not wanted or wanted[0] not in made:
        name = part or "main"
        place = f"{project.relative(folders[name])}{f' at {until}' if until else ''}"
        raise BenchError(f"{place}: no tables. Run `bench report tables --part {name}`.")
    commit = _git(project, "rev-parse", "--short", f"{since}^{{commit}}").strip()
    parts = {
        project.relative(folders[name]): compare_tables(_tables(project, folders[name], since), now[name])
        for name in wanted
    }
    return Reproduced(commit, parts, _stages(project, since, until))


def _tables(project: Project, folder: Path, commit: str | None) -> dict[str, str]:
    """Name → CSV of the tables of a folder, on disk or as committed."""
    if commit is None:
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.csv"))}
    listed = _git(project, "ls-tree", "-r", "--name-only", commit, f"{project.relative(folder)}/")
    return {
        Path(name).name: _git(project, "show", f"{commit}:./{name}")
        for name in listed.splitlines()
        if name.endswith(".csv")
    }


def _stages(project: Project, since: str, until: str | None) -> Stages | None:
    """None where dvc.lock was never made."""
    path = project.root / "dvc.lock"
    now = _lock(project, until) if until else read_yaml(path) if path.is_file() else None
    return None if now is None else compare_locks(_lock(project, since) or {}, now)


def _lock(project: Project, commit: str) -> dict[str, Any] | None:
    if not _git(project, "ls-tree", "--name-only", commit, "dvc.lock").strip():
        return None
    return parse_yaml(_git(project, "show", f"{commit}:./dvc.lock"), f"{commit}:dvc.lock") or {}


def _git(project: Project, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=project.root, capture_output=True, text=True, check=True
        )
    except FileNotFoundError:
        raise BenchError("git is not installed; there is nothing committed to compare with.") from None
    except subprocess.CalledProcessError as error:
        why = error.stderr.strip().splitlines()[-1:] or [""]
        if "not a git repository" in why[0]:
            raise BenchError(f"{project.root}: no git history here to compare with.") from None
        raise BenchError(f"git {' '.join(arguments)}: {why[0]}. Name a commit of `git log`.") from None
    return done.stdout
