"""``python -m zoo``, and ``accelerate launch -m zoo train …``."""

from zoo.cli import main

main()
