"""Pictures in and out: every form, every mode, and what is not a picture."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from zoo.errors import ImageError, NotFoundError
from zoo.pictures.image import find_pictures, read, to_pil, write

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = COLOURS[..., 0]


def bytes_of(rgb: torch.Tensor) -> np.ndarray:
    """(3, H, W) in [-1, 1] -> (H, W, 3) uint8, independently of the module under test."""
    return np.round((rgb.permute(1, 2, 0).numpy() + 1) * 127.5).astype(np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


# --- forms


def test_range_and_layout():
    picture = read(Image.fromarray(np.array([[[0, 255, 0]]], dtype=np.uint8)))
    assert picture.rgb.flatten().tolist() == [-1, 1, -1]
    assert picture.rgb.dtype == torch.float32
    assert picture.alpha is None


@pytest.mark.parametrize("kind", ["path", "str", "pil", "array", "tensor", "float array", "float tensor"])
def test_every_form_gives_the_same_picture(kind, tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(COLOURS))
    unit = COLOURS.astype(np.float32) / 255
    source = {
        "path": path,
        "str": str(path),
        "pil": Image.fromarray(COLOURS),
        "array": COLOURS,
        "tensor": torch.from_numpy(COLOURS).permute(2, 0, 1),
        "float array": unit,
        "float tensor": torch.from_numpy(unit).permute(2, 0, 1),
    }[kind]
    assert np.array_equal(bytes_of(read(source).rgb), COLOURS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.dtype(">u2"), np.float16, np.float32, np.float64])
def test_an_array_comes_back_as_it_was(dtype):
    scale = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    array = (RNG.random((4, 6, 3)) * scale).astype(dtype)
    before = array.copy()
    picture = read(array)
    result = picture.like(picture.rgb)
    assert result.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_allclose(result.astype(float), array.astype(float), atol=0 if scale > 1 else 1e-3)
    assert np.array_equal(array, before)


def test_a_mask_comes_back_as_uint8():
    mask = GREY > 128
    picture = read(mask)
    assert np.array_equal(picture.like(picture.rgb), np.where(mask[..., None], 255, 0).repeat(3, axis=2))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_tensor_comes_back_as_it_was(dtype):
    tensor = torch.rand(3, 4, 6).to(dtype) if dtype.is_floating_point else torch.randint(0, 256, (3, 4, 6)).to(dtype)
    before = tensor.clone()
    picture = read(tensor)
    result = picture.like(picture.rgb)
    assert (result.dtype, result.device) == (dtype, tensor.device)
    torch.testing.assert_close(result, tensor, atol=1e-2 if dtype == torch.bfloat16 else 1e-3, rtol=0)
    assert torch.equal(tensor, before)


def test_a_tensor_in_a_graph_is_read():
    assert not read(torch.rand(3, 2, 2, requires_grad=True)).rgb.requires_grad


def test_a_view_with_strides_is_read():
    assert np.array_equal(bytes_of(read(COLOURS[::-1, ::2]).rgb), COLOURS[::-1, ::2])


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1)])
def test_grey_arrays_become_rgb(shape):
    picture = read(GREY.reshape(shape))
    assert np.array_equal(picture.like(picture.rgb), GREY[..., None].repeat(3, axis=2))


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_of_arrays_and_tensors_is_kept(channels):
    array = RNG.integers(1, 256, (5, 7, channels), dtype=np.uint8)
    expected = array if channels == 4 else array[..., [0, 0, 0, 1]]
    for source, axes in ((array, (0, 1, 2)), (torch.from_numpy(array).permute(2, 0, 1), (1, 2, 0))):
        picture = read(source)
        assert np.array_equal(np.transpose(np.asarray(picture.like(picture.rgb)), axes), expected)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (np.zeros((3, 8, 8), np.uint8), "transpose"),
        (np.zeros((1, 8, 8, 3), np.uint8), "list of arrays"),
        (np.zeros(5, np.uint8), "not \\(H, W\\)"),
        (np.zeros((4, 4, 3), np.int64), "uint8"),
        (np.full((4, 4, 3), 255.0), "values from 255 to 255"),
        (np.full((4, 4, 3), np.nan), "nan"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (torch.zeros(8, 8, 3), "channels first"),
        (torch.full((3, 4, 4), -1.0), "scale floating values"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "uint8"),
        (b"\x89PNG", "given as bytes is not a picture"),
        (None, "NoneType"),
        ("https://example.org/a.jpg", "web address"),
        ("S3://bucket/a.jpg", "web address"),
        ("data:image/png;base64,AAAA", "web address"),
    ],
)
def test_what_is_not_a_picture_is_refused_with_a_reason(source, told):
    with pytest.raises(ImageError, match=told):
        read(source)


# --- modes


def expected_rgb(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV"])
def test_modes_without_alpha(mode):
    image = Image.fromarray(COLOURS).convert(mode)
    picture = read(image)
    assert picture.alpha is None
    assert np.array_equal(bytes_of(picture.rgb), expected_rgb(image))
    assert image.mode == mode


@pytest.mark.parametrize("mode", ["LA", "RGBA", "La", "RGBa", "PA"])
def test_modes_with_alpha(mode):
    rgba = Image.fromarray(np.dstack([COLOURS, np.full((5, 7), 255, np.uint8)]), "RGBA")
    rgba.putpixel((2, 2), (10, 20, 30, 0))
    image = rgba.convert("LA").convert(mode) if mode == "La" else rgba.convert(mode)
    if mode == "PA":
        image.putalpha(rgba.getchannel("A"))  # Pillow before 12 forgets it
    seen = np.ones((5, 7), bool)
    seen[2, 2] = False
    picture = read(image)
    assert np.array_equal(picture.alpha, seen)
    plain = rgba.convert("L") if mode in ("LA", "La") else image if mode == "PA" else rgba
    assert np.array_equal(bytes_of(picture.rgb)[seen], expected_rgb(plain)[seen])


def test_a_palette_with_a_transparent_colour(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    picture = read(save(tmp_path / "a.png", image, transparency=0))
    assert picture.alpha.tolist() == [[0, 1], [1, 0]]
    assert (bytes_of(picture.rgb) == [0, 255, 0]).all()  # the hidden red is gone


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_is_scaled_not_clipped(suffix, tmp_path):
    values = np.array([[0, 256, 1000], [30000, 50000, 65535]], np.uint16)
    picture = read(save(tmp_path / f"a{suffix}", Image.fromarray(values)))
    np.testing.assert_allclose((picture.rgb[1].numpy() + 1) / 2 * 65535, values, atol=0.01)


def test_32_bit_modes():
    values = np.array([[0, 65535]])
    np.testing.assert_allclose(read(Image.fromarray(values.astype(np.int32))).rgb[0], [[-1, 1]])
    np.testing.assert_allclose(read(Image.fromarray((values / 65535).astype(np.float32))).rgb[0], [[-1, 1]])
    for wrong in (Image.fromarray((values * 2).astype(np.int32)), Image.fromarray(values.astype(np.float32))):
        with pytest.raises(ImageError, match="scale"):
            read(wrong)


@pytest.mark.parametrize(("name", "parts"), [("a.gif", "frames"), ("a.tif", "pages"), ("a.webp", "frames")])
def test_the_first_of_several_frames_or_pages_with_a_word(tmp_path, caplog, name, parts):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    path = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    for _ in range(2):
        assert (abs(bytes_of(read(path).rgb).astype(int) - [255, 0, 0]) <= 3).all()
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} has 2 {parts} and the first is used: save the others as files of their own"
    ]


@pytest.mark.parametrize(
    ("tag", "turn"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a)),
    ],
)
def test_exif_orientation(tag, turn, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = tag
    path = save(tmp_path / "a.png", Image.fromarray(COLOURS), exif=exif)
    assert np.array_equal(bytes_of(read(path).rgb), turn(COLOURS))
    with Image.open(path) as image:
        assert np.array_equal(bytes_of(read(image).rgb), turn(COLOURS))
        assert image.getexif()[0x0112] == tag  # the caller's picture stays as it is


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_hide_the_pixels(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(COLOURS), exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff")
    assert np.array_equal(bytes_of(read(path).rgb), COLOURS)


def swapped_profile() -> bytes:
    """sRGB with the primaries of red and green exchanged, under another name."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"____", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"____", b"gXYZ", 1)
    return profile.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def test_a_colour_profile_is_converted_to_srgb(tmp_path):
    path = save(tmp_path / "a.png", Image.new("RGB", (2, 2), (255, 0, 0)), icc_profile=swapped_profile())
    assert (bytes_of(read(path).rgb) == [0, 255, 0]).all()


@pytest.mark.parametrize("profile", [b"nonsense", swapped_profile()[:200]])
def test_a_damaged_profile_is_ignored(profile, tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(COLOURS), icc_profile=profile)
    assert np.array_equal(bytes_of(read(path).rgb), COLOURS)


def test_a_profile_of_another_space_is_ignored(tmp_path):
    image = Image.fromarray(GREY)
    path = save(tmp_path / "a.png", image, icc_profile=swapped_profile())
    assert np.array_equal(bytes_of(read(path).rgb), expected_rgb(image))


# --- transparency


def test_transparent_pixels_take_the_colours_around_them():
    array = np.zeros((33, 47, 4), np.uint8)  # hidden black
    array[8:20, 8:20] = (200, 40, 40, 255)
    array[8:20, 20] = (200, 40, 40, 128)
    filled = bytes_of(read(array).rgb)
    assert np.abs(filled.astype(int) - [200, 40, 40]).max() <= 1


def test_visible_colours_stay_exact_and_alpha_comes_back():
    array = RNG.integers(0, 256, (9, 13, 4), dtype=np.uint8)
    array[..., 3] = np.where(array[..., 3] < 128, 0, array[..., 3])
    picture = read(array)
    result = picture.like(picture.rgb)
    assert np.array_equal(result[..., 3], array[..., 3])
    seen = array[..., 3] > 0
    assert np.array_equal(result[seen], array[seen])


def test_a_wholly_transparent_picture_is_white():
    assert (read(np.zeros((3, 5, 4), np.uint8)).rgb == 1).all()


# --- damage


def test_no_such_file(tmp_path):
    with pytest.raises(NotFoundError, match="there is no picture"):
        read(tmp_path / "none.png")
    with pytest.raises(NotFoundError):
        read("x" * 5000)
    with pytest.raises(NotFoundError):
        read("a\0b.png")


def test_a_folder_is_not_a_picture(tmp_path):
    with pytest.raises(ImageError, match="is a folder"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff"])
def test_files_that_are_no_pictures_are_named(tmp_path, content):
    path = tmp_path / "face of Ada.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"face of Ada\.png") as caught:
        read(path)
    assert caught.value.hint


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".bmp"])
def test_cut_files_are_refused(tmp_path, suffix):
    big = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = save(tmp_path / f"whole{suffix}", big).read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=f"cut{suffix}"):
        read(path)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_decompression_bomb_is_refused(tmp_path):
    path = tmp_path / "bomb.png"
    facts = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", facts) + chunk(b"IDAT", zlib.compress(b"")))
    with pytest.raises(ImageError, match=r"bomb\.png is suspiciously large"):
        read(path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about tags
@settings(max_examples=150, deadline=None)
@given(suffix=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]), data=st.data())
def test_flipped_bytes_give_a_picture_or_an_image_error(suffix, data, tmp_path_factory):
    encoded = io.BytesIO()
    Image.fromarray(COLOURS).save(encoded, suffix)
    content = bytearray(encoded.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "flipped"
    path.write_bytes(content)
    try:
        assert read(path).rgb.shape[0] == 3
    except ImageError as error:
        assert "flipped" in str(error)


# --- writing


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".webp", ".tif", ".bmp", ".jpg"])
def test_write_and_read(tmp_path, suffix):
    path = tmp_path / "new" / f"a{suffix}"
    flat = Image.new("RGB", (20, 10), (180, 90, 40))
    write(flat, path)
    assert np.abs(bytes_of(read(path).rgb).astype(int) - [180, 90, 40]).max() <= (
        3 if suffix in (".jpg", ".webp") else 0
    )


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_is_written_where_the_format_holds_it(tmp_path, suffix):
    write(Image.new("RGBA", (8, 8), (0, 0, 0, 51)), tmp_path / f"a{suffix}")
    np.testing.assert_allclose(read(tmp_path / f"a{suffix}").alpha, 0.2, atol=0.01)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_alpha_goes_onto_white_elsewhere(tmp_path, suffix):
    write(Image.new("RGBA", (8, 8), (0, 0, 0, 51)), tmp_path / f"a{suffix}")
    assert np.abs(bytes_of(read(tmp_path / f"a{suffix}").rgb).astype(int) - 204).max() <= 1


@pytest.mark.parametrize("name", ["a.gif", "a", "a.jgp"])
def test_unknown_suffixes_are_refused(tmp_path, name):
    with pytest.raises(ImageError, match="cannot write"):
        write(Image.new("RGB", (2, 2)), tmp_path / name)


def test_a_side_too_long_for_the_format_is_one_error(tmp_path):
    with pytest.raises(ImageError, match="cannot be written"):
        write(Image.new("RGB", (70_000, 1)), tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write(Image.new("RGB", (2, 2)), path)
    old = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ImageError, match="No space"):
        write(Image.new("RGB", (3, 3)), path)
    assert path.read_bytes() == old
    assert [found.name for found in tmp_path.iterdir()] == ["a.png"]


def test_to_pil():
    assert np.array_equal(np.asarray(to_pil(read(COLOURS).rgb)), COLOURS)


# --- finding


def test_find_pictures_walks_and_sorts(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/c.webp", "sub/deep/d.tiff", "notes.txt", ".hidden.png", ".git/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [path.relative_to(tmp_path).as_posix() for path in find_pictures([tmp_path])]
    assert found == ["a.jpg", "b.PNG", "sub/c.webp", "sub/deep/d.tiff"]
    assert find_pictures([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]
