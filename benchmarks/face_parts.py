"""Trains the network of `zoo.faces.parsing`, whose weights the core ships as `face-parts`, and measures it.

    python benchmarks/face_parts.py --faces FOLDER --plain FOLDER --grounds FOLDER --out face-parts.safetensors
    python benchmarks/face_parts.py --faces FOLDER      # only measures what is shipped

FACES/images and FACES/masks: faces of CelebA-HQ at 256×256 and people's masks of their parts (CelebAMask-HQ's 19 values).
PLAIN: portraits in front of a blue wall, where what is no wall is a person, of whatever parts. GROUNDS: pictures of anything,
which are put behind them. Every thirteenth face is kept out, and is what is measured: intersection over union.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zoo.faces.parsing import FRAME, PARTS, SIDE, FaceParser
from zoo.faces.parsing import network as shipped
from zoo.train.augment import backdrop
from zoo.weights.file import save_weights

NAMES = {
    "skin": [1], "nose": [2], "glasses": [3], "eyes": [4, 5], "brows": [6, 7], "mouth": [10, 11, 12], "ears": [8, 9, 15],
    "hair": [13], "hat": [14], "neck": [16, 17], "clothes": [18],
}  # fmt: skip
"""The masks' values. Left and right are one: landmarks tell them apart."""

WEIGHTS = {"nose": 1.5, "glasses": 2.0, "eyes": 3.0, "brows": 2.5, "mouth": 2.0, "ears": 1.5, "hat": 1.5}
"""Of what is small or rare, in the cross entropy."""

PERSON = 255  # in a mask: no background, but it is not known what
SEEN, MIDDLE = (1.87, 2.35), (0.66, 0.56)  # the frames in which faces lie in FACES and in PLAIN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    for name in ("plain", "grounds", "out"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    faces = [face(path, options.faces / "masks" / f"{path.stem}.png") for path in files(options.faces / "images")]
    if options.out:
        network = trained(options, [one for i, one in enumerate(faces) if i % 13])
        save_weights(options.out, network.state_dict(), {}, facts={"what": "face-parts"})
    else:
        network = shipped()
    for part, value in measure(network, faces[::13]).items():
        sys.stdout.write(f"{part:12} {value:.4f}\n")
    sys.stdout.write(f"{len(faces[::13])} faces kept out\n")


def trained(options: argparse.Namespace, faces: Sequence[tuple[Tensor, Tensor]]) -> FaceParser:
    chance = Chance(
        faces,
        [plain(path) for path in files(options.plain)],
        [picture(path, 288) for path in files(options.grounds)],
        np.random.default_rng(options.seed),
    )
    began = time.monotonic()
    network = train(chance, options.steps, options.batch)
    sys.stdout.write(f"{options.steps} steps in {(time.monotonic() - began) / 3600:.2f} hours\n")
    return network


def train(chance: Chance, steps: int, batch: int) -> FaceParser:
    """The mean of the networks on the way, each the less the longer ago."""
    network, mean = FaceParser(), FaceParser()
    mean.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    weight = torch.tensor([WEIGHTS.get(part, 1.0) for part in PARTS])
    for step in range(steps):
        images, masks, inside = (torch.stack(some) for some in zip(*(chance.sample() for _ in range(batch))))
        logits, known = network(images), masks != PERSON
        named = F.cross_entropy(logits, torch.where(known, masks, 0), weight, reduction="none")
        ground = F.log_softmax(logits, 1)[:, 0].exp()
        loss = torch.where(known, named, -(1 - ground).clamp(min=1e-4).log())
        loss = (loss * inside).sum() / inside.sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        decay = min(0.99, (1 + step) / (10 + step))
        for kept, now in zip(mean.state_dict().values(), network.state_dict().values()):
            kept.lerp_(now, 1 - decay) if kept.is_floating_point() else kept.copy_(now)
        if (step + 1) % 100 == 0:
            sys.stderr.write(f"step {step + 1}: {loss.item():.3f}\n")
    return mean.eval()


class Chance:
    """Faces moved, turned, recoloured, and put in front of something else."""

    def __init__(
        self,
        faces: Sequence[tuple[Tensor, Tensor]],
        plain: Sequence[tuple[Tensor, Tensor]],
        grounds: Sequence[Tensor],
        rng: np.random.Generator,
    ) -> None:
        self.faces, self.plain, self.grounds, self.rng = faces, plain, grounds, rng

    def sample(self) -> tuple[Tensor, Tensor, Tensor]:
        """A picture (3,S,S) in [-1,1], its mask (S,S), and where both are of the photograph."""
        rng = self.rng
        whole = int(rng.random() < 0.2)
        among = (self.faces, self.plain)[whole]
        image, mask = among[rng.integers(len(among))]
        scale = math.exp(rng.normal(math.log(2.15), 0.13)) / SEEN[whole]
        at = moved(scale, rng.normal(0, 0.12), MIDDLE[whole], rng.normal(0, 0.07, 2), mirrored=rng.random() < 0.5)
        image, mask, inside = seen(image, mask, at, scale)
        if rng.random() < (0.45, 0.75)[whole]:
            person = F.avg_pool2d((mask != 0).float()[None, None], 3, 1, 1, count_include_pad=False)
            image = torch.lerp(self.ground(), image, (person - (0.0, 0.15)[whole]).clamp(0, 1)[0])
        return self.recoloured(image), mask, inside.float()

    def ground(self) -> Tensor:
        kind = self.rng.random()
        if kind < 0.4:  # a colour, or from one to another
            cells = torch.rand(1, 3, 1, 1) if kind < 0.25 else torch.rand(1, 3, 2, 2)
            return F.interpolate(cells, (SIDE, SIDE), mode="bilinear")[0]
        picture = self.grounds[self.rng.integers(len(self.grounds))]
        side = int(self.rng.integers(60, 289))
        top, left = self.rng.integers(0, 289 - side, 2)
        part = picture[None, :, top : top + side, left : left + side].float() / 255
        part = F.interpolate(part, (SIDE, SIDE), mode="bilinear", antialias=True)
        return (F.avg_pool2d(part, 7, 1, 3, count_include_pad=False) if self.rng.random() < 0.5 else part)[0]

    def recoloured(self, image: Tensor) -> Tensor:
        rng = self.rng
        image = image.clamp(0.002, 1) ** math.exp(rng.normal(0, 0.3))
        image = image * (1 + 0.12 * torch.randn(3, 1, 1)) * math.exp(rng.normal(0, 0.15)) + 0.04 * torch.randn(3, 1, 1)
        if rng.random() < 0.12:
            image = image.mean(0, keepdim=True).expand(3, -1, -1)
        if rng.random() < 0.2:
            image = F.avg_pool2d(image[None], 3, 1, 1, count_include_pad=False)[0]
        if rng.random() < 0.3:
            image = image + 0.04 * rng.random() * torch.randn_like(image)
        return image.clamp(0, 1) * 2 - 1


def moved(scale: float, angle: float, middle: float, shift: Sequence[float], mirrored: bool) -> Tensor:
    """(2,3): where in a picture, from -1 to 1, that lies which a square shows in which the face is in `FRAME`."""
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = torch.tensor([[-cos, -sin], [-sin, cos]] if mirrored else [[cos, -sin], [sin, cos]])
    origin = torch.tensor([shift[0], 2 * middle - 1 + shift[1]]).float()
    return torch.cat([linear, (origin - linear[:, 1] * (2 * FRAME.middle - 1))[:, None]], 1)


def seen(image: Tensor, mask: Tensor, at: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    grid = F.affine_grid(at[None], [1, 3, SIDE, SIDE], align_corners=False)
    colours = image[None].float() / 255
    if scale * 2 > 1:
        colours = F.interpolate(colours, scale_factor=min(1, 1 / (2 * scale)), mode="bilinear", antialias=True)
    colours = F.grid_sample(colours, grid, padding_mode="border", align_corners=False)[0]
    parts = F.grid_sample(mask[None, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    return colours, parts[0, 0].long(), (grid[0].abs() <= 1).all(-1)


@torch.no_grad()
def measure(network: FaceParser, faces: Sequence[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Intersection over union of each part, and of all that is no background, in squares as `zoo.faces` cuts them."""
    same, either = torch.zeros(len(PARTS) + 1), torch.zeros(len(PARTS) + 1)
    scale = FRAME.scale / SEEN[0]
    for image, mask in faces:
        colours, wanted, _ = seen(image, mask, moved(scale, 0, MIDDLE[0], (0, 0), mirrored=False), scale)
        found = network(colours[None] * 2 - 1)[0].argmax(0)
        for number in range(len(PARTS)):
            same[number] += ((found == number) & (wanted == number)).sum()
            either[number] += ((found == number) | (wanted == number)).sum()
        same[-1] += ((found != 0) & (wanted != 0)).sum()
        either[-1] += ((found != 0) | (wanted != 0)).sum()
    return dict(zip((*PARTS, "person"), (same / either.clamp(min=1)).tolist()))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))


def picture(path: Path, side: int) -> Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.asarray(image.convert("RGB").resize((side, side))).copy()).permute(2, 0, 1)


def face(path: Path, mask: Path) -> tuple[Tensor, Tensor]:
    """A face (3,256,256) and its mask of numbers in `PARTS`."""
    number = np.zeros(256, np.uint8)
    for part, values in NAMES.items():
        number[values] = PARTS.index(part)
    with Image.open(mask) as parts:
        return picture(path, 256), torch.from_numpy(number[np.asarray(parts)])


def plain(path: Path) -> tuple[Tensor, Tensor]:
    """A portrait in front of a blue wall (3,256,256), and its mask: 0 the wall, `PERSON` what stands before it."""
    with Image.open(path) as image:
        image = image.convert("RGB")
        image = image.resize((round(256 * image.width / image.height), 256))
        photo = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
    mask = PERSON * (1 - backdrop(photo.float() / 127.5 - 1)[0]).byte()
    side = (256 - photo.shape[2]) // 2, 256 - photo.shape[2] - (256 - photo.shape[2]) // 2
    padded = [F.pad(x[None].float(), (*side, 0, 0), mode="replicate")[0].byte() for x in (photo, mask[None])]
    return padded[0], padded[1][0]


if __name__ == "__main__":
    main()
