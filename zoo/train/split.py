"""Which sitters a run does not learn from, so that it can be measured on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zoo.errors import NotFoundError, UsageError
from zoo.pictures.find import by_name
from zoo.pictures.image import find_pictures

FEWEST, MOST = 20, 8  # photographs below which all are learned from; sitters that are held out in all


class Named(Protocol):
    """A folder of pictures, as training reads it."""

    paths: list[Path]


@dataclass(frozen=True)
class Sitter:
    """A photograph, the artist's drawing of the same sitter where there is one, and whose hand it is."""

    photo: Path
    drawing: Path | None
    hand: int


def hold_out(photos: Sequence[Named], drawings: Sequence[Named], pairs: bool, count: int | None) -> list[Sitter]:
    """Take sitters out of the folders: ``count`` of each, or a tenth of its photographs, some from everywhere in it.

    Always the same ones of the same files. With ``pairs`` the i-th picture of both folders is of one sitter, and both go.
    """
    sitters = []
    share = max(2, MOST // len(photos))
    for number, folder in enumerate(photos):
        have = len(folder.paths)
        wanted = count if count is not None else min(share, have // 10) if have >= FEWEST else 0
        wanted = min(wanted, have - 1)
        chosen = sorted({(2 * i + 1) * have // (2 * wanted) for i in range(wanted)}) if wanted else []
        hands = [number] if pairs else [i % len(drawings) for i in range(len(chosen))]
        for turn, i in enumerate(chosen):
            hand = hands[turn % len(hands)]
            sitters.append(Sitter(folder.paths[i], drawings[number].paths[i] if pairs else None, hand))
        for i in reversed(chosen):
            del folder.paths[i]
            if pairs:
                del drawings[number].paths[i]
    return sitters


def given(photos: Sequence[Path], drawings: Sequence[Path], learned: Sequence[Path]) -> list[Sitter]:
    """The sitters of folders of test photographs and, by the same names, of their drawings; in the order of the hands.

    UsageError if one of them lies in a folder that is ``learned`` from, or has no partner.
    """
    for path in (*photos, *drawings):
        if not path.is_dir():
            raise NotFoundError(f"there is no folder {path}", "give a folder of pictures")
    if drawings and len(photos) != len(drawings):
        raise UsageError(
            f"{len(photos)} folders of test photographs and {len(drawings)} of drawings of theirs",
            "give one --test-photos for each --test-drawings, in the same order",
        )
    sitters = []
    for hand, folder in enumerate(photos):
        theirs = by_name(drawings[hand], find_pictures([drawings[hand]])) if drawings else {}
        for name, photo in by_name(folder, find_pictures([folder])).items():
            if any(photo.resolve().is_relative_to(path.resolve()) for path in learned):
                raise UsageError(f"{photo} lies in a folder that is learned from", "keep test pictures apart")
            if drawings and name not in theirs:
                raise UsageError(f"{photo} has no partner in {drawings[hand]}", "name both pictures of a sitter alike")
            sitters.append(Sitter(photo, theirs.get(name), hand))
        if not sitters:
            raise UsageError(f"there is no picture in {folder}", "give a folder of photographs")
    return sitters
