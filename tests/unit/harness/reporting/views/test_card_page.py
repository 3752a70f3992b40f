"""A run card shows each number with its interval and counts, flags with their meanings, and the command."""

from __future__ import annotations

from typing import Any

from support.fake_records import NAMES, FakeStore, attacked

from frbench.harness.reporting.views.card_page import card_page, command, measures
from frbench.harness.storage.portable_record import portable


def record(**card: Any) -> dict[str, Any]:
    cells = FakeStore()
    found = attacked(cells, NAMES, 8.0, 0.4, settings={"attack.steps": 3})
    facts = {"config": {}, "digests": {"data": "d" * 64}, "versions": {"torch": "2.6"}, "device": "cpu (x86_64)"}
    return portable(found | {"card": facts | card})


def test_that_each_share_has_its_interval_and_counts() -> None:
    found, attack = {each.name: each for each in measures(record())}, record()["measurements"]["attack"]
    assert found["attack.asr"].value == attack["asr"]
    assert (found["attack.asr"].low, found["attack.asr"].high) == (attack["asr_low"], attack["asr_high"])
    assert found["attack.asr"].counts == f"{attack['asr_successes']} of {attack['asr_denominator']}"
    assert found["clean.accuracy"].counts == "240"
    assert " of " in found["clean.tar_at_far.0.1.far"].counts
    assert not [
        name
        for name in found
        if name.endswith(("_low", "_high", "_successes", "_denominator")) and "bootstrap" not in name
    ]


def test_that_the_page_has_options_digests_versions_and_how_to_repeat_the_run() -> None:
    words = ["attack=pgd", "attack.steps=3", "defense=jpeg", "paths.results=/home/ann"]
    page = card_page(record(overrides=words), ["not_converged", "unknown_flag"], "card.json")
    for text in (
        "pgd(steps=3)",
        "d" * 64,
        "torch",
        "cpu (x86_64)",
        "more steps would help",
        "unknown_flag",
        "frbench run attack=pgd attack.steps=3 defense=jpeg\n",
        "frbench reproduce card.json",
    ):
        assert text in page, text
    assert "/home" not in page
    assert command(record()) is None


def test_that_hostile_names_stay_text_in_their_cell() -> None:
    names = NAMES | {"defense": "<script>alert(1)</script>\ud800\n\n# gone | x" + " y" * 10_000}
    page = card_page(record() | {"names": names}, [], "card.json")
    page.encode()
    assert "<script>" not in page
    assert "\n# gone" not in page
    assert "\\| x" in page
    assert len(page) < 20_000
