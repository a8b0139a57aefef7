"""The command ``zoo``, ``python -m zoo``, and ``accelerate launch -m zoo train …``."""

from __future__ import annotations

from zoo.helpers.interrupt import leave_at_once


def run() -> None:
    """Run ``zoo`` and leave with its exit code."""
    leave_at_once()
    from zoo.cli import main  # takes a while

    try:
        main()
    finally:
        leave_at_once()


if __name__ == "__main__":
    run()
