"""The training of a fusion in two steps (Takagi & Okadome, section 3.3): an autoencoder first, then everything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from zoo.blocks.diffaugment import diff_augment
from zoo.generator import build_generator, build_part, initialise
from zoo.losses.adversarial import gradient_norm
from zoo.recipe import Recipe
from zoo.trainer import Batch, Count, Step, Trainer, logits_of
from zoo_facefusion.data import Couples
from zoo_facefusion.networks import FusionGenerator
from zoo_facefusion.regions import CELLS

MADE = frozenset({"source", "other", "reconstruction", "other_reconstruction"})


class FusionTrainer(Trainer):
    """In the ``first`` steps encoder and generator alone, as an autoencoder (eq. 10), then against a critic (eq. 11).

    The losses of ``autoencoder`` read ``source`` A, ``other`` B and their reconstructions; those of ``fusion`` these and
    ``mix`` Λ (N,E), ``output`` C and its ``latent``, ``flipped``, which is C with one λ turned round, ``flipped_mix``, and C's ``logits``; those of
    ``critic`` ``real_logits``, ``fake_logits`` and ``gradient_norm`` (N,), the length of the critic's gradient by the
    picture, at a random place between a face and a fusion.

    Λ is drawn for each sample: all 1 or all 0 in ``ends`` of them, one number from 0 to 1 for all elements in ``between``
    of them, else each λ 0 or 1. ``clip``: the critic's weights are held within ± this (Arjovsky et al. 2017), 0 for not;
    the other way to keep it Lipschitz is the loss ``gradient-penalty``.
    """

    exported = "fuse"
    domains = 1
    samples = Couples
    phases: ClassVar = {"autoencoder": ("fuse",), "fusion": ("fuse",), "critic": ("critic",)}
    provides: ClassVar = {
        "autoencoder": MADE,
        "fusion": MADE | {"mix", "flipped_mix", "output", "flipped", "logits"},
        "critic": frozenset({"real_logits", "fake_logits", "gradient_norm"}),
    }

    passes_on: ClassVar = {"fusion": {"": "fuse"}}
    gives: ClassVar = frozenset({"other", "mix"})
    uses: ClassVar = frozenset({"encode", "decode", "fuse", "shares"})

    def __init__(
        self, recipe: Recipe, first: int = 0, ends: float = 0.3, between: float = 0.0, clip: float = 0.0
    ) -> None:
        if first < 0:
            raise ValueError("first is 0 or more")
        if not (0 <= ends <= 1 and 0 <= between <= 1 - ends):
            raise ValueError("ends and between are shares of the samples: from 0 to 1, also together")
        if clip < 0:
            raise ValueError("clip is 0 or more")
        generator = cast(FusionGenerator, build_generator({"generator": recipe.generator}))
        places = min(recipe.data.size) // generator.size.multiple_of
        if generator.by_parts and places < CELLS:
            raise ValueError(
                f"elements that are parts of the face want a latent of {CELLS}×{CELLS}, not {places}×{places}: fewer stages"
            )
        critic = build_part("discriminator", recipe.discriminator)
        self.networks = nn.ModuleDict({"fuse": generator, "critic": critic})
        initialise(self.networks)
        self.memory = nn.ModuleDict({"steps": Count()})
        self.first, self.ends, self.between, self.clip = first, ends, between, clip
        self.elements, self.names = generator.elements, generator.names
        self.policy = recipe.data.augment.differentiable

    def step(self, batch: Batch) -> Iterator[Step]:
        steps = cast(Count, self.memory["steps"])
        steps.total += 1
        if steps.total <= self.first:
            yield self._returned(batch)
            yield {}
            yield {}
            return
        yield {}
        fused = self._fused(batch)
        yield fused
        yield self._judged(batch, fused["output"].detach())
        if self.clip:
            with torch.no_grad():
                for weight in self.networks["critic"].parameters():
                    weight.clamp_(-self.clip, self.clip)

    def _returned(self, batch: Batch) -> Step:
        """Step 1: there and back again."""
        fuse, a, b = cast(FusionGenerator, self.networks["fuse"]), batch["source"], batch["other"]
        made = fuse.decode(fuse.encode(torch.cat([a, b]))).chunk(2)
        return {"source": a, "other": b, "reconstruction": made[0], "other_reconstruction": made[1]}

    def _fused(self, batch: Batch) -> Step:
        """Step 2; all pictures go through a network together, so that they share the statistics of its batch norm."""
        fuse, a, b = cast(FusionGenerator, self.networks["fuse"]), batch["source"], batch["other"]
        mix, flipped = self._mixes(batch["seed"], a)
        latents = fuse.encode(torch.cat([a, b])).chunk(2)
        wanted = [mix, flipped] if "flipped" in self.wanted else [mix]
        fused = [fuse.fuse(latents, fuse.shares(one, None, 1)) for one in wanted]
        made = fuse.decode(torch.cat([*latents, *fused])).chunk(2 + len(fused))
        tensors = {
            "source": a,
            "other": b,
            "reconstruction": made[0],
            "other_reconstruction": made[1],
            "mix": mix,
            "flipped_mix": flipped,
        }
        tensors |= {"latent": fused[0], **dict(zip(("output", "flipped"), made[2:], strict=False))}
        return {**tensors, "logits": self._logits(made[2], batch["seed"], 1)}

    def _judged(self, batch: Batch, output: Tensor) -> Step:
        a, seeds = batch["source"], batch["seed"]
        tensors = {"real_logits": self._logits(a, seeds, 2), "fake_logits": self._logits(output, seeds, 3)}
        if "gradient_norm" in self.wanted:
            critic = self.networks["critic"]
            tensors["gradient_norm"] = gradient_norm(lambda z: logits_of(critic, z), a, output, seeds)
        return tensors

    @classmethod
    def held(cls) -> frozenset[str]:
        return super().held() | {"other"}

    def judge(self, image: Tensor, step: Step, salt: int) -> Tensor:
        return self._logits(image, step["seed"], salt)

    def previews(self, batch: Batch, exported: nn.Module) -> dict[str, Tensor]:
        fuse, columns = cast(FusionGenerator, exported.eval()), {"A": batch["source"]}  # its statistics stay
        for share in (1.0, 0.75, 0.5, 0.25, 0.0):
            mix = batch["source"].new_full((len(batch["source"]), 1), share)
            columns[f"{share:g}"] = fuse(batch["source"], other=[batch["other"]], mix=mix)
        return {**columns, "B": batch["other"]}

    def _mixes(self, seeds: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Λ (N,E) by sample, and Λ with one λ, drawn at random, turned round."""
        mixes, others = [], []
        for seed in seeds.tolist():
            rng = torch.Generator().manual_seed(seed)
            kind, share, which = torch.rand(3, generator=rng).tolist()
            mix = torch.rand(self.elements, generator=rng).round()
            if kind < self.ends:
                mix = torch.full_like(mix, round(share))
            elif kind < self.ends + self.between:
                mix = torch.full_like(mix, share)
                if "hair" in self.names:  # which is never mixed
                    mix[self.names.index("hair")] = round(share)
            turned = mix.clone()
            n = int(which * self.elements)
            turned[n] = float(mix[n] < 0.5)
            mixes.append(mix)
            others.append(turned)
        return torch.stack(mixes).to(like), torch.stack(others).to(like)

    def _logits(self, image: Tensor, seeds: Tensor, salt: int) -> Tensor:
        return logits_of(self.networks["critic"], diff_augment(image, self.policy, seeds, salt))
