"""``zoo mouth-painter``: trains the network that knows what is in a mouth (`zoo_expression.inside`) on photographs of faces.

Mouths that are open are cut out; all of the inside, or what is below a line in it, is hidden and to be painted. Losses are those of
inpainting: absolute difference of colours, of VGG-19's features (Johnson et al. 2016), and a discriminator of patches with the
hinge loss (Isola et al. 2017; Lim and Ye 2017), or teeth would be a blur.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from zoo import faces
from zoo.blocks.vgg import VGG19
from zoo.errors import ImageError, NotFoundError, UsageError
from zoo.faces.geometry import resampled
from zoo.helpers.inputs import Inputs
from zoo.machine.device import pick_device
from zoo.pictures.image import find_pictures, read
from zoo.progress import tell
from zoo.weights.file import save_weights
from zoo.weights.networks import find as find_network
from zoo_expression.edges import LIPS, Opening
from zoo_expression.inside import EYES, HEIGHT, WIDTH, MouthPainter, place, widened
from zoo_expression.motion import distance

OPEN = 0.08
"""How far lips are apart, from eye to eye, in the mouths that are learned from."""

SHARP = 28.0
"""Pixels from eye to eye below which teeth are a blur."""

RIM = (2, 5)
"""Pixels around the inside of a mouth that are hidden as well, at least and at most: landmarks are not exact, and a rim of teeth would
tell what was hidden, which it does not where a mouth was shut."""

TURNED = 0.6
BATCH, RATE = 8, 4e-4
LAYERS = ("conv1_2", "conv2_2", "conv3_1")
FEATURES, REAL = 0.3, 0.05
"""Weights of differences of features, and of the discriminator, which begins after BLURRED of the steps."""

BLURRED = 0.3


class Patches(nn.Sequential):
    """Mouths, and where they are open (N,4,HEIGHT,WIDTH) -> how real their patches are, (N,1,h,w)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__(
            *(
                layer
                for before, after, stride in ((4, width, 2), (width, 2 * width, 2), (2 * width, 4 * width, 1))
                for layer in (
                    spectral_norm(nn.Conv2d(before, after, 4, stride, 1)),
                    nn.LeakyReLU(0.2, inplace=True),
                )
            ),
            spectral_norm(nn.Conv2d(4 * width, 1, 3, padding=1)),
        )


def mouth_painter(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTOS…", help="Folders of photographs with faces.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The network, .safetensors.")],
    steps: Annotated[int, typer.Option(min=1, help=f"Of {BATCH} mouths each.")] = 3000,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal networks.")] = 0,
    vgg: Annotated[Path | None, typer.Option(help="VGG-19's weights; else those of the card vgg19.")] = None,
    bf16: Annotated[bool, typer.Option("--bf16", help="Train faster, in shorter numbers.")] = False,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; else the best there is.")] = None,
) -> dict[str, Any]:
    """Train the network that paints teeth where models of expressions open a mouth.

    Of each photograph the largest face is taken, if it is seen from the front with its mouth open.

    Example: zoo mouth-painter photos --out mouth.safetensors
    """
    if out.suffix != ".safetensors":
        raise UsageError(f"{out} does not end in .safetensors", "weights files do")
    Inputs().ready(out)
    for path in photos:
        if not path.exists():
            raise NotFoundError(f"there is no folder {path}", "give folders of photographs")
    features = VGG19(find_network("vgg", vgg, "--vgg"), max(LAYERS))
    paths = find_pictures(photos)
    known, eyes, lost = mouths(paths)
    if len(known) < BATCH:
        raise UsageError(
            f"{len(known)} of {len(paths)} photographs show a face with an open mouth",
            f"at least {BATCH} are needed, and some thousands for teeth that look like some",
        )
    network = train(known, eyes, features, steps, seed, pick_device(device), bf16)
    facts = {"what": "mouth-painter", "trained": {"mouths": len(known), "steps": steps, "batch": BATCH, "seed": seed}}
    save_weights(out, network.state_dict(), {}, facts=facts, bits=16, replace=False)
    told = [*lost, f"{len(known)} open mouths of {len(paths)} photographs, {steps} steps: {out}"]
    return {**facts, "out": str(out), "lines": told, "failed": f"{len(lost)} pictures were left out" if lost else ""}


def mouths(paths: Sequence[Path]) -> tuple[Tensor, Tensor, list[str]]:
    """The open mouths of photographs, (N,4,HEIGHT,WIDTH) bytes: colours, and where they are open; how many pixels these people had from
    eye to eye (N,); and a line on each picture that cannot be read."""
    found, eyes, lost = [torch.empty(0, 4, HEIGHT, WIDTH, dtype=torch.uint8)], [torch.empty(0)], []
    for number, path in enumerate(paths):
        tell("looking for open mouths", number, len(paths))
        try:
            image = read(path).on_white().rgb
        except (ImageError, NotFoundError) as error:
            lost.append(f"left out: {path}: {error}")
            continue
        if (face := next(iter(faces.find(image)), None)) is not None and face.turned < TURNED:
            crop = faces.crop(image, face, max(64, round(face.height * faces.FACE.scale)))
            if (mouth := cut_out(crop.image, crop.landmarks)) is not None:
                found.append(mouth[None])
                eyes.append(apart(crop.landmarks)[None])
    tell("looking for open mouths", len(paths), len(paths))
    return torch.cat(found), torch.cat(eyes), lost


def apart(points: Tensor) -> Tensor:
    """Pixels from eye to eye of landmarks (68,2), at most EYES: what is finer than a mouth that is cut out is not seen."""
    return distance(points).float().clamp(max=EYES)


def cut_out(image: Tensor, points: Tensor) -> Tensor | None:
    """The mouth of a face (3,S,S) with landmarks (68,2), (4,HEIGHT,WIDTH) bytes, None if it is shut or too small."""
    eyes = apart(points)
    if eyes < SHARP or points[66, 1] - points[62, 1] < OPEN * eyes:
        return None
    matrix = place(points)
    colours = resampled(image, matrix, (HEIGHT, WIDTH)).clamp(-1, 1)
    at = torch.arange(max(HEIGHT, WIDTH)) + 0.5
    there = ((points.double() - matrix[:, 2]) / matrix[0, 0]).float()
    inside = Opening.of(there, LIPS, at).mask(at, 1.0)[:HEIGHT, :WIDTH]
    return torch.cat([(colours + 1) * 127.5, 255 * inside[None]]).round().byte()


def hide(inside: Tensor, dice: torch.Generator) -> Tensor:
    """What of mouths, open where ``inside`` (N,1,HEIGHT,WIDTH) says, is to be painted: all, or for some what lies below a line; and a
    rim of lips."""
    rows = torch.arange(inside.shape[2], dtype=torch.float32)[:, None].expand(inside.shape[2:])
    hidden = []
    for one in inside[:, 0]:
        deep, some, wide = torch.rand(3, generator=dice).tolist()
        there = rows[one > 0.5]
        line = float(there.quantile(0.8 * deep)) if some < 0.3 and len(there) else 0.0
        around = widened(one[None], RIM[0] + round(wide * (RIM[1] - RIM[0])))[0]
        hidden.append(around * (rows - line + 1).clamp(0, 1))
    return torch.stack(hidden)[:, None]


def train(
    known: Tensor, eyes: Tensor, vgg: VGG19, steps: int, seed: int, device: torch.device, bf16: bool = False
) -> MouthPainter:
    """A painter that has seen ``steps`` batches of ``known`` mouths, see `mouths`. The caller's random numbers stay as they are."""
    dice = torch.Generator().manual_seed(seed)
    vgg = vgg.to(device)
    # sharp teeth and mouths wide open are rare, and more is to be learned of them
    often = eyes**3 * known[:, 3].float().sum(1).amax(1)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network, judge = MouthPainter().to(device), Patches().to(device)
    learned = torch.optim.Adam(network.parameters(), RATE, (0.5, 0.99))
    judged = torch.optim.Adam(judge.parameters(), RATE, (0.0, 0.99))
    for step in range(steps):
        tell("training the painter", step, steps)
        for optimiser in (learned, judged):
            optimiser.param_groups[0]["lr"] = RATE * min(1.0, 2 * (1 - step / steps))
        batch = known[torch.multinomial(often, BATCH, generator=dice)].to(device).float()
        batch = torch.where(torch.rand(BATCH, 1, 1, 1, generator=dice).to(device) < 0.5, batch, batch.flip(3))
        real, inside = batch[:, :3] / 127.5 - 1, batch[:, 3:] / 255
        real = (real + 0.2 * torch.rand(BATCH, 1, 1, 1, generator=dice).to(device) - 0.1).clamp(-1, 1)
        hidden = hide(inside.cpu(), dice).to(device)
        with torch.autocast(device.type, torch.bfloat16, bf16):
            made = network(real, hidden, inside)
            loss = (made - real).abs().sum() / hidden.sum().clamp(min=1) / 3
            seen, wanted = (vgg(pictures[..., 16:, 8:-8], LAYERS) for pictures in (made, real))  # all lips lie there
            loss = loss + FEATURES * sum(F.l1_loss(one.float(), other.float()) for one, other in zip(seen, wanted)) * (
                hidden.numel() / hidden.sum().clamp(min=1)
            )
            if step >= BLURRED * steps:
                loss = loss - REAL * judge(torch.cat([made, inside], 1)).float().mean()
        learned.zero_grad()
        loss.backward()
        learned.step()
        if step >= BLURRED * steps:
            with torch.autocast(device.type, torch.bfloat16, bf16):
                pair = judge(torch.cat([torch.cat([real, made.detach()]), torch.cat([inside, inside])], 1)).float()
            good, bad = pair.chunk(2)
            judged.zero_grad()
            (F.relu(1 - good).mean() + F.relu(1 + bad).mean()).backward()
            judged.step()
    tell("training the painter", steps, steps)
    return network.eval().requires_grad_(False)
