"""Training pictures: what is read, paired, cropped, coloured; a stream that depends on seed and index alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from training import pictures

from zoo.errors import NotFoundError, UsageError
from zoo.pictures.image import write
from zoo.pictures.metadata import Metadata
from zoo.recipe import Augment, Data
from zoo.train.augment import backdrop, frame, new_backdrop, other_sitter, recolour, relight
from zoo.train.data import Portraits, Share

PLAIN = {"flip": False, "scale": 1.0}
RICH = {"flip": True, "scale": 1.2, "rotate": 10, "colour": 0.8, "light": 0.9, "sitters": 0.9, "background": 0.7}


def portraits(
    photos: Sequence[Path], drawings: Sequence[Path], seed: int = 0, pairs: bool = False, **augment: Any
) -> Portraits:
    data = Data(size=(32, 32), pairs=pairs, augment=Augment(**{**PLAIN, **augment}))
    return Portraits(photos, [(path.name, path) for path in drawings], data, seed)


def alike(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return pictures(tmp_path / "photos", 4, 1), pictures(tmp_path / "drawings", 3, 2)


# -- folders ------------------------------------------------------------------------------------------------------------


def test_bad_pictures_are_reported_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos = pictures(tmp_path / "photos", 3)
    (photos / "broken.png").write_bytes((photos / "0.png").read_bytes()[:200])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.png").write_text("no picture")
    (photos / "link.png").symlink_to("nowhere.png")
    Image.new("RGB", (500, 63)).save(photos / "flat.png")
    data = portraits([photos], [photos])
    assert len(data.photos[0]) == 3
    for name in ("broken.png", "empty.jpg", "text.png", "link.png"):
        assert f"skipped {photos / name}: " in caplog.text
    assert f"skipped {photos / 'flat.png'}: 500×63 is smaller than 64 pixels" in caplog.text
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    data[0], data[1]


def test_results_are_no_photographs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = pictures(tmp_path / "photos", 3)
    result = Metadata().onto(Image.open(folder / "0.png"))
    for name in ("drawn/0.png", "drawn/0.jpg", "drawn/0.tif"):
        (folder / name).parent.mkdir(exist_ok=True)
        write(result, folder / name, metadata=True)
    data = portraits([folder], [folder])
    assert (len(data.photos[0]), len(data.drawings[0])) == (3, 6), "a drawing may be anybody's"
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"skipped {folder / 'drawn' / name}: it is no photograph, the zoo made it"
        for name in ("0.jpg", "0.png", "0.tif")
    ]


def test_a_folder_with_nothing_usable_is_an_error(tmp_path: Path) -> None:
    photos, empty, bad = pictures(tmp_path / "photos", 2), tmp_path / "empty", tmp_path / "bad"
    empty.mkdir()
    bad.mkdir()
    (bad / "a.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"no usable picture in .*empty \(0 files looked at\)"):
        portraits([photos], [empty])
    with pytest.raises(UsageError, match=r"no usable picture in .*bad \(1 files looked at\)"):
        portraits([photos], [bad])
    for path in (tmp_path / "none", photos / "0.png"):
        with pytest.raises(NotFoundError, match="there is no folder"):
            portraits([path], [photos])


def test_kinds_of_pictures(tmp_path: Path) -> None:
    kinds = tmp_path / "kinds"
    kinds.mkdir()
    for mode in ("L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "1"):
        Image.new(mode, (70, 90)).save(kinds / f"{mode.replace(';', '')}.{'jpg' if mode == 'CMYK' else 'png'}")
    data = portraits([kinds], [kinds], **RICH)
    assert len(data.photos[0]) == 8
    for i in range(8):
        sample = data[i]
        for name in ("source", "target"):
            assert sample[name].shape == (3, 32, 32) and sample[name].abs().max() <= 1.001


@pytest.mark.parametrize("size", [(64, 64), (64, 300), (300, 64), (97, 71)])
def test_every_picture_covers_the_crop(tmp_path: Path, size: tuple[int, int]) -> None:
    folder = pictures(tmp_path / "photos", 1, size=size)
    data = portraits([folder], [folder], scale=1.25)
    data[0]
    (fitted,) = data.shelf.kept.values()
    assert fitted.dtype == torch.uint8 and min(fitted.shape[1:]) == 40
    assert fitted.shape[1] / fitted.shape[2] == pytest.approx(size[0] / size[1], rel=0.02)


def test_pictures_that_are_not_kept_are_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(tmp_path / "photos", 4, size=(80, 80))
    kept = portraits([folder], [folder], scale=1.25)
    monkeypatch.setattr("zoo.train.shelf.ROOM", 3 * 40 * 40)
    monkeypatch.setattr("zoo.train.shelf.RECENT", 1)
    rest = portraits([folder], [folder], scale=1.25)
    for i in range(8):
        assert all(torch.equal(kept[i][name], rest[i][name]) for name in kept[i])
    assert (len(kept.shelf.kept), len(rest.shelf.kept), len(rest.shelf.recent)) == (4, 1, 1)


# -- pairs --------------------------------------------------------------------------------------------------------------


def test_pairs_share_name_crop_mirror_and_turn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos, drawings = pictures(tmp_path / "photos", 5, 3), tmp_path / "drawings"
    drawings.mkdir()
    for name in ("3", "1", "4"):
        Image.open(photos / f"{name}.png").save(drawings / f"{name}.tif")  # the same picture: any difference shows
    pictures(tmp_path / "lone", 1)
    (tmp_path / "lone" / "0.png").rename(drawings / "lone.png")
    data = portraits([photos], [drawings], pairs=True, flip=True, scale=1.5, rotate=20)
    seen = set()
    for i in range(30):
        sample = data[i]
        assert torch.equal(sample["source"], sample["target"])
        seen.add(sample["source"].sum().item())
    assert len(seen) == 30 and len(data.photos[0]) == 3
    for name in ("0", "2", "lone"):
        assert f"skipped {name}: no partner in photos or drawings" in caplog.text
    unpaired = portraits([photos], [drawings], flip=True, scale=1.5)
    assert not all(torch.equal(unpaired[i]["source"], unpaired[i]["target"]) for i in range(6))


def test_pairs_lie_at_one_place_in_both_folders(tmp_path: Path) -> None:
    spelt = {"Zo\u00eb": "Zoe\u0308", "ben": "ben"}  # as Linux and as a Mac write it
    for (here, there), seed in zip(spelt.items(), (1, 2)):
        pictures(tmp_path / "photos" / here, 2, seed)
        pictures(tmp_path / "drawings" / there, 2, seed)
    data = portraits([tmp_path / "photos"], [tmp_path / "drawings"], pairs=True, flip=True, scale=1.5)
    assert len(data.photos[0]) == 4
    assert all(torch.equal(data[i]["source"], data[i]["target"]) for i in range(8))
    Image.new("RGB", (70, 70)).save(tmp_path / "drawings" / "ben" / "1.jpg")
    with pytest.raises(UsageError, match=r"ben/1\.jpg and .*ben/1\.png have one name"):
        portraits([tmp_path / "photos"], [tmp_path / "drawings"], pairs=True)


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    folder = tmp_path / "drawings"
    folder.mkdir()
    drawing = Image.new("RGBA", (80, 80), (0, 0, 0, 0))
    drawing.paste((20, 20, 20, 255), (30, 30, 50, 50))
    drawing.save(folder / "a.png")
    sample = portraits([folder], [folder])[0]["target"]
    assert float(sample[:, :8].min()) == 1 and float(sample.min()) < -0.8
    assert float(sample[:, 10:22, 10:22].mean()) < 0.2


def test_folders_that_cannot_be_paired(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    photos, drawings = folders
    with pytest.raises(UsageError, match="2 folders of photographs and 1 of drawings cannot be paired"):
        portraits([photos, photos], [drawings], pairs=True)
    other = pictures(tmp_path / "other", 1)
    (other / "0.png").rename(other / "zero.png")
    with pytest.raises(UsageError, match="no file name occurs both in photos and other"):
        portraits([photos], [other], pairs=True)


# -- the stream ---------------------------------------------------------------------------------------------------------


def test_a_sample_is_a_function_of_seed_and_index(folders: tuple[Path, Path]) -> None:
    photos, drawings = folders
    one, other = portraits([photos], [drawings], **RICH), portraits([photos], [drawings], **RICH)
    backwards = {i: other[i] for i in reversed(range(20))}
    torch.manual_seed(1)
    for i in range(20):
        state = torch.get_rng_state()
        sample = one[i]
        assert alike(sample, backwards[i]) and alike(sample, one[i])
        assert torch.equal(state, torch.get_rng_state())
    seeded = portraits([photos], [drawings], seed=1, **RICH)
    assert not any(torch.equal(seeded[i]["source"], one[i]["source"]) for i in range(20))
    assert len({int(one[i]["seed"]) for i in range(1000)}) == 1000


def test_each_picture_once_before_any_again(folders: tuple[Path, Path]) -> None:
    photos, drawings = folders
    data = portraits([photos], [drawings])
    orders = [[data._choose(data.photos, 4 * epoch + i, 1)[1] for i in range(4)] for epoch in range(12)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders) and len(set(map(tuple, orders))) > 4
    assert data.epoch == 4


def test_folders_take_turns(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    photos, drawings = folders
    many = pictures(tmp_path / "many", 9, 5)
    data = portraits([photos, many], [drawings, many])
    assert [data._choose(data.photos, i, 1)[0] for i in range(6)] == [0, 1] * 3
    assert [int(data[i]["hand"]) for i in range(6)] == [0, 1] * 3
    assert sorted(data._choose(data.photos, i, 1)[1] for i in range(1, 18, 2)) == list(range(9))
    assert data.epoch == 18
    pairs = portraits([photos, many], [drawings, many], pairs=True)
    assert len(pairs.photos[0]) == 3 and [int(pairs[i]["hand"]) for i in range(4)] == [0, 1, 0, 1]


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_workers_give_the_same_stream(folders: tuple[Path, Path], workers: int) -> None:
    data = portraits([folders[0]], [folders[1]], **RICH)
    share = Share(5, 11, batch=2, rank=0, processes=1)
    here, there = DataLoader(data, batch_sampler=share), DataLoader(data, batch_sampler=share, num_workers=workers)
    assert all(alike(one, other) for one, other in zip(here, there, strict=True))


@pytest.mark.parametrize(("batch", "processes"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_processes_share_every_global_batch(batch: int, processes: int) -> None:
    shares = [list(Share(4, 7, batch, rank, processes)) for rank in range(processes)]
    together = [index for step in zip(*shares) for part in step for index in part]
    first = 4 * batch * processes
    assert together == list(range(first, first + 3 * batch * processes))
    assert len(Share(4, 7, batch, 0, processes)) == 3


def test_previews_are_always_the_same(folders: tuple[Path, Path]) -> None:
    data = portraits([folders[0]], [folders[1]], **RICH)
    batch = data.preview(6)
    assert alike(batch, data.preview(6)) and batch["source"].shape == (6, 3, 32, 32)
    assert data.data.augment.colour == 0.8


# -- augmentation -------------------------------------------------------------------------------------------------------


def test_frame_crops_mirrors_and_turns_within_bounds() -> None:
    rows = torch.arange(40.0)[None, :, None].expand(3, 40, 50)
    columns = torch.arange(50.0)[None, None, :].expand(3, 40, 50)
    tops, lefts, mirrored = set(), set(), 0
    for seed in range(300):
        y, x = frame([rows, columns], (32, 32), Augment(flip=True), rng(seed))
        assert y.shape == (3, 32, 32)
        tops.add(int(y.min()))
        lefts.add(int(x.min()))
        mirrored += bool(x[0, 0, 0] > x[0, 0, 1])
    assert tops == set(range(9)) and lefts == set(range(19)) and 110 < mirrored < 190
    [still] = frame([columns], (40, 50), Augment(flip=False), rng())
    assert torch.equal(still, columns)
    [turned] = frame([columns + 1], (40, 50), Augment(flip=False, rotate=45), rng())
    assert turned.min() >= 1 and not torch.equal(turned, columns + 1)  # no corner is black


def test_frame_takes_no_place_where_nothing_is_seen() -> None:
    photo, drawing = torch.ones(3, 96, 96), torch.ones(3, 96, 96)
    photo[:, 36:70, 30:62], drawing[:, 40:66, 34:58] = -1, 0
    for seed in range(40):
        for framed in (
            frame([photo, drawing], (32, 32), Augment(), rng(seed)),
            frame([drawing], (32, 32), Augment(), rng(seed)),
        ):
            assert all(picture.std() > 0.05 for picture in framed)
    [blank] = frame([torch.ones(3, 96, 96)], (32, 32), Augment(), rng())
    assert blank.shape == (3, 32, 32), "where nothing is to be seen at all, that is what is seen"


def test_recolour_keeps_the_range_and_grey_grey() -> None:
    photo = torch.rand(3, 16, 16, generator=rng()) * 2 - 1
    grey = photo[:1].expand(3, -1, -1)
    for seed in range(20):
        other = recolour(photo, 1.0, rng(seed))
        assert other.abs().max() <= 1 and not torch.allclose(other, photo, atol=1e-2)
        assert float((recolour(grey, 1.0, rng(seed)).amax(0) - recolour(grey, 1.0, rng(seed)).amin(0)).max()) < 1e-5
    assert torch.allclose(recolour(photo, 0.0, rng()), photo, atol=1e-5)


def test_other_light_leaves_black_and_white_and_falls_from_one_side() -> None:
    photo = torch.zeros(3, 40, 30)
    photo[:, :10], photo[:, 10:20] = -1, 1
    uneven = set()
    for seed in range(40):
        lit = relight(photo, 1.0, rng(seed))
        assert torch.equal(lit[:, :20], photo[:, :20]) and lit.abs().max() <= 1
        grey = lit[0, 20:]
        uneven |= {
            edge
            for edge, far in (("left", grey[:, 0] - grey[:, -1]), ("top", grey[0] - grey[-1]))
            if far.abs().mean() > 0.3
        }
    assert uneven == {"left", "top"}
    assert torch.allclose(relight(photo, 0.0, rng()), photo, atol=1e-6)


def test_colours_stay_in_other_light() -> None:
    photo = torch.tensor([0.2, 0.1, 0.0])[:, None, None].expand(3, 24, 24)
    lit = (relight(photo, 0.5, rng(3)) + 1) / 2
    assert lit.std() > 0.01 and torch.allclose(lit[0] / lit[2], torch.tensor(1.2), atol=1e-4)


def test_sitters_get_skin_of_every_darkness_and_lighter_eyes() -> None:
    photo = torch.full((3, 30, 30), 0.2)
    skin, eyes = torch.zeros(1, 30, 30), torch.zeros(1, 30, 30)
    skin[:, :10], eyes[:, 10:20] = 1, 1
    levels, irises = [], []
    for seed in range(60):
        other = other_sitter(photo, skin, eyes, 1.0, rng(seed))
        assert torch.allclose(other[:, 20:], photo[:, 20:]), "what is neither stays"
        levels.append((float(other[0, 0, 0]) + 1) / 2)
        irises.append(float(other[0, 15, 0]))
    assert min(levels) < 0.2 and max(levels) > 0.7 and 0.35 < sum(levels) / 60 < 0.55
    assert min(irises) >= 0.2 and max(irises) > 0.4
    nobody = torch.zeros(1, 30, 30)
    assert torch.equal(other_sitter(photo, nobody, nobody, 1.0, rng()), photo)


def head(ground: Tensor) -> tuple[Tensor, Tensor]:
    """A dark head and shoulders before ``ground`` (3,64,48), and where they are."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    person = ((x - 24) ** 2 / 100 + (y - 26) ** 2 / 196 < 1) | ((y > 44) & ((x - 24).abs() < 18))
    return torch.where(person, torch.tensor(-0.7), ground), person


def test_a_plain_backdrop_is_found() -> None:
    noise = 0.05 * torch.randn(3, 64, 48, generator=rng())
    for level in (0.9, 0.2, -0.1):
        photo, person = head(level + noise)
        mask = backdrop(photo)
        assert mask.shape == (1, 64, 48) and set(mask.unique().tolist()) == {0.0, 1.0}
        assert float((mask[0].bool() == ~person).float().mean()) > 0.98
    ground = torch.linspace(0.5, 0.8, 48).expand(3, 64, 48)  # light from one side
    photo, person = head(ground)
    assert float((backdrop(photo)[0].bool() == ~person).float().mean()) > 0.98


def test_a_hole_is_no_backdrop() -> None:
    photo, _ = head(torch.full((3, 64, 48), 0.8))
    photo[:, 22:28, 22:26] = 0.8  # as light as the backdrop, but inside the face
    assert not backdrop(photo)[0, 22:28, 22:26].any()


def test_a_busy_backdrop_is_left_alone() -> None:
    photo, _ = head(torch.rand(3, 64, 48, generator=rng()) * 2 - 1)
    assert not backdrop(photo).any()


def test_another_backdrop_leaves_the_person() -> None:
    photo, person = head(torch.full((3, 64, 48), 0.8))
    mask = backdrop(photo)
    core = torch.nn.functional.max_pool2d(mask, 7, 1, 3)[0] == 0  # three pixels away from the backdrop
    assert person[core].all() and core.sum() > 200
    grounds = set()
    for seed in range(10):
        changed = new_backdrop(photo, mask, rng(seed))
        assert torch.allclose(changed[:, core], photo[:, core])
        assert changed.abs().max() <= 1
        grounds.add(float(changed[:, 0].mean()))
    assert len(grounds) == 10
    assert torch.equal(new_backdrop(photo, torch.zeros_like(mask), rng()), photo)


def test_the_backdrop_is_looked_for_once(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("zoo.train.data.backdrop", lambda photo: calls.append(1) or backdrop(photo))
    data = portraits([folders[0]], [folders[1]], background=1.0)
    for i in range(12):
        data[i]
    assert len(calls) == 4
