"""The generator of the paper."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from zoo.blocks.residual import ResidualBlock
from zoo.generator import Generator, SizeRule


class DrawingGenerator(Generator):
    """Image (N,3,H,W) in [-1,1], strength (N,) in [0,1] -> image of the same form.

    ``block(channels)`` makes each of the ``blocks``: any block of the zoo fits. ``strength`` mixes photograph and drawing.
    """

    size = SizeRule(multiple_of=2, minimum=8)
    makes = frozenset({"features"})

    def __init__(self, width: int = 32, blocks: int = 4, block: Callable[[int], nn.Module] = ResidualBlock) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(3, width, 7, padding=3, padding_mode="reflect"),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),  # (N,2w,H/2,W/2)
            nn.InstanceNorm2d(2 * width),
            nn.ReLU(),
        )
        self.body = nn.Sequential(*(block(2 * width) for _ in range(blocks)))
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2),  # (N,2w,H,W)
            nn.Conv2d(2 * width, 3, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )

    def parts(self, image: Tensor, strength: Tensor | None = None) -> dict[str, Tensor]:
        features = self.body(self.down(image))
        drawing = self.up(features)
        if strength is not None:
            drawing = image + strength[:, None, None, None] * (drawing - image)
        return {"image": drawing, "features": features}
