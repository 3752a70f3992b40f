"""``frbench export``: records and pairs, or adversarial images, as files for other tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frbench.harness.config import folders, resolution
from frbench.harness.config.compose import compose, printed
from frbench.harness.core.errors import ConfigError
from frbench.harness.reporting.export import export as exports
from frbench.harness.reporting.export import images
from frbench.harness.storage.output_folders import check_writable

_DEFAULTS = {"sqlite": "frbench.sqlite", "parquet": "parquet", "images": "images"}


def export(words: Sequence[str]) -> int:
    """``frbench export sqlite|parquet|images [overrides]``; the exit code is 0."""
    if printed("export", [word for word in words if word not in _DEFAULTS]):
        return 0
    form, overrides = _form(words)
    config = resolution.plain(compose("export", overrides).config)
    store = folders.store(config)
    out = Path(config["out"]).expanduser() if config["out"] else store.root / "exports" / _DEFAULTS[form]
    check_writable(out.parent, "out")
    print(_WRITERS[form](config, out))
    return 0


def _form(words: Sequence[str]) -> tuple[str, list[str]]:
    """The format, which is the first word, and the other words."""
    if not words or words[0] not in _DEFAULTS:
        given = f"got {words[0]}" if words else "got nothing"
        raise ConfigError(
            f"frbench export takes a format first, {', '.join(_DEFAULTS)}, {given}; see frbench export --help"
        )
    return words[0], list(words[1:])


def _sqlite(config: Mapping[str, Any], out: Path) -> str:
    done = exports.export_sqlite(folders.store(config), config["where"], out, config["overwrite"])
    return f"{done.records:,} records and {done.pairs:,} pairs in {out}"


def _parquet(config: Mapping[str, Any], out: Path) -> str:
    done = exports.export_parquet(folders.store(config), config["where"], out, config["overwrite"])
    return f"{done.records:,} records and {done.pairs:,} pairs in {' and '.join(map(str, done.files))}"


def _images(config: Mapping[str, Any], out: Path) -> str:
    store = folders.store(config)
    done = images.export_images(store, config["where"], images.sampled(store), out, config["overwrite"])
    lines = [f"images of {done.pairs:,} of {done.attacked:,} pairs in {len(done.folders):,} folders below {out}"]
    if done.rounded:
        lines.append(f"{done.rounded:,} pairs have images that were rounded to 8 bits; their scores are from before")
    lines += [f"{count:,} records without images: {reason}" for reason, count in done.reasons.most_common()]
    return "\n".join(lines)


_WRITERS = {"sqlite": _sqlite, "parquet": _parquet, "images": _images}
