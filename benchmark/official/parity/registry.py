"""Which case a fixture is, by what it holds rather than by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from benchmark.core.errors import BenchError
from benchmark.official.parity.check import Checker
from benchmark.official.parity.fixture import Fixture

Run = Callable[[Fixture, Checker], None]


@dataclass(frozen=True)
class Case:
    """One kind of fixture. A fixture is of this kind if its method agrees, it has all of `arrays` (file-name
    patterns) and `settings`, and none of `without`."""

    name: str
    run: Run
    method: str | None
    arrays: tuple[str, ...]
    settings: tuple[str, ...]
    without: tuple[str, ...]

    def matches(self, fixture: Fixture) -> bool:
        if self.method is not None and fixture.info.get("method", self.method) != self.method:
            return False
        has = [_holds(fixture, name) for name in self.arrays] + [s in fixture.info for s in self.settings]
        return all(has) and not any(_holds(fixture, n) or n in fixture.info for n in self.without)


CASES: list[Case] = []


def case(
    name: str,
    *,
    method: str | None = None,
    arrays: Iterable[str] = (),
    settings: Iterable[str] = (),
    without: Iterable[str] = (),
) -> Callable[[Run], Run]:
    """Register the decorated function as the check of one kind of fixture."""

    def add(run: Run) -> Run:
        CASES.append(Case(name, run, method, tuple(arrays), tuple(settings), tuple(without)))
        return run

    return add


def identify(fixture: Fixture) -> Case:
    """The one kind that a fixture is of. Raises BenchError where there is none, or more than one."""
    found = [kind for kind in CASES if kind.matches(fixture)]
    if not found:
        raise BenchError(
            f"{fixture.path}: unknown kind of fixture; it has {_some(fixture)}. "
            "An array that its kind needs may be missing."
        )
    if len(found) > 1:
        names = ", ".join(kind.name for kind in found)
        raise BenchError(f"{fixture.path}: could be any of {names}; state `method` in it.")
    return found[0]


def _holds(fixture: Fixture, name: str) -> bool:
    return name in fixture.arrays or any(fnmatchcase(key, name) for key in fixture.arrays)


def _some(fixture: Fixture) -> str:
    names = sorted(fixture.arrays) or sorted(fixture.info)
    return ", ".join(names[:4]) + (" and more" if len(names) > 4 else "")
