"""What other programs meet: metadata in results, standard input and output, text in any pipe, very large photographs."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from shared import Cli
from tiny_plugin import TinyPlugin, tiny  # noqa: F401  (a fixture)

import zoo
from zoo.cli import main
from zoo.errors import ImageError
from zoo.helpers.terminal import guarded
from zoo.machine import memory
from zoo.pictures import image as pictures
from zoo.pictures.glance import glance
from zoo.pictures.image import read

BASE, IFD, SUBJECT = ExifTags.Base, ExifTags.IFD, 0x9214
MARK = {BASE.ProcessingSoftware: "zoo"}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def wide() -> bytes:
    """sRGB's profile with red and blue in each other's place: what ignores it shows other colours."""
    tags = {SRGB[at : at + 4]: at for at in range(132, 132 + 12 * int.from_bytes(SRGB[128:132], "big"), 12)}
    red, blue = (slice(tags[name] + 4, tags[name] + 12) for name in (b"rXYZ", b"bXYZ"))
    made = bytearray(SRGB)
    made[red], made[blue] = SRGB[blue], SRGB[red]
    return bytes(made).replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))


def photo(path: Path, profile: bytes = b"", size: tuple[int, int] = (24, 16), orientation: int = 6) -> Path:
    """As a phone takes it: on its side, with place, thumbnail, maker's notes, resolution and comment."""
    exif = Image.Exif()
    exif[BASE.Artist], exif[BASE.Copyright], exif[BASE.Orientation] = "Ada", "Ada 2026", orientation
    exif[BASE.XResolution], exif[BASE.YResolution], exif[BASE.ResolutionUnit] = 300.0, 240.0, 2
    exif[IFD.Exif] = {
        BASE.DateTimeOriginal: "2026:01:02 03:04:05",
        BASE.FNumber: 1.8,
        BASE.ExifImageWidth: size[0],
        BASE.ExifImageHeight: size[1],
        BASE.MakerNote: b"a small copy of the old picture",
        SUBJECT: (3, 4),
    }
    exif[IFD.GPSInfo] = {1: "N", 2: (52.0, 30.0, 0.0)}
    image = Image.new("RGB", size, (200, 60, 20))
    image.save(path, exif=exif, dpi=(300, 240), comment=b"for mother", icc_profile=profile or None, quality=100)
    return path


def translated(cli: Cli, source: Path, target: Path, *words: str) -> Image.Image:
    code, _, err = cli("translate", "tiny", source, "-o", target, *words)
    assert code == 0, err
    with Image.open(target) as image:
        image.load()
        return image


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
def test_what_a_photograph_says_is_kept(tiny: TinyPlugin, cli: Cli, tmp_path: Path, kind: str) -> None:  # noqa: F811
    result = translated(cli, photo(tmp_path / "a.jpg", SRGB), tmp_path / f"b.{kind}")
    exif = result.getexif()
    about = exif.get_ifd(IFD.Exif)
    assert result.size == (16, 24) and BASE.Orientation not in exif, "it stands upright already"
    assert (exif[BASE.Artist], exif[BASE.Copyright]) == ("Ada", "Ada 2026")
    assert about[BASE.DateTimeOriginal] == "2026:01:02 03:04:05" and float(about[BASE.FNumber]) == 1.8
    assert (about[BASE.ExifImageWidth], about[BASE.ExifImageHeight]) == (16, 24)
    assert not {BASE.MakerNote, SUBJECT} & about.keys() and not exif.get_ifd(IFD.IFD1)
    assert exif.get_ifd(IFD.GPSInfo)[1] == "N"
    assert result.info["icc_profile"] == SRGB
    dpi = (exif[BASE.XResolution], exif[BASE.YResolution]) if kind == "webp" else result.info["dpi"]
    assert [round(float(value)) for value in dpi] == [240, 300], "turned with the picture"
    comment = result.info.get("comment", result.info.get("Comment", ""))
    if kind in ("jpg", "png"):
        assert (comment.decode() if isinstance(comment, bytes) else comment) == "for mother"


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
def test_a_result_says_that_it_is_one(tiny: TinyPlugin, cli: Cli, tmp_path: Path, kind: str) -> None:  # noqa: F811
    Image.effect_noise((64, 64), 60).convert("RGB").save(tmp_path / "a.png")
    for source, name in (("a.png", "b"), (f"b.{kind}", "c")):
        translated(cli, tmp_path / source, tmp_path / f"{name}.{kind}")
    translated(cli, tmp_path / f"b.{kind}", tmp_path / f"d.{kind}", "--no-metadata")
    assert [glance(tmp_path / name).result for name in ("a.png", f"b.{kind}", f"c.{kind}", f"d.{kind}")] == [
        *(False, True, True, False)
    ]
    if kind == "tif":
        assert Image.open(tmp_path / "b.tif").info["compression"] == "tiff_adobe_deflate"


def test_no_metadata(tiny: TinyPlugin, cli: Cli, tmp_path: Path) -> None:  # noqa: F811
    for kind in ("jpg", "png", "tif", "webp"):
        result = translated(cli, photo(tmp_path / "a.jpg", SRGB), tmp_path / f"c.{kind}", "--no-metadata")
        assert not {BASE.Artist, IFD.Exif, IFD.GPSInfo} & {*result.getexif()}
        assert not {"icc_profile", "comment", "Comment", "exif"} & result.info.keys()


def test_colours_stay_those_of_the_profile(tiny: TinyPlugin, cli: Cli, tmp_path: Path) -> None:  # noqa: F811
    source = photo(tmp_path / "a.jpg", wide())
    assert zoo.load("tiny", device="cpu").translate(source).getpixel((3, 3))[2] > 150, "sRGB numbers, for Python"
    kept = translated(cli, source, tmp_path / "b.png")
    assert kept.info["icc_profile"] == wide()
    assert np.abs(np.subtract(kept.getpixel((3, 3)), (200, 60, 20))).max() <= 3  # type: ignore[arg-type]
    plain = translated(cli, source, tmp_path / "c.png", "--no-metadata")
    assert np.abs(np.subtract(plain.getpixel((3, 3)), (20, 60, 200))).max() <= 3  # type: ignore[arg-type]


def test_a_thumbnail_does_not_show_the_old_picture(
    tiny: TinyPlugin,  # noqa: F811
    cli: Cli,
    tmp_path: Path,
) -> None:
    source, thumb = photo(tmp_path / "a.jpg"), io.BytesIO()
    Image.new("RGB", (8, 8), "lime").save(thumb, "JPEG")
    content = source.read_bytes()
    start = content.index(b"Exif\0\0")
    block, length = content[start + 6 :], int.from_bytes(content[start - 2 : start], "big") - 8
    tiff = bytearray(block[:length])
    end = "little" if tiff[:2] == b"II" else "big"
    first = int.from_bytes(tiff[4:8], end)  # type: ignore[arg-type]
    link = first + 2 + 12 * int.from_bytes(tiff[first : first + 2], end)  # type: ignore[arg-type]
    tiff[link : link + 4] = len(tiff).to_bytes(4, end)  # type: ignore[arg-type]

    def entry(tag: int, value: int) -> bytes:
        return b"".join(n.to_bytes(size, end) for n, size in ((tag, 2), (4, 2), (1, 4), (value, 4)))  # type: ignore[arg-type]

    at = len(tiff) + 2 + 2 * 12 + 4
    tiff += (2).to_bytes(2, end) + entry(0x201, at) + entry(0x202, len(thumb.getvalue())) + bytes(4)  # type: ignore[arg-type]
    tiff += thumb.getvalue()
    segment = (len(tiff) + 8).to_bytes(2, "big") + b"Exif\0\0" + bytes(tiff)
    source.write_bytes(content[: start - 2] + segment + block[length:])
    assert Image.open(source).getexif().get_ifd(IFD.IFD1), "the photograph has one"
    translated(cli, source, tmp_path / "b.jpg")
    assert thumb.getvalue()[-40:] not in (tmp_path / "b.jpg").read_bytes()
    assert not Image.open(tmp_path / "b.jpg").getexif().get_ifd(IFD.IFD1)


def test_damaged_exif_is_told_and_the_picture_drawn(
    tiny: TinyPlugin,  # noqa: F811
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    image = Image.new("RGB", (16, 16))
    image.info["exif"] = b"Exif\0\0nonsense"
    result = zoo.load("tiny", device="cpu").translate(image)
    result.save(tmp_path / "b.jpg", exif=result.info["exif"])
    assert dict(Image.open(tmp_path / "b.jpg").getexif()) == MARK
    assert "the RGB picture has damaged EXIF, which is not kept" in caplog.text


def test_what_python_gets(tiny: TinyPlugin, tmp_path: Path) -> None:  # noqa: F811
    source = photo(tmp_path / "a.jpg")
    translator = zoo.load("tiny", device="cpu")
    result = translator.translate(source)
    assert result.info["dpi"] == (240, 300) and result.info["comment"] == "for mother"
    result.save(tmp_path / "b.jpg", exif=result.info["exif"])
    assert Image.open(tmp_path / "b.jpg").getexif()[BASE.Artist] == "Ada"
    assert translator.translate(source.read_bytes()).tobytes() == result.tobytes(), "a file's bytes are a picture"
    plain = translator.translate(Image.new("RGB", (16, 16)))
    plain.save(tmp_path / "c.jpg", exif=plain.info["exif"])
    assert dict(Image.open(tmp_path / "c.jpg").getexif()) == MARK
    encoded = pictures.encode(result, ".jpg")
    assert b"Ada" not in encoded and b"mother" not in encoded, "a page of results tells nobody's place"


# -- streams


class Bytes(io.TextIOWrapper):
    def __init__(self, content: bytes = b"", terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content), encoding="cp1252")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    @property
    def written(self) -> bytes:
        self.flush()
        return self.buffer.getvalue()  # type: ignore[attr-defined]


def piped(
    monkeypatch: pytest.MonkeyPatch, content: Bytes, *words: object, out: Bytes | None = None
) -> tuple[int, bytes]:
    out = out or Bytes()
    monkeypatch.setattr(sys, "stdin", content)
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0), out.written


def png(tone: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (16, 16), (tone, 0, 0)).save(content, "PNG")
    return content.getvalue()


def test_from_stdin_to_stdout(
    tiny: TinyPlugin,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, content = piped(monkeypatch, Bytes(png(200)), "translate", "tiny", "-", "-o", "-", "--invert")
    result = Image.open(io.BytesIO(content))
    assert (code, result.format, result.getpixel((0, 0))) == (0, "PNG", (55, 255, 255))
    code, content = piped(monkeypatch, Bytes(png(9)), "translate", "tiny", "-", "-o", "-", "--format", "jpg")
    assert code == 0 and Image.open(io.BytesIO(content)).format == "JPEG"
    (tmp_path / "a.png").write_bytes(png(7))
    code, content = piped(monkeypatch, Bytes(), "translate", "tiny", tmp_path / "a.png", "-o", "-")
    assert code == 0 and Image.open(io.BytesIO(content)).getpixel((0, 0)) == (7, 0, 0)
    words = ("translate", "tiny", "-", "-o", tmp_path / "b.png", "--json")
    code, content = piped(monkeypatch, Bytes(png(8)), *words)
    assert code == 0 and json.loads(content)["translated"] == [{"input": "-", "output": str(tmp_path / "b.png")}]
    assert Image.open(tmp_path / "b.png").getpixel((0, 0)) == (8, 0, 0)
    assert "1 translated" in capsys.readouterr().err
    before = (tmp_path / "b.png").read_bytes()
    assert piped(monkeypatch, Bytes(png(1)), *words)[0] == 2
    assert piped(monkeypatch, Bytes(png(1)), *words, "--on-exists", "skip")[0] == 0
    assert (tmp_path / "b.png").read_bytes() == before
    assert piped(monkeypatch, Bytes(png(1)), *words, "--on-exists", "overwrite")[0] == 0


@pytest.mark.parametrize(
    "content, words, told",
    [
        (Bytes(), "- -o -", "standard input is empty"),
        (Bytes(b"GIF89a no more"), "- -o -", "bytes"),
        (Bytes(terminal=True), "- -o -", "standard input is a terminal"),
        (Bytes(png(1)), "- - -o -", "is for one picture"),
        (Bytes(png(1)), "- -o - --json", "standard output is the picture's"),
        (Bytes(png(1)), "- -o folder/", "is a folder, and - has no name"),
        (Bytes(png(1)), "- -o a.xyz", "cannot write .xyz"),
        (Bytes(png(1)), "- -o a.png --format jpg", "--format jpg is not what a.png says"),
        (Bytes(png(1)), ". -o -", "is a folder"),
        (Bytes(png(1)), "- -o - --previews way", "is not for -"),
    ],
)
def test_what_streams_cannot(
    tiny: TinyPlugin,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: Bytes,
    words: str,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out = piped(monkeypatch, content, "translate", "tiny", *words.split())
    err = capsys.readouterr().err
    assert (code, out) == (2, b"") and told in err and err.count("\n") == 2, err
    assert not [*tmp_path.iterdir()]


def test_no_picture_into_a_terminal(
    tiny: TinyPlugin,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out = piped(monkeypatch, Bytes(png(1)), "translate", "tiny", "-", "-o", "-", out=Bytes(terminal=True))
    assert (code, out) == (2, b"") and "shows no pictures" in capsys.readouterr().err


def test_pipes_are_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where a pipe has the encoding of the country."""
    pipe, terminal = Bytes(), Bytes(terminal=True)
    for stream in (pipe, terminal):
        monkeypatch.setattr(sys, "stdout", stream)
        with guarded():
            sys.stdout.write("写真 ü\n")
    assert pipe.written.decode("utf-8").rstrip() == "写真 ü"
    assert terminal.written.decode("cp1252").rstrip() == r"\u5199\u771f ü", "a terminal has its own, and shows the rest"


# -- 200 megapixels


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("huge") / "p.jpg"
    Image.new("L", (12_240, 16_320), 90).save(path, quality=30)
    return path


def test_200_megapixels_by_the_memory_that_is_there(huge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Image.MAX_IMAGE_PIXELS
    assert (glance(huge).width, glance(huge).height) == (12_240, 16_320)
    assert read(huge, (64, 64)).rgb.shape == (3, 186, 140), "decoded at an eighth, then reduced"
    monkeypatch.setattr(memory, "free", lambda device: 3_000_000_000)
    with pytest.raises(ImageError, match=r"of 200 megapixels takes 4\.0 GB of memory, and 3\.0 GB are free") as caught:
        read(huge)
    assert "PIL" not in str(caught.value)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_limit_that_somebody_set_is_kept(huge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with pytest.raises(ImageError, match="suspiciously large"):
        read(huge)
