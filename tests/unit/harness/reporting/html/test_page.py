"""A page in one file: escaping, the content security policy, limits, and what its templates print."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from frbench.harness.core.errors import ConfigError
from frbench.harness.reporting.html import page as page_module
from frbench.harness.reporting.html.blocks import Folded, Picture, Pictures, Plot, RunCard, Section, TableBlock, Text
from frbench.harness.reporting.html.page import LONGEST, MOST_ROWS, Page
from frbench.harness.reporting.tables.rendering import Cell, Table

ENDINGS = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def table(rows: int = 2, name: str = "jpeg") -> Table:
    cells = tuple((Cell(name), Cell(f"{i}", "[0, 1] (1/2)", (f"note {i % 2}",), "✓")) for i in range(rows))
    return Table("slug", "ASR", "ASR in %.", ("defense", "pgd"), cells, stub=1)


def page(*blocks: object) -> str:
    return Page("Report", (Section("Results", blocks),), ("**First** sentence.",), "frbench").html()  # type: ignore[arg-type]


def pictures(count: int = 2, seed: int = 0) -> Pictures:
    rng = np.random.default_rng(seed)
    return Pictures("pgd", tuple(Picture(rng.random((8, 6, 3)), f"face {i}", f"score {i}") for i in range(count)))


def test_a_table_shows_values_details_badges_and_footnotes() -> None:
    text = page(TableBlock(table()))
    assert '<th scope="col">defense</th>' in text
    assert '<th scope="row">jpeg</th>' in text
    assert '<td>0 <span class="badge">✓</span><sup>a</sup> <small>[0,\u00a01] (1/2)</small></td>' in text
    assert "<li><sup>b</sup> note 1</li>" in text


def test_a_long_table_ends_with_a_note_on_the_rest() -> None:
    text = page(TableBlock(table(MOST_ROWS + 5)))
    assert text.count("<tr>") == MOST_ROWS + 1
    assert f"The first {MOST_ROWS} of {MOST_ROWS + 5} rows." in text


class _Elements(HTMLParser):
    """The elements of a page with the names of their attributes, and the addresses of links and pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.addresses |= {value or "" for name, value in attrs if name in ("href", "src")}


def everywhere(text: str) -> _Elements:
    """A page that has ``text`` in every place."""
    picture = Picture(np.zeros((2, 2, 3)), text, text)
    blocks = (Text((text,)), TableBlock(table(1, text)), Pictures(text, (picture,)), RunCard(text, {text: text}, text))
    folded = Folded(text, (*blocks, Text((text,), is_note=True)))
    return _Elements(Page(text, (Section(text, (*blocks, folded)), Section(text, ())), (text,), text).html())


@given(st.text(st.sampled_from("<>&\"'/= abcdefghijklmnoprst:-!"), min_size=1, max_size=80))
@example("<img src=x onerror=alert(1)>")
@example("</script></style></title><script>alert(1)</script>")
@example('" onmouseover="alert(1)')
@example("javascript:alert(1)")
def test_no_text_becomes_markup(text: str) -> None:
    found, harmless = everywhere(text), everywhere("harmless")
    assert found.elements == harmless.elements
    assert found.addresses == harmless.addresses


def test_a_long_text_is_cut() -> None:
    text = page(Text(("x" * (LONGEST + 7),)), RunCard("run", {"config": "y" * 3 * LONGEST}))
    assert "x" * LONGEST + " … (7 more characters)" in text
    assert "x" * (LONGEST + 1) not in text
    assert "y" * (LONGEST + 1) not in text


def test_the_policy_names_the_scripts_of_the_page_and_allows_no_others() -> None:
    text = page(TableBlock(table()), Plot("Curve", "See.", {"data": [], "layout": {}}))
    scripts = ENDINGS.findall(text)
    digests = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(scripts) == 2
    allowed = " ".join(f"&#39;sha256-{digest}&#39;" for digest in digests)
    assert f"default-src &#39;none&#39;; script-src {allowed}; style-src" in text
    assert text.index("Content-Security-Policy") < text.index("<style>") < text.index("<script")


def test_plotly_is_part_of_pages_with_a_plot_alone() -> None:
    plot = Plot("Curve", "See.", {"data": [], "layout": {}})
    assert len(page(TableBlock(table()))) < 30_000
    assert len(page(plot)) > 1_000_000
    assert len(page(Folded("More", (Folded("Even more", (plot,)),)))) > 1_000_000


def test_a_page_with_a_plot_needs_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frbench.harness.reporting.html.scripts.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'frbench\[html\]'"):
        page(Plot("Curve", "See.", {"data": [], "layout": {}}))
    assert "jpeg" in page(TableBlock(table()))


def test_pictures_beyond_the_limit_are_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = page(pictures(seed=0), pictures(seed=1), pictures(seed=2))
    sizes = [len(uri) for uri in re.findall(r'src="(data:image/webp[^"]*)"', whole)]
    assert len(sizes) == 6
    monkeypatch.setattr(page_module, "PICTURE_BYTES", sum(sizes[:4]))
    cut = page(pictures(seed=0), pictures(seed=1), pictures(seed=2))
    assert cut.count("data:image/webp") == 4
    assert cut.count("2 pictures left out") == 1
    assert cut.count("<img") == cut.count("alt=") == 4


def test_the_same_page_is_the_same_file(tmp_path: Path) -> None:
    written = [
        Page("Report", (Section("A", (TableBlock(table()), pictures())),)).write(tmp_path / name).read_bytes()
        for name in ("a.html", "b.html")
    ]
    assert written[0] == written[1]
