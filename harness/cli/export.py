"""``frbench export``: records and pairs, or adversarial images, as files for other tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from frbench.harness.config import folders, resolution
from frbench.harness.config.compose import compose, printed
from frbench.harness.core.errors import ConfigError, FrbenchError, shortened
from frbench.harness.reporting.export import export as exports
from frbench.harness.reporting.export import images
from frbench.harness.storage.output_folders import check_writable
from frbench.harness.storage.portable_record import portable
from frbench.harness.storage.records import Record
from frbench.harness.storage.result_store import ResultStore

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
    sources = {"samples": images.sampled(store), "cached": _cached(config, store)}
    done = images.export_images(store, config["where"], sources[config["pairs"]], out, config["overwrite"])
    lines = [f"images of {done.pairs:,} of {done.attacked:,} pairs in {len(done.folders):,} folders below {out}"]
    if done.rounded:
        lines.append(f"{done.rounded:,} pairs have images that were rounded to 8 bits; their scores are from before")
    lines += [f"{count:,} records without images: {reason}" for reason, count in done.reasons.most_common()]
    return "\n".join(lines)


def _cached(config: Mapping[str, Any], store: ResultStore) -> images.Source:
    """The images in the cache of ``store``, of cells that can be built here."""
    own = {"paths": config["paths"], "device": config["device"], "trust": config["trust"], "fetch": False}

    def of(record: Record, pairs: Sequence[int]) -> Iterable[images.ImagesOfPairs]:
        from frbench.harness.config.cached_images import cached_images

        whole = store.record(record["fingerprint"])
        if whole is None:
            raise images.NoImages("the record is gone")
        try:
            parts = cached_images(portable(whole), own, store, pairs)
        except FrbenchError as error:
            raise images.NoImages(shortened(error)) from error
        return (images.ImagesOfPairs(each.pairs, each.images) for each in parts)

    return of


_WRITERS = {"sqlite": _sqlite, "parquet": _parquet, "images": _images}
