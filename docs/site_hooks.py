"""Hooks of `mkdocs build`: README.md is the first page, and what pages show of `reports/` goes with them."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
SHOWN = (
    "reports/ct/modality_gap.png",
    "reports/ct/overview.md",
    "reports/difficulty/difficulty.md",
    "reports/difficulty/difficulty.png",
    "reports/gallery/gallery.jpg",
)
BESIDE = re.compile(r"\[([^\]]*)\]\((?!https?:|#|docs/)[^)]*\)")
"""Links of the README to what is no page of the site: a folder or a file of the repository."""


def on_files(files: Files, config) -> Files:  # type: ignore[no-untyped-def]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    readme = BESIDE.sub(r"\1", readme).replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=readme))
    for name in SHOWN:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page, config, files: Files) -> str:  # type: ignore[no-untyped-def]
    return markdown.replace("](../reports/", "](reports/")
