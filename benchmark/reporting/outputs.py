"""What `bench report` calls: gather, fold, write."""

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
from benchmark.grid.parts import ENCODERS, OF_ENCODERS, PARTS, VOLUMES
from benchmark.reporting.changes import Reproduced, Stages, compare_locks, compare_tables
from benchmark.reporting.claims import CLAIMS, load_ledger, source_file
from benchmark.reporting.columns import signed
from benchmark.reporting.explain import Stories
from benchmark.reporting.gains import gains
from benchmark.reporting.gather import Gathered, gather
from benchmark.reporting.table import Table, save
from benchmark.reporting.tables import Material, all_tables
from benchmark.reporting.verdicts import Judgement
from benchmark.reporting.verify import judge_all, predictions_held, published

if TYPE_CHECKING:
    from benchmark.reporting.figures.style import Drawing
    from benchmark.stages.robustness import Study
    from benchmark.stages.run import Session


def table_folder(project: Project, part: str) -> Path:
    """reports/tables: the main tables. reports/grid: those with the ablations. reports/ct: those on CT.
    reports/encoders: those of cells with encoders of their own."""
    return project.reports / {"main": "tables", VOLUMES: "ct", ENCODERS: "encoders"}.get(part, "grid")


class PartReport:
    """One part's results with what is made of them, each made once."""

    def __init__(self, project: Project, part: str | None = None) -> None:
        self.project = project
        self.gathered = gather(project, part)

    @cached_property
    def tables(self) -> list[Table]:
        """Every table; the ledger of claims too, of which the main part has those on ablations as not run. Of
        cells with encoders of their own the tables that are about encoders."""
        if self.gathered.part == ENCODERS:
            made = all_tables(Material(self.gathered.evidence, published(self.project)))
            return [table for table in made if table.name.startswith(OF_ENCODERS)]
        rows = submitted_rows(self.project.root)
        expected = load_ledger(source_file(self.project, CLAIMS)).predictions
        return all_tables(
            Material(
                self.gathered.traced,
                published(self.project),
                self.judgements,
                rows,
                predictions_held(self.project, self.gathered, expected, computed=True),
                gains(self.gathered),
            )
        )

    @cached_property
    def drawings(self) -> list[Drawing]:
        from benchmark.reporting.figures import all_figures

        return all_figures(self.gathered.traced, self.gathered.histories, self.gathered.bands)

    @cached_property
    def stories(self) -> Stories:
        return Stories(self.gathered)

    @cached_property
    def judgements(self) -> list[Judgement]:
        return judge_all(self.project, self.gathered)


def write_tables(report: PartReport) -> list[Path]:
    """The tables of a part as Markdown, CSV and LaTeX, in its folder under reports/.

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


def write_search(project: Project) -> list[Path]:
    """reports/tuning/search.*: what the search of each method found, as a table and a figure. Raises
    BenchError where no search is on record."""
    from benchmark.reporting.figures.search import search as draw
    from benchmark.reporting.figures.style import save as save_figure
    from benchmark.reporting.search import read_search, search_table

    folder = project.reports / "tuning"
    records = read_search(folder, load_params(project.params).methods)
    return [*save(search_table(records), folder), *save_figure(draw(records), folder)]


def write_attribution(project: Project) -> list[Path]:
    """reports/attribution/: what each ingredient of a difference is worth, as a table and a figure, of the
    comparisons whose cells all have results. Raises BenchError where none has."""
    from benchmark.reporting.figures.attribution import attribution as draw
    from benchmark.reporting.figures.style import save as save_figure
    from benchmark.reporting.tables.attribution import attribution

    evidence = gather(project, "all").attributed
    drawing = draw(evidence)
    if drawing is None:
        why = "; ".join(evidence.contributions_lacking) or "params.yaml names none under attribution"
        raise BenchError(
            f"nothing to attribute: {why}. Run `bench stage cells attribution`, then "
            "`bench stage summarise all`."
        )
    folder = project.reports / "attribution"
    table = signed(attribution(evidence), "bench report attribution", evidence.commit)
    return [*save(table, folder), *save_figure(drawing, folder)]


def write_ablations(project: Project, names: Sequence[str] = ()) -> list[Path]:
    """reports/ablations/: these tables of ablation cells, or each that has results, with a figure, of the
    cells that are there; the others are named. Raises BenchError for a table that params.yaml has not, and
    where none has results."""
    from benchmark.reporting.factors import TEXT_FACTORS
    from benchmark.reporting.figures.style import save as save_figure
    from benchmark.reporting.tables.ablation import kinds

    gathered = gather(project, "all")
    evidence = gathered.evidence
    factors = [TEXT_FACTORS] if any(c.table == TEXT_FACTORS for c in evidence.cells.values()) else []
    known = [*kinds(evidence), *factors]
    for name in names:
        if name not in known:
            raise BenchError(f"bench report ablations {name}: expected some of {', '.join(known)}.")
    folder, paths = project.reports / "ablations", []
    for name in names or known:
        for made, drawing in _ablation(gathered, name):
            if made is not None and made.rows and drawing is not None:
                table = signed(made, f"bench report ablations {name}", evidence.commit)
                paths += [*save(table, folder), *save_figure(drawing, folder)]
    if not paths:
        wanted = " and ".join(f"`bench stage cells {name}`" for name in names or ["size"])
        raise BenchError(
            f"no results of {', '.join(names or known)}. Run {wanted}, then `bench stage summarise all`."
        )
    return paths


def _ablation(gathered: Gathered, name: str) -> list[tuple[Table | None, Drawing | None]]:
    """The tables of one `table` of cells in params.yaml, each with its figure."""
    from benchmark.reporting.factors import TEXT_FACTORS
    from benchmark.reporting.figures import factors, results
    from benchmark.reporting.tables import text_factors
    from benchmark.reporting.tables.ablation import ablation, with_training

    if name != TEXT_FACTORS:
        made = ablation(gathered.evidence, name)
        return [
            (made and with_training(gathered.evidence, made), results.ablation_bars(gathered.evidence, name))
        ]
    evidence = gathered.factored
    return [
        (text_factors.text_factors(evidence), factors.text_factors(evidence)),
        (text_factors.text_factor_effects(evidence), factors.text_factor_effects(evidence)),
    ]


def write_robustness(session: Session, default: Study) -> list[Path]:
    """reports/robustness/: ranks, agreement and swaps as tables, and a figure, of the settings whose cells
    are all there or whose record holds; the others are named. What a setting came to is recorded."""
    from benchmark.reporting.figures.robustness import robustness as draw
    from benchmark.reporting.figures.style import save as save_figure
    from benchmark.reporting.robustness import standings
    from benchmark.reporting.robustness_records import joined, keep
    from benchmark.reporting.tables.robustness import robustness_tables
    from benchmark.stages.robustness import with_settings

    found = with_settings(session, default)
    ranked = standings(found)
    folder = session.project.reports / "robustness"
    records = keep(found, ranked, folder)
    found, ranked = joined(found, ranked, folder)
    tables = [path for table in robustness_tables(found, ranked) for path in save(table, folder)]
    return [*tables, *save_figure(draw(found, ranked), folder), *records]


def unrecorded(project: Project, default: Study) -> list[str]:
    """The settings of robustness without a record that holds."""
    from benchmark.reporting.robustness_records import recorded

    held, _ = recorded(default, project.reports / "robustness")
    return [name for name in default.params.robustness.settings if name not in held]


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
    for part in PARTS:
        folder = table_folder(project, part)
        count = len(list(folder.glob("*.md")))
        if not count and part in (VOLUMES, ENCODERS):
            of = {VOLUMES: "on CT volumes", ENCODERS: "of encoders"}[part]
            lines.append(f"tables   none {of}. Run `bench stage {part}`.")
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


def changes(
    project: Project, part: str | None = None, since: str = "HEAD", until: str | None = None
) -> Reproduced:
    """The tables and dvc.lock of `until` (None: those on disk) against those of `since`. part None: both,
    where they are made.

    Raises BenchError where there are no tables, no git, or no such commit.
    """
    folders = {name: table_folder(project, name) for name in PARTS}
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
