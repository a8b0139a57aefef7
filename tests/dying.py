"""`tiny`, whose processes die when they are told to: by a file, taken by the first who comes, or by a white picture."""

from __future__ import annotations

from pathlib import Path

from tiny_plugin import CODE, TinyPlugin, install_tiny

ORDERS = """
import os, signal, time

link = os.link

def _die(when):
    try:
        os.unlink(os.path.join(os.environ["DYING"], when))
    except (KeyError, OSError):
        return
    os.kill(os.getpid(), signal.SIGKILL)

def _linked(*args, **options):
    _die("before")
    link(*args, **options)
    _die("after")

os.link = _linked  # by which a result gets its name
"""
WHITE = """
        time.sleep(float(os.environ.get("DYING_SLOWLY", 0)))
        if float(image.min()) > 0.99 and "DYING" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def install_dying(site: Path) -> TinyPlugin:
    plugin = install_tiny(site)
    head, parts = CODE.split("        sign = ")
    (site / "zoo_tiny/plugin.py").write_text(ORDERS + head + WHITE.lstrip("\n") + "        sign = " + parts)
    return plugin
