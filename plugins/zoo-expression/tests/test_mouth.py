"""What is in a mouth that opens: learned from open mouths, painted into faces whose lips part."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from moving import sample_head
from PIL import Image, ImageOps
from torch import Tensor

from zoo import faces
from zoo.blocks.vgg import VGG19
from zoo.errors import ExistsError, NotFoundError, UsageError
from zoo.pictures.image import read
from zoo.weights.file import load_weights, read_header, save_weights
from zoo_expression import inside, mouths
from zoo_expression.edges import LIPS, Opening
from zoo_expression.inside import HEIGHT, WIDTH, MouthPainter
from zoo_expression.motion import Motion, distance
from zoo_expression.openings import LOWER_LIP, moved


@pytest.fixture(scope="module")
def laughing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A woman who laughs, eight times, nobody, and what is no picture."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    folder.mkdir()
    head = sample_head()
    for i in range(4):
        turned = head.rotate(4 * i, Image.Resampling.BICUBIC)
        turned.save(folder / f"{i}.png")
        ImageOps.mirror(turned).save(folder / f"{i}-mirrored.png")
    Image.new("RGB", (96, 96), "grey").save(folder / "nobody.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "vgg.safetensors"
    torch.manual_seed(0)
    save_weights(path, VGG19(last=max(mouths.LAYERS)).state_dict(), {}, bits=32)
    return path


def shut() -> tuple[Tensor, Tensor]:
    """The sample's face (3,256,256), cut out with its mouth shut, and its landmarks then."""
    picture = read(sample_head()).rgb
    crop = faces.crop(picture, faces.find(picture)[0], 256)
    motion, own, rest = Motion(), torch.full((2, 17), 1.0), torch.zeros(2, 17)
    with torch.inference_mode():
        image = motion(crop.image, crop.landmarks, own, rest)["image"].clamp(-1, 1)
        points = crop.landmarks + motion.shifts(crop.landmarks.double(), own.double(), rest.double()).float()
    return image, points


def test_a_painter_is_trained_on_open_mouths(laughing: Path, vgg: Path, tmp_path: Path) -> None:
    out = tmp_path / "mouth.safetensors"
    told = mouths.mouth_painter([laughing], out, steps=2, seed=3, vgg=vgg, device="cpu")
    assert told["trained"]["mouths"] == 8 and told["failed"] == "1 pictures were left out"
    assert "broken.jpg" in told["lines"][0]
    assert read_header(out).facts["what"] == "mouth-painter"
    load_weights(out, MouthPainter())
    again = tmp_path / "again.safetensors"
    mouths.mouth_painter([laughing], again, steps=2, seed=3, vgg=vgg, device="cpu")
    assert again.read_bytes() == out.read_bytes()
    with pytest.raises(ExistsError):
        mouths.mouth_painter([laughing], out, steps=2, vgg=vgg, device="cpu")


def test_too_few_mouths_and_a_wrong_name_are_said_before_anything_is_trained(
    laughing: Path, vgg: Path, tmp_path: Path
) -> None:
    (tmp_path / "few").mkdir()
    shutil.copy(laughing / "0.png", tmp_path / "few")
    with pytest.raises(UsageError, match="1 of 1 photographs show a face with an open mouth"):
        mouths.mouth_painter([tmp_path / "few"], tmp_path / "mouth.safetensors", steps=2, vgg=vgg)
    with pytest.raises(UsageError, match=r"does not end in \.safetensors"):
        mouths.mouth_painter([laughing], tmp_path / "mouth.pt", steps=2, vgg=vgg)
    with pytest.raises(NotFoundError, match="there is no folder"):
        mouths.mouth_painter([laughing, tmp_path / "nowhere"], tmp_path / "mouth.safetensors", steps=2, vgg=vgg)
    assert [path.name for path in tmp_path.iterdir()] == ["few"]


def test_what_is_hidden_is_the_inside_and_a_rim_or_what_lies_below_a_line() -> None:
    inside_ = torch.zeros(64, 1, HEIGHT, WIDTH)
    inside_[:, :, 30:50, 30:66] = 1
    hidden = mouths.hide(inside_, torch.Generator().manual_seed(0))
    assert torch.equal(hidden, mouths.hide(inside_, torch.Generator().manual_seed(0)))
    low, high = inside.widened(inside_, mouths.RIM[0]), inside.widened(inside_, mouths.RIM[1])
    assert (hidden <= high).all()
    whole = (hidden >= low).flatten(1).all(1)
    assert 0.5 < whole.float().mean() < 0.9
    assert (hidden[~whole, :, 49, 30:66] == 1).all() and (hidden[~whole].sum((1, 2, 3)) > 0).all()


def test_what_is_known_stays_and_what_is_hidden_is_no_part_of_the_result() -> None:
    torch.manual_seed(0)
    network = MouthPainter().eval()
    mouth, hidden = torch.rand(1, 3, HEIGHT, WIDTH), torch.zeros(1, 1, HEIGHT, WIDTH)
    hidden[..., 30:50, 30:66] = 1
    with torch.inference_mode():
        made = network(mouth, hidden, hidden)
        other = network(torch.where(hidden > 0, -mouth, mouth), hidden, hidden)
    assert torch.equal(made, other)
    assert torch.equal(made * (1 - hidden), mouth * (1 - hidden)) and made.abs().max() <= 1


@pytest.mark.parametrize("scale", [1.0, 2.3])
def test_who_smiles_shows_teeth_and_whose_jaw_drops_the_dark(scale: float) -> None:
    image, points = shut()
    size = round(256 * scale)
    larger = torch.nn.functional.interpolate(image[None], (size, size), mode="bicubic", antialias=True)[0]
    known = points * (size / 256)
    eyes = float(distance(known))
    assert known[66, 1] - known[62, 1] < 0.03 * eyes

    def opened(wider: float, higher: float, lower: float) -> Tensor:
        """What is in the mouth (3,n) whose corners go apart and up, and whose lower lip goes down."""
        there = known.clone()
        there[[48, 60], 0] -= wider * eyes
        there[[54, 64], 0] += wider * eyes
        there[[48, 60, 54, 64], 1] -= higher * eyes
        there[[*LOWER_LIP, *range(6, 11)], 1] += lower * eyes
        with torch.inference_mode():
            made = moved(larger, known, there)
        lips = Opening.of(there, LIPS, torch.arange(size) + 0.5)
        inside_ = lips.mask(torch.arange(size) + 0.5, 4 * scale) > 0.9
        assert made["image"].isfinite().all() and inside_.sum() > 50 * scale**2
        top = int(there[48:, 1].min() - 0.2 * eyes)
        assert made["paint"].any() and not made["paint"][:, :top].any()  # only a mouth is painted
        return (made["image"][:, inside_] + 1) / 2

    smile, drop = opened(0.1, 0.06, 0.22), opened(-0.1, -0.2, 0.5)
    assert smile.mean(0).quantile(0.8) > 0.5 > 0.35 > drop.mean(0).median()
    assert opened(0.06, 0.035, 0.15).mean(0).median() > 0.4  # also on the way to it
    teeth = smile[:, smile.mean(0) > smile.mean(0).quantile(0.8)].mean(1)
    assert teeth.max() - teeth.min() < 0.2  # nearly white
