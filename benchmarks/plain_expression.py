"""GANimation the plain way: eager, fp32, torch's own layers, a training step as in the published code.

The state dicts are those of the plugin's networks, so that both sides have the same weights.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=False), nn.InstanceNorm2d(channels), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=False), nn.InstanceNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class ConvNeXt(nn.Module):
    def __init__(self, channels: int, widen: int = 2) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, widen * channels)
        self.narrow = nn.Linear(widen * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.narrow(F.gelu(self.widen(y))).permute(0, 3, 1, 2)


class Modulation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)
        self.condition = nn.Linear(17, 2 * channels)

    def forward(self, x: Tensor, units: Tensor) -> Tensor:
        scale, shift = self.condition(10 * units)[:, :, None, None].chunk(2, dim=1)
        return F.relu((1 + scale) * self.norm(x) + shift)


class Generator(nn.Module):
    def __init__(self, block: type[nn.Module], width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 7, padding=3, bias=False)
        self.down = nn.ModuleList(nn.Conv2d(width * i, 2 * width * i, 4, 2, 1, bias=False) for i in (1, 2))
        self.body = nn.Sequential(*(block(4 * width) for _ in range(6)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * width * i, width * i, 4, 2, 1, bias=False) for i in (2, 1))
        self.modulations = nn.ModuleList(Modulation(width * i) for i in (1, 2, 4, 2, 1))
        self.head = nn.Conv2d(width, 4, 7, padding=3)

    def forward(self, image: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        x = image
        for layer, modulation in zip((self.stem, *self.down), self.modulations):
            x = modulation(layer(x), units)
        x = self.body(x)
        for layer, modulation in zip(self.up, list(self.modulations)[3:]):
            x = modulation(layer(x), units)
        x = self.head(x)
        attention = torch.sigmoid(x[:, 3:])
        return attention * image + (1 - attention) * torch.tanh(x[:, :3]), attention


class Discriminator(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.meter = nn.ModuleDict()
        layers: list[nn.Module] = []
        for before, after in pairwise((3, *(width * 2**i for i in range(6)))):
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.01)]
        self.meter["trunk"] = nn.Sequential(*layers)
        self.meter["units"] = nn.Conv2d(32 * width, 17, 2, bias=False)
        self.real = nn.Conv2d(32 * width, 1, 3, padding=1, bias=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.meter["trunk"](image)
        return self.real(features), self.meter["units"](features).flatten(1)


class Step:
    """As in GANimation's code: the discriminator on a picture made for it, then the generator on one made anew."""

    def __init__(self, block: type[nn.Module]) -> None:
        self.networks = nn.ModuleDict({"edit": Generator(block), "judge": Discriminator()})
        self.optimisers = {
            name: torch.optim.Adam(network.parameters(), lr=1e-4, betas=(0.5, 0.999))
            for name, network in self.networks.items()
        }

    def __call__(self, x: Tensor, own: Tensor, wanted: Tensor) -> dict[str, float]:
        edit, judge = self.networks["edit"], self.networks["judge"]
        with torch.no_grad():
            fake, _ = edit(x, wanted)
        real_logits, read = judge(x)
        fake_logits, _ = judge(fake)
        part = torch.rand(len(x), 1, 1, 1)
        between = (part * x + (1 - part) * fake).requires_grad_(True)
        (slope,) = torch.autograd.grad(judge(between)[0].flatten(1).mean(1).sum(), between, create_graph=True)
        penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        self.optimisers["judge"].zero_grad()
        (fake_logits.mean() - real_logits.mean() + 10 * penalty + 160 * F.mse_loss(read, own)).backward()
        self.optimisers["judge"].step()

        output, attention = edit(x, wanted)
        logits, read = judge(output)
        cycle = F.l1_loss(edit(output, own)[0], x)
        variation = attention.diff(dim=-1).square().mean() + attention.diff(dim=-2).square().mean()
        self.optimisers["edit"].zero_grad()
        terms = {"cycle": cycle, "action-units": F.mse_loss(read, wanted)}
        total = 160 * terms["action-units"] + 10 * cycle + 0.1 * attention.square().mean() + 0.1 * variation
        (total - logits.mean()).backward()
        self.optimisers["edit"].step()
        return {name: float(value.detach()) for name, value in terms.items()}
