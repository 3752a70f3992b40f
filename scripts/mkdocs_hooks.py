"""Hooks of mkdocs: pages from outside ``docs/``, links between them, folders in the navigation, docstrings.

Documents link to each other by their place in the repository, so that the links also work on GitHub. On the site,
``results/reference/<study>/README.md`` is the page ``results/<study>/`` and ``CHANGELOG.md`` is ``changelog/``; this
module adds these pages and rewrites the links to them.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_STUDIES = ROOT / "results" / "reference"
_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
_FIRST_COMMENT = re.compile(r"\A(<!--.*?-->\s*)+", re.DOTALL)
_LINK = re.compile(r"(\]\()([^)\s#:]+)([)#\s])")


def on_startup(command: str, dirty: bool) -> None:
    """Let mkdocstrings find the source, which it searches for where Python would."""
    sys.path.insert(0, str(_importable()))


def on_shutdown() -> None:
    """Remove the folder of ``on_startup``."""
    rmtree(_importable())


@cache
def _importable() -> Path:
    """A folder in which the harness is ``frbench.harness``, as it is where frbench is installed."""
    folder = Path(mkdtemp(prefix="frbench-docs-"))
    (folder / "frbench").mkdir()
    (folder / "frbench" / "harness").symlink_to(ROOT / "harness", target_is_directory=True)
    return folder


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Expand the entries of the navigation that end with a slash."""
    config.nav = _expanded(config.nav or [])
    return config


def _expanded(entry: Any) -> Any:
    """``entry`` of the navigation with the pages of a folder in place of its name; empty folders disappear."""
    if isinstance(entry, list):
        return [shown for each in entry if (shown := _expanded(each)) != {}]
    if not isinstance(entry, dict):
        return entry
    pages = {title: _folder(value) if _is_folder(value) else _expanded(value) for title, value in entry.items()}
    return {title: value for title, value in pages.items() if value}


def _is_folder(value: Any) -> bool:
    return isinstance(value, str) and value.endswith("/")


def _folder(name: str) -> list[str]:
    """The pages in ``name``, a folder of the site: its index, then the others in the order of the links there."""
    paths = {place: path for place, path in _outside_docs() if place.startswith(name) and place.endswith(".md")}
    docs = ROOT / "docs"
    paths |= {path.relative_to(docs).as_posix(): path for path in (docs / name).rglob("*.md")}
    index = next((place for place in (f"{name}index.md", f"{name}README.md") if place in paths), None)
    links = paths[index].read_text(encoding="utf-8") if index else ""
    others = sorted(place for place in paths if place != index)
    return [*([index] if index else []), *sorted(others, key=lambda place: links.find(f"({place.removeprefix(name)})"))]


def _outside_docs() -> Iterator[tuple[str, Path]]:
    """Place on the site and path of each file that does not lie in ``docs/``."""
    for name, place in _PAGES.items():
        if (ROOT / name).exists():
            yield place, ROOT / name
    for path in sorted(_STUDIES.rglob("*")):
        if path.suffix in (".md", ".png", ".svg", ".csv"):
            yield f"results/{path.relative_to(_STUDIES).as_posix()}", path


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and images from outside ``docs/``."""
    for place, path in _outside_docs():
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """``markdown`` with links between repository files as links between pages of the site.

    A comment in front of the heading is dropped, because mkdocs would not see the title of the page.
    """
    here = page.file.src_uri
    source = posixpath.dirname(_in_repository(here))

    def rewritten(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(source, match[2]))
        there = _on_site(target)
        if there is None or files.get_file_from_path(there) is None:
            return match[0]
        return f"{match[1]}{posixpath.relpath(there, posixpath.dirname(here) or '.')}{match[3]}"

    return _LINK.sub(rewritten, _FIRST_COMMENT.sub("", markdown))


def _in_repository(place: str) -> str:
    """Path in the repository of the page at ``place`` of the site."""
    outside = {site: path.relative_to(ROOT).as_posix() for site, path in _outside_docs()}
    return outside.get(place, f"docs/{place}")


def _on_site(path: str) -> str | None:
    """Place on the site of a ``path`` in the repository, or None."""
    if path in _PAGES:
        return _PAGES[path]
    for folder, place in (("docs/", ""), ("results/reference/", "results/")):
        if path.startswith(folder):
            return place + path.removeprefix(folder)
    return None
