"""Photo files: upright, in the same format, transparency and colours, and never overwritten."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from scipy.ndimage import gaussian_filter

from frbench.harness.core.errors import FrbenchError
from frbench.harness.photo_cloaking import photo_files as photos
from frbench.harness.photo_cloaking import photo_formats
from frbench.harness.photo_cloaking.photo_files import BadPhoto, Copies, decode, list_files, read_photo, split_arguments
from frbench.harness.photo_cloaking.photo_formats import is_image_name

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pixels(height: int = 60, width: int = 90, channels: int = 3) -> np.ndarray:
    smooth = gaussian_filter(np.random.default_rng(0).normal(size=(height, width, channels)), (6, 6, 0))
    return ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


def filed(image: Image.Image, form: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def again(data: bytes, change: int = 0, quality: int = 95) -> Image.Image:
    """The picture in ``data``, made anew with ``change`` added to its pixels."""
    photo = decode(data)
    return Image.open(BytesIO(photo.encode(photo.pixels + np.uint8(change), quality)))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
def test_that_format_size_and_profile_are_preserved(form: str) -> None:
    options = {} if form == "BMP" else {"icc_profile": PROFILE}
    copy = again(filed(Image.fromarray(pixels()), form, **options))
    assert (copy.format, copy.size, copy.mode) == (form, (90, 60), "RGB")
    assert copy.info.get("icc_profile") == options.get("icc_profile")
    assert np.abs(np.asarray(copy).astype(int) - decode(filed(Image.fromarray(pixels()), form)).pixels).mean() < 2


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_that_lossless_formats_are_lossless(form: str, options: dict) -> None:
    copy = again(filed(Image.fromarray(pixels() // 2), form, **options), change=1)
    assert np.array_equal(np.asarray(copy), pixels() // 2 + 1)


def test_that_quality_decides_the_size_of_a_jpeg_whose_colours_keep_their_resolution() -> None:
    data = filed(Image.fromarray(pixels()), "JPEG", quality=90)
    fine, coarse = (decode(data).encode(pixels(), quality) for quality in (95, 30))
    assert len(fine) > len(coarse)
    assert {each[1:3] for each in Image.open(BytesIO(fine)).layer} == {(1, 1)}  # type: ignore[attr-defined]


def test_that_a_rotated_photo_becomes_upright_without_exif() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    exif[0x010F] = "maker"
    exif.get_ifd(0x8825)[1] = "N"  # where it was taken
    data = filed(Image.fromarray(pixels()), "JPEG", quality=95, exif=exif, comment=b"a secret")
    photo, stored = decode(data), np.asarray(Image.open(BytesIO(data)))
    assert np.array_equal(photo.pixels, np.rot90(stored, -1))
    copy = again(data)
    assert copy.size == (60, 90)
    assert not dict(copy.getexif())
    assert b"maker" not in photo.encode(photo.pixels, 95) and b"secret" not in photo.encode(photo.pixels, 95)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_that_transparency_is_kept_with_the_colours_under_it(form: str) -> None:
    whole = pixels(channels=4)
    whole[:20, :, 3] = 0
    copy = again(filed(Image.fromarray(whole), form, **({"lossless": True, "exact": True} if form == "WEBP" else {})))
    assert copy.mode == "RGBA"
    assert np.array_equal(np.asarray(copy), whole)


def test_that_palettes_become_colours() -> None:
    palette = Image.fromarray(pixels()).quantize(16)
    assert np.array_equal(np.asarray(again(filed(palette, "PNG"))), np.asarray(palette.convert("RGB")))
    assert again(filed(palette, "PNG", transparency=3)).mode == "RGBA"


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP"])
def test_that_gray_stays_one_channel(form: str, mode: str) -> None:
    image = Image.fromarray(pixels()).convert(mode)
    if form == "PNG" or mode == "L":
        profile = {} if form == "BMP" else {"icc_profile": PROFILE}
        copy = again(filed(image, form, **profile))
        assert copy.mode == ("LA" if mode == "LA" else "L")
        assert copy.info.get("icc_profile") == profile.get("icc_profile")
        wanted = np.asarray(image.convert("L")).astype(int)
        assert np.abs(np.asarray(copy.convert("L")) - wanted).max() <= (8 if form == "JPEG" else 0)


def test_that_the_first_image_of_an_mpo_file_is_the_photo() -> None:
    first, other = Image.fromarray(pixels()), Image.fromarray(255 - pixels())
    data = filed(first, "MPO", save_all=True, append_images=[other])
    assert Image.open(BytesIO(data)).format == "MPO"
    assert again(data).format == "JPEG"
    assert np.abs(decode(data).pixels.astype(int) - pixels()).mean() < 10


GOOD = filed(Image.fromarray(pixels(400, 600)), "JPEG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an image"),
        (b"dear friend,\n", "not an image"),
        (GOOD[: len(GOOD) // 2], "damaged or truncated"),
        (filed(Image.fromarray(pixels(400, 600)), "PNG")[:9000], "damaged or truncated"),
        (filed(Image.new("CMYK", (9, 9)), "JPEG"), "colour mode CMYK is not supported; save it as RGB"),
        (filed(Image.new("I;16", (9, 9)), "PNG"), "colour mode I;16 is not supported; save it as RGB with 8 bits"),
        (filed(Image.new("RGB", (9, 9)), "GIF"), "GIF is not supported; save it as JPEG or PNG"),
        (
            filed(Image.new("RGB", (9, 9)), "PNG", save_all=True, append_images=[Image.new("RGB", (9, 9), "red")]),
            "an animation of 2 frames",
        ),
        (filed(Image.new("1", (40_000, 2)), "PNG"), "40000x2 exceeds 32000 pixels per side"),
    ],
    ids=["empty", "text", "half a jpeg", "half a png", "cmyk", "16 bits", "gif", "animation", "long"],
)
def test_that_an_unusable_photo_has_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadPhoto, match=reason) as error:
        decode(data)
    assert "\n" not in str(error.value)


def test_that_an_unreadable_file_has_a_reason(tmp_path: Path) -> None:
    with pytest.raises(BadPhoto, match=r"cannot be read \(No such file"):
        read_photo(tmp_path / "absent.jpg")


def test_that_images_are_recognised_by_suffix() -> None:
    read_here = (".JPG", ".jpeg", ".jfif", ".jpe", ".mpo", ".png", ".WebP", ".bmp")
    assert all(is_image_name(Path(f"a{each}")) for each in (*read_here, ".heic", ".HIF", ".TIF", ".gif", ".dng"))
    assert not any(is_image_name(Path(f"a{each}")) for each in (".txt", "", ".jpg.part", ".mp4", ".pdf"))


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.heic", HEIC, r'^HEIC: install pillow-heif \(pip install "frbench\[heic\]"\), or save it as JPEG$'),
        ("a.jpg", HEIC, r"^HEIC inside \.jpg: install pillow-heif"),
        ("a.jpg", b"<!DOCTYPE html><html></html>", "^not an image but a web page$"),
        ("a.png", b"", "^not an image but an empty file$"),
        (
            "a.jpg",
            filed(Image.new("RGB", (9, 9)), "TIFF"),
            r"^TIFF inside \.jpg is not supported; save it as JPEG",
        ),
        ("a.tiff", filed(Image.new("RGB", (9, 9)), "TIFF"), "^TIFF is not supported; save it as"),
        ("a.dng", filed(Image.new("RGB", (9, 9)), "TIFF"), r"^\.dng is not supported; save it as"),
        ("a.cr3", b"\0\0\0\x18ftypcrx " + bytes(99), r"^\.cr3 is not supported; save it as"),
    ],
)
def test_that_an_unsupported_file_is_described(
    name: str, data: bytes, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_heif = tuple(each for each in photo_formats.readable() if each != photo_formats.HEIF)
    for module in (photo_formats, photos):
        monkeypatch.setattr(module, "readable", lambda: without_heif)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadPhoto, match=reason):
        read_photo(tmp_path / name)


def test_that_heic_is_read_and_written_where_pillow_heif_is_installed() -> None:
    pytest.importorskip("pillow_heif")
    photo_formats.readable()
    exif = Image.Exif()
    exif[0x010F] = "maker"
    data = filed(Image.fromarray(pixels()), "HEIF", quality=95, exif=exif, icc_profile=PROFILE)
    assert np.abs(decode(data).pixels.astype(int) - pixels()).mean() < 3
    copy = again(data)
    assert (copy.format, copy.size, copy.mode) == ("HEIF", (90, 60), "RGB")
    assert copy.info.get("icc_profile") == PROFILE and not dict(copy.getexif())
    assert again(filed(Image.fromarray(pixels()[:, :, 0]), "HEIF")).mode == "L"
    with pytest.raises(BadPhoto, match="HEIC, damaged or truncated|damaged or truncated"):
        decode(data[: len(data) // 2])


def test_that_files_are_listed_by_name_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.png", ".hidden.jpg", "inside/c.jpg", "inside/.d.jpg", ".folder/e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_files(tmp_path, recursive=False) == [tmp_path / "a.png", tmp_path / "b.jpg"]
    assert list_files(tmp_path, recursive=True) == [
        tmp_path / "a.png",
        tmp_path / "b.jpg",
        tmp_path / "inside" / "c.jpg",
    ]


def test_that_copies_are_beside_their_photos_or_in_the_same_subfolders_of_out(tmp_path: Path) -> None:
    photo = tmp_path / "trip" / "us.two.JPG"
    assert Copies(tmp_path, None, "_cloaked").path_of(photo) == tmp_path / "trip" / "us.two_cloaked.JPG"
    out = tmp_path / "safe"
    assert Copies(tmp_path, out, "").path_of(photo) == out / "trip" / "us.two.JPG"
    assert Copies(tmp_path, None, "_cloaked").is_copy(tmp_path / "a_cloaked.png")
    assert Copies(tmp_path, out, "_x").is_copy(out / "a.png") and not Copies(tmp_path, out, "_x").is_copy(photo)
    assert not Copies(tmp_path, tmp_path.parent, "").is_copy(photo), "a folder above is no folder of copies"


def test_that_a_copy_is_atomic_and_never_overwrites_a_file(tmp_path: Path) -> None:
    copies = Copies(tmp_path, None, "_cloaked")
    assert copies.write(tmp_path / "a.jpg", b"one").read_bytes() == b"one"
    with pytest.raises(BadPhoto, match="a_cloaked.jpg was created in the meantime"):
        copies.write(tmp_path / "a.jpg", b"two")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a_cloaked.jpg", b"one")]


def test_that_an_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "blocked").touch()
    with pytest.raises(BadPhoto, match="cannot write"):
        Copies(tmp_path, tmp_path / "blocked" / "deeper", "_c").write(tmp_path / "a.jpg", b"one")


@pytest.mark.parametrize(("out", "suffix"), [(None, ""), (".", ""), (None, "_a/b"), ("file", "_cloaked")])
def test_that_copies_with_the_path_of_a_photo_are_an_error(out: str | None, suffix: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FrbenchError):
        Copies(tmp_path, None if out is None else tmp_path / out, suffix).check()


def test_that_the_folder_may_be_anywhere_among_the_overrides(tmp_path: Path) -> None:
    odd = tmp_path / "my=photos"
    odd.mkdir()
    assert split_arguments(["seed=1", "photos", "+attack.x=2"]) == (Path("photos"), ["seed=1", "+attack.x=2"])
    assert split_arguments([str(odd), "seed=1"]) == (odd, ["seed=1"])


@pytest.mark.parametrize(
    ("words", "message"), [([], "got none"), (["seed=1"], "got none"), (["a", "b"], "got a and b")]
)
def test_that_no_folder_or_several_are_an_error_with_the_usage(words: list[str], message: str) -> None:
    with pytest.raises(FrbenchError, match=f"{message}.*frbench cloak FOLDER"):
        split_arguments(words)
