"""Facts about this machine. Those about devices ask torch, and so are for a process of their own (`zoo.doctor.isolated`)."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

FEATURES = {  # names of the kernel -> what makes networks fast
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX-512 bf16",
    "amx_tile": "AMX",
    "amx_bf16": "AMX bf16",
    "asimd": "NEON",
    "sve": "SVE",
    "bf16": "bf16",
}


def processor() -> str:
    """Its name and the features that matter."""
    about = _read("/proc/cpuinfo")
    name = re.search(r"^model name\s*:\s*(.+)$", about, re.M)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", about, re.M)
    known = flags[1].split() if flags else []
    features = [text for flag, text in FEATURES.items() if flag in known]
    return ", ".join(
        [(name[1] if name else _said("sysctl", "-n", "machdep.cpu.brand_string")) or platform.machine(), *features]
    )


def cores() -> str:
    """How many there are, and how many of them this process may use."""
    there = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    return f"{there}" if usable == there else f"{usable} usable of {there}"


def memory() -> str:
    """In all, and free now."""
    with suppress(AttributeError, ValueError, OSError):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        free = re.search(r"MemAvailable:\s*(\d+) kB", _read("/proc/meminfo"))
        return gigabytes(total) + (f", {gigabytes(int(free[1]) * 1024)} free" if free else "")
    return "unknown"


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def devices() -> list[dict[str, Any]]:
    """What torch can compute on: name, what is known of it, and an error where a small computation fails."""
    import torch

    from zoo.machine.kernels import told

    level = torch.backends.cpu.get_cpu_capability()
    about = f"torch {torch.__version__}, {torch.get_num_threads()} threads, kernels for {level}"
    found = [{"name": "cpu", "about": about, "kernels": told("cpu")}]
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(index)
        driver = _said("nvidia-smi", f"--id={index}", "--query-gpu=driver_version", "--format=csv,noheader")
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
        about = f"{facts.name}, capability {facts.major}.{facts.minor}, {gigabytes(facts.total_memory)}, {build}"
        about += f", driver {driver}" if driver else ""
        found.append({"name": f"cuda:{index}", "about": about, "kernels": told("cuda")})
    if torch.backends.mps.is_available():
        found.append({"name": "mps", "about": f"{platform.mac_ver()[0]}, {platform.machine()}", "kernels": told("mps")})
    return [{**device, **_tried(device["name"])} for device in found]


def _tried(name: str) -> dict[str, str]:
    """A convolution there against the same one on the CPU, in fp32 and bf16; and the memory for a picture."""
    import torch
    from torch.nn import functional as F

    from zoo.machine.memory import allowed

    image, kernel = torch.rand(1, 8, 32, 32), torch.rand(8, 8, 3, 3) / 72
    wanted, works = F.conv2d(image, kernel), []
    try:
        for dtype, bound in ((torch.float32, 1e-2), (torch.bfloat16, 1e-1)):
            made = F.conv2d(image.to(name, dtype), kernel.to(name, dtype)).float().cpu()
            if (made - wanted).abs().max() > bound:
                return {"error": f"a convolution in {dtype} is wrong by {float((made - wanted).abs().max()):.2g}"}
            works.append(str(dtype).removeprefix("torch.").replace("float32", "fp32").replace("bfloat16", "bf16"))
        return {"works": f"{' and '.join(works)} work; {gigabytes(allowed(torch.device(name)))} for a picture"}
    except Exception as exc:  # whatever a driver may do
        text = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        return {"error": f"{' and '.join(works) or 'nothing'} works: {text}"}


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _said(*command: str) -> str:
    """The first line of what a command prints, "" without it."""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=5)
        return (done.stdout.splitlines() or [""])[0].strip() if done.returncode == 0 else ""
    return ""
