"""Commands in processes of their own, at the price of one import of torch for all of a test run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from unittest.mock import patch

from zoo.helpers.forks import Forks, Process

HEAVY = ("torch", "torch._dynamo", "torch.utils.tensorboard", "torchvision", "torchvision.transforms.v2", "accelerate")
HEAVY += ("safetensors.torch", "PIL.Image", "PIL.ImageCms", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "numpy.ma")
HEAVY += ("pydantic", "pydantic.main", "pydantic.functional_validators", "pydantic.type_adapter")
HEAVY += ("packaging.specifiers", "yaml", "typer", "typer._adapters", "rich.console", "rich.progress", "pytest")


def start(*words: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Process:
    """``python *words``, as ``subprocess.Popen`` would. Not for tests of what an import does or costs."""
    return heavy().start(*map(str, words), cwd=cwd, env=env)


def run(
    *words: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """``start`` to its end."""
    return heavy().run(*map(str, words), cwd=cwd, env=env, timeout=timeout)


@cache
def heavy() -> Forks:
    """What has imported it all, once for a test run."""
    forks = Forks(*HEAVY)
    with patch.dict(os.environ, OMP_NUM_THREADS="1"):  # read when torch is imported
        forks.run("-c", "")
    return forks
