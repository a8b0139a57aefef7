"""Videos: frames, their times and the sound come through; what fails leaves nothing behind."""

from __future__ import annotations

import json
import logging
import re
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import leave
from PIL import Image
from tiny_plugin import TinyPlugin, tiny  # noqa: F401  (a fixture)
from torch import Tensor

from zoo.errors import ExistsError, ImageError, NotFoundError, PartialFailure, UsageError
from zoo.generator import Generator
from zoo.pictures import video
from zoo.pictures.image import Picture
from zoo.translator import Translator

av = pytest.importorskip("av")

RATE = 16000
Zoo = Callable[..., tuple[int, str, str]]


class Negative(Generator):
    """The negative."""

    def parts(self, image: Tensor) -> dict[str, Tensor]:
        return {"image": -image}


class Same(Generator):
    """The picture itself."""

    def parts(self, image: Tensor) -> dict[str, Tensor]:
        return {"image": image}


def pattern(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """A bright square that moves to the right over a ground of three colours."""
    frames = []
    for number in range(count):
        frame = np.empty((height, width, 3), np.uint8)
        frame[...] = (40, 90, 150)
        frame[: height // 2] = (150, 60, 50)
        frame[16:32, 2 * number : 2 * number + 16] = 220
        frames.append(frame)
    return frames


def film(
    path: Path | str,
    frames: Sequence[np.ndarray],
    *,
    rate: Fraction | int = 25,
    codec: str = "libx264",
    pixels: str = "yuv444p",
    sound: str = "",
    times: Sequence[int] | None = None,
    ratio: Fraction | None = None,
    title: str = "",
) -> Path:
    """A video of these frames (H, W, 3), with a tone as long as they are if ``sound`` names a codec."""
    path = Path(path)
    with av.open(str(path), "w") as out:
        out.metadata.update({"title": title} if title else {})
        stream = out.add_stream(codec, rate=rate, options={"crf": "4"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        if ratio:
            stream.codec_context.sample_aspect_ratio = ratio
        tone = out.add_stream(sound, rate=RATE, layout="mono") if sound else None
        for number, pixels_ in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels_, format="rgb24")
            frame.pts, frame.time_base = (times or range(len(frames)))[number], 1 / Fraction(rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if tone is not None:
            wave = np.sin(np.arange(round(len(frames) / rate * RATE)) * 0.1).astype(np.float32)
            for start in range(0, len(wave), 1024):
                samples = (wave[None, start : start + 1024] * 20000).astype(np.int16)
                heard = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                heard.sample_rate, heard.pts = RATE, start
                out.mux(tone.encode(heard))
            out.mux(tone.encode(None))
    return path


def shown(path: Path | str) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


def times(path: Path | str) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def heard(path: Path | str) -> list[bytes]:
    """The packets of the sound."""
    with av.open(str(path)) as container:
        streams = container.streams.audio
        return [bytes(packet) for packet in container.demux(streams) if packet.size] if streams else []


def near(one: np.ndarray, other: np.ndarray) -> bool:
    """As two lossy copies are, edges apart."""
    return float(np.abs(one - other.astype(int)).mean()) < 4


@pytest.fixture
def same() -> Translator:
    return Translator(Same(), device="cpu")


# -- what comes through ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["out.mp4", "out.mov", "out.mkv", "out.webm"])
def test_every_frame_is_drawn_and_keeps_its_time(tmp_path: Path, target: str) -> None:
    frames = pattern(12)
    source = film(tmp_path / "in.mp4", frames, rate=Fraction(24000, 1001), sound="aac")
    before = source.read_bytes()
    Translator(Negative(), device="cpu").translate_video(source, tmp_path / target)
    drawn = shown(tmp_path / target)
    assert len(drawn) == 12
    assert all(near(255 - one, frame) for one, frame in zip(drawn, frames))
    late = times(tmp_path / target)[0]  # for the sound, in Matroska
    expected = [number * 1001 / 24000 for number in range(12)]
    assert np.allclose(np.array(times(tmp_path / target)) - late, expected, atol=0.0011)
    with av.open(str(tmp_path / target)) as container:
        rate = container.streams.video[0].average_rate
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert float(rate) == pytest.approx(24000 / 1001, rel=1e-3)
    assert source.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", target}


def test_the_sound_is_copied_as_it_is_and_beside_its_pictures(tmp_path: Path, same: Translator) -> None:
    source = film(tmp_path / "in.mp4", pattern(24) * 3, sound="aac")
    for target in (tmp_path / "out.mp4", tmp_path / "out.mkv"):
        same.translate_video(source, target)
        assert len(heard(source)) > 40
        assert heard(target) == heard(source)
        with av.open(str(target)) as container:
            ends = {stream.type: 0.0 for stream in container.streams}
            for packet in container.demux():
                if packet.dts is not None:
                    ends[packet.stream.type] = float(packet.dts * packet.time_base)
                    assert abs(ends["video"] - ends["audio"]) < 1.2  # else a player has to jump in the file


def test_sound_that_does_not_fit_is_left_out_and_named(
    tmp_path: Path, same: Translator, caplog: pytest.LogCaptureFixture
) -> None:
    source = film(tmp_path / "in.mkv", pattern(6), sound="aac")
    with caplog.at_level(logging.WARNING, "zoo"):
        same.translate_video(source, tmp_path / "out.webm")
    assert "the sound (aac) is left out: .webm does not hold it" in caplog.text
    assert len(shown(tmp_path / "out.webm")) == 6 and not heard(tmp_path / "out.webm")


def test_uneven_times_are_kept(tmp_path: Path, same: Translator) -> None:
    source = film(tmp_path / "in.mp4", pattern(5), times=[0, 1, 4, 5, 9])
    same.translate_video(source, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == times(source) == [0, 0.04, 0.16, 0.2, 0.36]


def test_frames_without_times_follow_evenly(tmp_path: Path, same: Translator) -> None:
    source = film(tmp_path / "in.avi", pattern(5), codec="mjpeg", pixels="yuvj444p", rate=10)
    same.translate_video(source, tmp_path / "out.mp4")
    assert np.allclose(np.diff(times(tmp_path / "out.mp4")), 0.1)


def test_odd_sides_get_a_row_more(tmp_path: Path, same: Translator) -> None:
    source = film(tmp_path / "in.mp4", pattern(3, 47, 63))
    same.translate_video(source, tmp_path / "out.mp4")
    assert [frame.shape for frame in shown(tmp_path / "out.mp4")] == [(48, 64, 3)] * 3
    assert all(near(one[:47, :63], frame) for one, frame in zip(shown(tmp_path / "out.mp4"), pattern(3, 47, 63)))
    assert near(shown(tmp_path / "out.mp4")[0][47], shown(tmp_path / "out.mp4")[0][46])


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), -1), ((0, -1, 1, 0), 1), ((-1, 0, 0, -1), 2)])
def test_a_turned_recording_comes_out_upright(
    tmp_path: Path, same: Translator, matrix: tuple[int, ...], turns: int
) -> None:
    content = film(tmp_path / "in.mp4", pattern(3)).read_bytes()
    at = content.index(b"tkhd") + 4 + 40  # where the header of the track keeps how it is turned
    a, b, c, d = (65536 * one for one in matrix)
    turned = content[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + content[at + 36 :]
    (tmp_path / "in.mp4").write_bytes(turned)
    same.translate_video(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert all(near(one, np.rot90(frame, turns)) for one, frame in zip(shown(tmp_path / "out.mp4"), pattern(3)))


def test_pixels_become_square(tmp_path: Path, same: Translator) -> None:
    source = film(tmp_path / "in.mp4", pattern(2), ratio=Fraction(2))
    same.translate_video(source, tmp_path / "out.mp4")
    assert shown(tmp_path / "out.mp4")[0].shape == (48, 128, 3)


def test_options_and_controls_are_those_of_pictures(tmp_path: Path) -> None:
    class Half(Translator):
        framing = frozenset({"right"})

        def framed(self, picture: Picture, right: bool = False, **_: Any) -> Picture:
            return picture.cut(lambda planes: planes[..., 32:] if right else planes[..., :32])

    seen: list[tuple[int, ...]] = []

    class Seeing(Same):
        def parts(self, image: Tensor) -> dict[str, Tensor]:
            seen.append(tuple(image.shape))
            return {"image": image}

    translator = Half(Seeing(), {"controls": [{"type": "flag", "name": "right"}]}, device="cpu")
    source = film(tmp_path / "in.mp4", pattern(5))
    translator.translate_video(source, tmp_path / "out.mp4", right=True, size=24, batch=2)
    assert all(near(one[::4], frame[::4, 32:]) for one, frame in zip(shown(tmp_path / "out.mp4"), pattern(5)))
    assert seen == [(2, 3, 24, 16), (2, 3, 24, 16), (1, 3, 24, 16)]
    with pytest.raises(UsageError, match="rihgt"):
        translator.translate_video(source, tmp_path / "new.mp4", rihgt=True)


def test_few_frames_are_in_memory_and_who_listens_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    drawn: list[int] = []

    class Counting(Same):
        def parts(self, image: Tensor) -> dict[str, Tensor]:
            drawn.append(len(image))
            assert told[-1][1] < sum(drawn)  # no frame was read that is not drawn yet
            return {"image": image}

    source = film(tmp_path / "in.mp4", pattern(10))
    Translator(Counting(), device="cpu").translate_video(
        source,
        tmp_path / "out.mp4",
        batch=3,
        progress=lambda what, done, total, image=None: told.append((what, done, total)),
    )
    assert drawn == [3, 3, 3, 1]
    assert told == [("translating", number, 10) for number in range(10)]


# -- what fails --------------------------------------------------------------------------------------------------------


def test_what_is_no_video_is_one_line(tmp_path: Path, same: Translator) -> None:
    content = film(tmp_path / "whole.mp4", pattern(30)).read_bytes()
    (tmp_path / "half.mp4").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.mp4").write_text("no video" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    with av.open(str(tmp_path / "sound.mp4"), "w") as out:
        tone = out.add_stream("aac", rate=RATE, layout="mono")
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        heard.sample_rate = RATE
        out.mux([*tone.encode(heard), *tone.encode(None)])
    before = {path.name for path in tmp_path.iterdir()}
    for name, told in {
        "half.mp4": "half.mp4 is not a video that can be read|half.mp4 is damaged",
        "text.mp4": "text.mp4 is not a video that can be read",
        "empty.mp4": "empty.mp4 is not a video that can be read",
        "sound.mp4": "sound.mp4 holds no moving pictures",
    }.items():
        with pytest.raises(ImageError, match=told):
            same.translate_video(tmp_path / name, tmp_path / "out.mp4")
    with pytest.raises(NotFoundError, match="there is no video"):
        same.translate_video(tmp_path / "none.mp4", tmp_path / "out.mp4")
    with pytest.raises(ImageError, match=r"cannot write a video as \.gif"):
        same.translate_video(tmp_path / "whole.mp4", tmp_path / "out.gif")
    with pytest.raises(UsageError, match="would overwrite the input"):
        same.translate_video(tmp_path / "whole.mp4", tmp_path / "whole.mp4")
    assert {path.name for path in tmp_path.iterdir()} == before
    assert (tmp_path / "whole.mp4").read_bytes() == content


def test_a_file_that_ends_early_leaves_what_was_there(tmp_path: Path, same: Translator) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), dtype=np.uint8)
    source = film(tmp_path / "in.mp4", list(noise))
    Translator(Same(), device="cpu").translate_video(source, tmp_path / "fast.mp4")  # facts first, then pictures
    content = (tmp_path / "fast.mp4").read_bytes()
    source.write_bytes(content[: len(content) * 3 // 4])
    (tmp_path / "out.mp4").write_bytes(b"precious")
    with pytest.raises(ImageError, match=r"in\.mp4 is damaged or incomplete"):
        same.translate_video(source, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"precious"
    assert len([*tmp_path.iterdir()]) == 3


@pytest.mark.parametrize("fault", [ImageError("a bad frame", "look away"), KeyboardInterrupt()])
def test_what_stops_at_a_frame_leaves_nothing(tmp_path: Path, fault: BaseException) -> None:
    class Failing(Same):
        drawn = 0

        def parts(self, image: Tensor) -> dict[str, Tensor]:
            self.drawn += 1
            if self.drawn == 5:
                assert len([*tmp_path.iterdir()]) == 2  # the file has been begun
                raise fault
            return {"image": image}

    source = film(tmp_path / "in.mp4", pattern(8), sound="aac")
    with pytest.raises(type(fault)) as raised:
        Translator(Failing(), device="cpu").translate_video(source, tmp_path / "out.mp4", batch=1)
    if isinstance(raised.value, ImageError):
        assert str(raised.value) == "frame 5: a bad frame (look away)"
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_without_pyav_one_line_says_what_to_install(
    tmp_path: Path, same: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = film(tmp_path / "in.mp4", pattern(2))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r"PyAV.*pip install 'zoo-core\[video\]'"):
        same.translate_video(source, tmp_path / "out.mp4")


def test_a_video_leaves_no_trace(tmp_path: Path) -> None:
    generator = Negative().train()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    Translator(generator, device="cpu").translate_video(film(tmp_path / "in.mp4", pattern(3)), tmp_path / "out.mp4")
    assert generator.training and torch.equal(torch.get_rng_state(), state)


# -- zoo translate -----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tiny: TinyPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Zoo:  # noqa: F811
    """``zoo translate tiny …`` in an empty folder -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: leave(capsys, "translate", "tiny", "--device", "cpu", *words)


def test_one_video_into_one_file(run: Zoo) -> None:
    film("in.mp4", pattern(4), sound="aac")
    assert run("in.mp4", "-o", "new/out.mkv", "--hand", "second") == (0, "", "1 translated, 0 skipped, 0 failed\n")
    assert all(near(255 - one, frame) for one, frame in zip(shown("new/out.mkv"), pattern(4)))
    code, _, err = run("in.mp4", "-o", "new/out.mkv")
    assert code == 2 and "there already" in err
    assert "1 skipped" in run("in.mp4", "-o", "new/out.mkv", "--on-exists", "skip")[2]
    assert (
        run("in.mp4", "-o", "1:2/o.mp4")[0] == 0 and len(shown(Path("1:2/o.mp4").absolute())) == 4
    )  # no address of FFmpeg's
    code, _, err = run("in.mp4", "-o", "in.mp4", "--on-exists", "overwrite")
    assert code == 2 and "would overwrite the input" in err


def test_videos_beside_pictures(run: Zoo) -> None:
    film("a.mp4", pattern(3))
    film("b.avi", pattern(3), codec="mjpeg", pixels="yuvj444p")
    Path("broken.mov").write_text("no video")
    Image.new("RGB", (8, 8)).save("c.bmp")
    code, out, err = run("a.mp4", "c.bmp", "broken.mov", "b.avi", "-o", "out", "--format", "png")
    assert (code, out) == (6, "")
    assert "3 translated, 0 skipped, 1 failed" in err
    assert err.count("broken.mov is not a video that can be read") == 1
    assert {path.name for path in Path("out").iterdir()} == {"a.mp4", "b.mp4", "c.png"}


def half(path: Path) -> Path:
    """Cut in the middle, as a copy that was broken off."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // 188 * 188 + 9])
    return path


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a.mkv", "seconds are missing"),
        ("a.ts", "the file ends in the middle of a piece"),
        ("a.avi", "seconds are missing"),
    ],
)
def test_half_a_film_is_counted_and_said(run: Zoo, name: str, told: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    half(film(name, [np.roll(noise, 3 * number, 1) for number in range(40)], pixels="yuv420p"))
    code, out, err = run(name, "-o", "out.mp4", "--json")
    [made] = json.loads(out)["translated"]
    assert code == 6 and told in made["damaged"] and made["output"] == "out.mp4"
    assert f"{name} is damaged: " in err and told in err
    assert "1 translated, 0 skipped, 0 failed; 1 videos are damaged" in err
    assert 1 < len(shown("out.mp4")) < 40
    code, _, err = run(name, "-o", "fine.mp4", "--damaged")
    assert code == 0 and "1 translated, 0 skipped, 0 failed" in err


def test_frames_that_the_decoder_calls_corrupt_are_counted(tmp_path: Path, same: Translator) -> None:
    """A third of a broadcast is lost."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    path = film(tmp_path / "a.ts", [np.roll(noise, 3 * number, 1) for number in range(30)], pixels="yuv420p")
    data = path.read_bytes()
    third = len(data) // 188 // 3 * 188
    path.write_bytes(data[:third] + data[2 * third :])
    with pytest.raises(PartialFailure, match="1 frames are damaged") as caught:
        same.translate_video(path, tmp_path / "out.mp4")
    assert "damaged=True" in caught.value.hint and len(shown(tmp_path / "out.mp4")) > 15
    same.translate_video(path, tmp_path / "fine.mp4", damaged=True)


Muxed = Callable[..., bytes]


class Pipe:
    """What nobody can go back in, as the upload of a live recording: no length is filled in later."""

    def __init__(self, path: Path) -> None:
        self.write = path.open("wb", buffering=0).write


@pytest.fixture(scope="module")
def muxed(tmp_path_factory: pytest.TempPathFactory) -> Muxed:
    """The bytes of a whole film of 40 frames as .mkv or .webm, by the muxer's options."""
    folder = tmp_path_factory.mktemp("muxed")
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)

    def make(
        name: str, times: Sequence[int] = range(40), live: bool = False, sound: bool = False, **options: str
    ) -> bytes:
        path = folder / name
        with av.open(Pipe(path) if live else str(path), "w", options=options, format=FORMATS[path.suffix]) as out:
            video = out.add_stream("libvpx" if path.suffix == ".webm" else "mpeg4", rate=25)
            video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
            tone = out.add_stream("libopus", rate=48000, layout="mono") if sound else None
            for number, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(np.roll(noise, 3 * number, 1), format="rgb24")
                frame.pts, frame.time_base = time, Fraction(1, 25)
                out.mux(video.encode(frame))
                if tone is not None:
                    heard = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), format="s16", layout="mono")
                    heard.sample_rate, heard.pts = 48000, 1920 * time
                    out.mux(tone.encode(heard))
            for stream in filter(None, (video, tone)):
                out.mux(stream.encode(None))
        return path.read_bytes()

    return make


FORMATS = {".mkv": "matroska", ".webm": "webm"}
WHOLE: list[dict[str, Any]] = [
    {"name": "plain.mkv"},
    {"name": "plain.webm"},
    {"name": "sound.mkv", "sound": True},
    {"name": "live.webm", "live": True, "sound": True},
    {"name": "streamed.webm", "live": True, "cluster_time_limit": "300"},
    {"name": "dash.webm", "dash": "1"},
    {"name": "plain.mkv", "write_crc32": "0", "cluster_time_limit": "200"},
    {"name": "front.mkv", "reserve_index_space": "3000"},
    {"name": "uneven.mkv", "times": [0, 1, 5, 6, 9, 20, 21, 22, 60, 61]},
    {"name": "dropped.mkv", "times": [time for time in range(60) if time % 7 and not 20 < time < 31], "sound": True},
    {"name": "late.mkv", "times": range(125, 150)},
    {"name": "late.webm", "times": range(125, 150), "sound": True, "live": True},
]


@pytest.mark.parametrize("how", WHOLE, ids=lambda how: how["name"])
def test_a_whole_matroska_film_is_not_called_damaged(how: dict[str, Any], muxed: Muxed, tmp_path: Path) -> None:
    """Of any rate, with frames left out, from later than 0 on, and of lengths that a live recording does not know."""
    path = tmp_path / how["name"]
    path.write_bytes(muxed(**how))
    damage = video.Damage()
    count = len([*video.probe(path).frames("reading", damage)])
    assert str(damage) == "" and count == len(how.get("times", range(40)))


@pytest.mark.parametrize("how", WHOLE[:4], ids=lambda how: how["name"])
def test_a_damaged_matroska_film_is(how: dict[str, Any], muxed: Muxed, tmp_path: Path) -> None:
    """Demuxers step over a block or a cluster whose beginning they do not know, and a last frame is soon lost."""
    data = muxed(**how)
    cluster, path = data.index(b"\x1f\x43\xb6\x75"), tmp_path / how["name"]
    blocks = [
        at for at in range(cluster, len(data) - 7) if data[at] == 0xA3 and data[at + 1] & 0xC0 and data[at + 3] == 0x81
    ]
    block = blocks[len(blocks) // 2]
    damaged = {
        "cut": data[:-200],
        "a hole": data[:block] + data[block + 41 :],
        "a cluster": data[:cluster] + b"\0" + data[cluster + 1 :],
        "a block": data[:block] + b"\xa2" + data[block + 1 :],
        "a track": data[: block + 3] + b"\x8f" + data[block + 4 :],
    }
    for kind, content in damaged.items():
        path.write_bytes(content)
        damage = video.Damage()
        with suppress(ImageError):  # nothing is written then
            [*video.probe(path).frames("reading", damage)]
            assert str(damage), kind


@pytest.mark.parametrize("name", ["a.ts", "a.flv", "a.avi"])
def test_frames_that_are_lost_in_the_middle_are_counted(run: Zoo, name: str) -> None:
    """Nothing that is left is damaged, and the film is as long as before."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    frames = [np.roll(noise, 3 * number, 1) for number in range(40)]
    path = film(name, frames, pixels="yuv420p")
    data = path.read_bytes()
    middle = len(data) // 2 // 188 * 188
    path.write_bytes(data[:middle] + data[middle + 9 * 188 :])
    code, out, _ = run(name, "-o", "out.mp4", "--json")
    [made] = json.loads(out)["translated"]
    assert code == 6 and re.search("[1-9] frames are missing", made["damaged"]), made["damaged"]
    assert run(name, "-o", "fine.mp4", "--damaged")[0] == 0


def test_frames_that_are_lost_behind_all_others(tmp_path: Path) -> None:
    """The packets are there, but what they build on is not: of those nobody sees a gap."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    path = film(tmp_path / "a.ts", [np.roll(noise, 3 * number, 1) for number in range(40)], pixels="yuv420p")
    data = path.read_bytes()
    places = [at for at in range(0, len(data), 188) if at > len(data) * 0.7]
    path.write_bytes(data[: places[0]] + data[places[3] :])
    damage = video.Damage()
    count = len([*video.probe(path).frames("reading", damage)])
    assert count < 40 and str(damage)


def test_a_frame_that_the_decoder_swallows(tmp_path: Path) -> None:
    """Its packet is as long as it says, and no frame is found in it."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    frames = [np.roll(noise, 3 * number, 1) for number in range(40)]
    path = film(tmp_path / "a.avi", frames, codec="mpeg4", pixels="yuv420p")
    assert len([*video.probe(path).frames("reading", damage := video.Damage())]) == 40 and str(damage) == ""
    with av.open(str(path)) as container:
        packet = [bytes(packet) for packet in container.demux(video=0)][20]
    data = path.read_bytes()
    at = data.index(packet) + 4
    path.write_bytes(data[:at] + bytes(4) + data[at + 4 :])
    assert len([*video.probe(path).frames("reading", damage := video.Damage())]) == 39
    assert "1 frames are missing" in str(damage)


def test_damaged_windows_media(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    frames = [np.roll(noise, 3 * number, 1) for number in range(40)]
    path = film(tmp_path / "a.wmv", frames, codec="wmv2", pixels="yuv420p")
    data = path.read_bytes()
    start = data.index(bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")) + 50
    for content in (
        data[:-900],  # it has no index
        data[: start + 3300] + data[start + 3400 :],
        data[: start + 3202] + b"\1" + data[start + 3203 :],
        data[: start + 3200] + data[start + 6400 :],
    ):
        path.write_bytes(content)
        damage = video.Damage()
        assert [*video.probe(path).frames("reading", damage)] and str(damage)


def test_a_title_in_any_alphabet(tmp_path: Path, same: Translator) -> None:
    """As older programs wrote it: what it says is not needed."""
    path = film(tmp_path / "a.avi", pattern(3), codec="mpeg4", pixels="yuv420p", title="Fruehling")
    path.write_bytes(path.read_bytes().replace(b"Fruehling", b"Fr\xfc\xe9ling.."[:9]))
    same.translate_video(path, tmp_path / "out.mp4")
    assert len(shown(tmp_path / "out.mp4")) == 3


def test_a_stream_that_comes_later(tmp_path: Path) -> None:
    """Sound from the second clip on, as when a broadcast goes on to another programme."""
    first = film(tmp_path / "a.ts", pattern(12), pixels="yuv420p").read_bytes()
    second = film(tmp_path / "b.ts", pattern(12), pixels="yuv420p", sound="aac").read_bytes()
    (path := tmp_path / "c.ts").write_bytes(first + second)
    assert len([*video.probe(path).frames("reading")]) >= 20


def test_a_pause_is_no_hole(tmp_path: Path) -> None:
    """Slides are shown for a while; clips that were joined begin at any number."""
    pause = film(tmp_path / "a.ts", pattern(12), pixels="yuv420p", times=[*range(6), *range(20, 26)])
    joined = tmp_path / "b.ts"
    joined.write_bytes(b"".join(clip(tmp_path / "clip.ts", start).read_bytes() for start in (5, 30000)))
    for path in (pause, joined):
        damage = video.Damage()
        assert [*video.probe(path).frames("reading", damage)] and str(damage) == ""


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.ts", "a.webm", "a.avi", "a.flv", "a.mpg", "a.wmv"])
def test_a_whole_film_is_not_called_damaged(tmp_path: Path, name: str) -> None:
    codec = {"webm": "libvpx", "mpg": "mpeg2video", "wmv": "wmv2"}.get(name[2:], "libx264")
    tone = "" if name in ("a.webm", "a.mpg", "a.wmv") else "aac"  # theirs have a rate of their own
    path = film(tmp_path / name, pattern(20), codec=codec, pixels="yuv420p", sound=tone)
    damage = video.Damage()
    assert len([*video.probe(path).frames("reading", damage)]) == 20
    assert str(damage) == ""


def test_a_result_that_came_meanwhile_is_not_replaced(tmp_path: Path, same: Translator) -> None:
    path = film(tmp_path / "a.mp4", pattern(3))
    (tmp_path / "out.mp4").write_bytes(b"mine")
    with pytest.raises(ExistsError, match=r"out\.mp4 is there already"):
        same.translate_video(path, tmp_path / "out.mp4", replace=False)

    def frames() -> Iterator[np.ndarray]:
        yield from pattern(3)
        (tmp_path / "new.mp4").write_bytes(b"mine")

    with pytest.raises(ExistsError):
        video.write(frames(), tmp_path / "new.mp4", 25, replace=False)
    assert {p.name: p.read_bytes() for p in tmp_path.glob("[no]*")} == {"out.mp4": b"mine", "new.mp4": b"mine"}


def test_a_folder_is_one_of_pictures(run: Zoo) -> None:
    Path("in").mkdir()
    film("in/a.mp4", pattern(3))
    Image.new("RGB", (8, 8)).save("in/b.png")
    assert run("in", "-o", "out")[0] == 0
    assert [path.name for path in Path("out").iterdir()] == ["b.png"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("a.mp4", "-o", "out.png"), "cannot write a video as .png"),
        (("b.png", "-o", "out.mp4"), "cannot write .mp4"),
        (("a.mp4", "-o", "out.mp4", "--format", "png"), "--format png is not what out.mp4 says"),
        (("a.mp4", "-o", "out.mp4", "--mix", "3"), "from -1 to 1"),
    ],
)
def test_wrong_names_and_options_are_one_line_and_no_work(run: Zoo, words: Sequence[str], told: str) -> None:
    film("a.mp4", pattern(2))
    Image.new("RGB", (8, 8)).save("b.png")
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert told in err
    assert {path.name for path in Path().iterdir()} == {"a.mp4", "b.png"}


def test_suffixes_that_are_written_are_read() -> None:
    assert video.FORMATS.keys() <= video.SUFFIXES


# -- times -------------------------------------------------------------------------------------------------------------


def clip(path: Path, start: float, count: int = 10) -> Path:
    """MPEG-TS as recorders write it: pictures and a tone whose times begin at ``start`` seconds."""
    with av.open(str(path), "w", format="mpegts") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90000)
        tone = out.add_stream("aac", rate=44100, layout="mono")
        for number, pixels in enumerate(pattern(count)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(64, 48, "yuv420p")
            frame.pts, frame.time_base = round((start + number / 25) * 90000), Fraction(1, 90000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        for number in range(round(count / 25 * 44100 / 1024) + 1):
            heard_ = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
            heard_.sample_rate, heard_.pts = 44100, round(start * 44100) + 1024 * number
            heard_.time_base = Fraction(1, 44100)
            out.mux(tone.encode(heard_))
        out.mux(tone.encode(None))
    return path


def sounding(path: Path) -> list[float]:
    """When the packets of the sound are heard."""
    with av.open(str(path)) as container:
        return [float(p.pts * p.time_base) for p in container.demux(audio=0) if p.pts is not None]


@pytest.mark.parametrize("starts", [(50000,), (5, 5), (5, 30000), (30000, 5, 30000)], ids=str)
def test_times_begin_at_0_and_go_on_where_clips_were_joined(
    tmp_path: Path, same: Translator, starts: Sequence[float]
) -> None:
    source = tmp_path / "in.ts"
    source.write_bytes(b"".join(clip(tmp_path / "clip.ts", start).read_bytes() for start in starts))
    same.translate_video(source, tmp_path / "out.mp4")
    seen, sound = times(tmp_path / "out.mp4"), sounding(tmp_path / "out.mp4")
    assert len(seen) == 10 * len(starts)
    assert seen[0] < 0.1 and abs(sound[0] - seen[0]) < 0.1
    assert abs(sound[-1] - seen[-1]) < 0.1  # they end together
    for told in (seen, sound):
        steps = np.diff(told)
        assert steps.min() > 0 and steps.max() < 0.2


def test_what_begins_later_than_the_sound_still_does(tmp_path: Path, same: Translator) -> None:
    frames = pattern(6)
    source = film(tmp_path / "in.mkv", frames, sound="aac", times=range(50, 56))
    same.translate_video(source, tmp_path / "out.mkv")
    assert times(tmp_path / "out.mkv")[0] == pytest.approx(2, abs=0.05)


# -- colours -----------------------------------------------------------------------------------------------------------

TRANSFERS = {  # light, 1 at white paper, to signal (ITU-R BT.2100; BT.2408: white paper is 203 of 1000 cd/m²)
    "arib-std-b67": lambda light: np.where(
        (scene := (light * 0.203) ** (1 / 1.2)) <= 1 / 12,
        np.sqrt(3 * scene),
        0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
    ),
    "smpte2084": lambda light: (
        ((0.8359375 + 18.8515625 * (y := (light * 203 / 10000) ** 0.1593017578125)) / (1 + 18.6875 * y)) ** 78.84375
    ),
}


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_a_phones_hdr_keeps_white_white_and_grey_grey(tmp_path: Path, transfer: str) -> None:
    path = tmp_path / "hdr.mp4"
    levels = np.array([0, 64, 128, 192, 255, 255])  # of sRGB; the last is four times as bright as white paper
    light = np.where(levels / 255 <= 0.04045, levels / 255 / 12.92, ((levels / 255 + 0.055) / 1.055) ** 2.4)
    light[-1] = 4
    luma = np.rint(64 + 876 * TRANSFERS[transfer](light)).astype(np.uint16).repeat(16)
    with av.open(str(path), "w") as out:
        # Phones write HEVC, which says the same of its colours; x265 behind PyAV fails at random to write an MP4.
        told = f"colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:range=tv"
        stream = out.add_stream("libx264", rate=25, options={"crf": "2", "x264-params": told})
        stream.width, stream.height, stream.pix_fmt = len(luma), 32, "yuv420p10le"
        frame = av.VideoFrame(len(luma), 32, "yuv420p10le")
        for plane, value in zip(frame.planes, (luma, 512, 512)):
            buffer = np.full((plane.height, plane.line_size // 2), 512, np.uint16)
            buffer[:, : plane.width] = value
            plane.update(buffer.tobytes())
        frame.pts = 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    ((_, read),) = video.probe(path).frames("reading")
    seen = read[16, 8::16].astype(int)
    assert np.abs(seen - seen.mean(1, keepdims=True)).max() <= 2  # grey
    assert np.abs(seen[:4, 0] - levels[:4]).max() <= 4
    assert 240 <= seen[4, 0] < seen[5, 0]


@pytest.mark.parametrize(
    ("pixels", "codec"), [("yuv420p10le", "libx265"), ("yuvj420p", "libx264"), ("yuv444p10le", "libx264")]
)
def test_ten_bits_and_full_range_are_read_as_they_say(tmp_path: Path, pixels: str, codec: str) -> None:
    frames = [np.full((32, 64, 3), level, np.uint8) for level in (0, 128, 255)]
    path = film(tmp_path / "in.mkv", frames, codec=codec, pixels=pixels)
    for (_, read), frame in zip(video.probe(path).frames("reading"), frames):
        assert np.abs(read.astype(int) - frame).max() <= 2
