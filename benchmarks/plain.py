"""The plain way: what the original repositories write, against which benchmarks/speed.py measures.

Eager, fp32, NCHW, torch's own layers; attention with its P×P map, as in DANet's code. The layers stand in the order of
zoo-cycleda's networks, so that the same weights fit and the largest difference means something.
"""

from __future__ import annotations

import random
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PositionAttention(nn.Module):
    """DANet's position attention module: energy and attention are P×P."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.value = nn.Conv2d(channels, channels, 1)
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        query = self.query(x).view(n, -1, h * w).permute(0, 2, 1)
        key = self.key(x).view(n, -1, h * w)
        attention = torch.softmax(torch.bmm(query, key), dim=-1)  # (N,P,P)
        value = self.value(x).view(n, -1, h * w)
        out = torch.bmm(value, attention.permute(0, 2, 1)).view(n, c, h, w)
        return self.alpha * out + x


class ChannelAttention(nn.Module):
    """DANet's channel attention module."""

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        query = x.view(n, c, -1)
        energy = torch.bmm(query, query.permute(0, 2, 1))
        energy = torch.max(energy, -1, keepdim=True)[0].expand_as(energy) - energy
        out = torch.bmm(torch.softmax(energy, dim=-1), x.view(n, c, -1)).view(n, c, h, w)
        return self.beta * out + x


class DualAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.position = PositionAttention(channels)
        self.channel = ChannelAttention()

    def forward(self, x: Tensor) -> Tensor:
        return self.position(x) + self.channel(x)


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, attention: bool) -> None:
        super().__init__()
        half = (nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=False), nn.InstanceNorm2d(channels))
        again = (nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=False), nn.InstanceNorm2d(channels))
        self.branch = nn.Sequential(*half, nn.ReLU(True), *again)
        self.tail = DualAttention(channels) if attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.tail(self.branch(x))


class Generator(nn.Module):
    """CycleGAN's ResNet generator."""

    def __init__(self, width: int = 64, blocks: int = 9, attention: bool = False) -> None:
        super().__init__()
        w = width

        def norm(convolution: nn.Module, channels: int) -> tuple[nn.Module, ...]:
            return convolution, nn.InstanceNorm2d(channels), nn.ReLU(True)

        def up(channels: int) -> nn.Module:
            return nn.ConvTranspose2d(channels, channels // 2, 3, 2, 1, output_padding=1, bias=False)

        self.stem = nn.Sequential(nn.ReflectionPad2d(3), *norm(nn.Conv2d(3, w, 7, bias=False), w))
        self.down = nn.Sequential(
            *norm(nn.Conv2d(w, 2 * w, 3, 2, 1, bias=False), 2 * w),
            *norm(nn.Conv2d(2 * w, 4 * w, 3, 2, 1, bias=False), 4 * w),
        )
        self.body = nn.Sequential(*(ResidualBlock(4 * w, attention) for _ in range(blocks)))
        self.up = nn.Sequential(*norm(up(4 * w), 2 * w), *norm(up(2 * w), w))
        self.head = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(w, 3, 7), nn.Tanh())

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.up(self.body(self.down(self.stem(image)))))


class Discriminator(nn.Module):
    """The 70×70 patch discriminator."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        channels = [width, 2 * width, 4 * width, 8 * width]
        body: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        for i, (before, after) in enumerate(pairwise(channels)):
            body += [nn.Conv2d(before, after, 4, 2 if i < 2 else 1, 1, bias=False)]
            body += [nn.InstanceNorm2d(after), nn.LeakyReLU(0.2, True)]
        self.body = nn.Sequential(*body, nn.Conv2d(channels[-1], 1, 4, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.body(image)


class Step:
    """CycleGAN's optimize_parameters: two generators, two discriminators, Adam, image pools, λ = 1.4 and 0.7."""

    def __init__(self, width: int = 64, blocks: int = 9, attention: bool = False, pool: int = 50) -> None:
        self.networks = nn.ModuleDict(
            {
                "draw": Generator(width, blocks, attention),
                "photo": Generator(width, blocks, attention),
                "judge_drawing": Discriminator(width),
                "judge_photo": Discriminator(width),
            }
        )
        self.generators = [*self.networks["draw"].parameters(), *self.networks["photo"].parameters()]
        self.judges = [*self.networks["judge_drawing"].parameters(), *self.networks["judge_photo"].parameters()]
        self.optimisers = [torch.optim.Adam(p, lr=2e-4, betas=(0.5, 0.999)) for p in (self.generators, self.judges)]
        self.pools: tuple[list[Tensor], list[Tensor]] = ([], [])
        self.size = pool

    def __call__(self, x: Tensor, y: Tensor) -> dict[str, float]:
        draw, photo, judge_drawing, judge_photo = self.networks.values()
        drawn, back = draw(x), photo(y)
        there, again = photo(drawn), draw(back)
        for p in self.judges:
            p.requires_grad_(False)
        self.optimisers[0].zero_grad()
        terms = {
            "identity": F.l1_loss(draw(y), y) + F.l1_loss(photo(x), x),
            "adversarial": ((judge_drawing(drawn) - 1) ** 2).mean() + ((judge_photo(back) - 1) ** 2).mean(),
            "cycle": F.l1_loss(there, x) + F.l1_loss(again, y),
        }
        (0.7 * terms["identity"] + terms["adversarial"] + 1.4 * terms["cycle"]).backward()
        self.optimisers[0].step()
        for p in self.judges:
            p.requires_grad_(True)
        self.optimisers[1].zero_grad()
        terms["critic"] = 0 * terms["cycle"].detach()
        for judge, real, fake, pool in ((judge_drawing, y, drawn, 0), (judge_photo, x, back, 1)):
            fake = self._pooled(self.pools[pool], fake.detach())
            critic = 0.5 * (((judge(real) - 1) ** 2).mean() + (judge(fake) ** 2).mean())
            critic.backward()
            terms["critic"] += critic.detach()
        self.optimisers[1].step()
        return {name: float(value.detach()) for name, value in terms.items()}

    def _pooled(self, pool: list[Tensor], image: Tensor) -> Tensor:
        if len(pool) < self.size:
            pool.append(image.clone())
            return image
        if random.random() < 0.5:
            return image
        place = random.randrange(self.size)
        old, pool[place] = pool[place], image.clone()
        return old
