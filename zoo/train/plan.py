"""What a run is going to do, told before its first step, and where it cannot go well."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from zoo import faces
from zoo.errors import ImageError, UsageError
from zoo.faces.backdrop import MOST, people, plain
from zoo.pictures.image import find_pictures
from zoo.recipe import Recipe
from zoo.train.data import Folder, Pictures
from zoo.train.split import Sitter

log = logging.getLogger("zoo.train")
FEW = 30  # pictures of a side below which a hand is hardly learned
LOOKED_AT = 8  # pictures of a folder that the warnings look at
LARGER = 1.4  # times as large as in the drawings: faces of another size


def tell(recipe: Recipe, data: Pictures, given: Sequence[tuple[str, Path]], sitters: Sequence[Sitter]) -> None:
    """Log what was found and what is held out, then warnings. ``given``: the folders by name, photographs first."""
    read = [*data.photos, *data.drawings]
    for folder, (name, path) in zip(read, given):
        out = sum(sitter.photo in _below(path) or sitter.drawing in _below(path) for sitter in sitters)
        found = len(find_pictures([path]))
        left = found - len(folder) - out
        log.info("%s: %d pictures to learn from%s", name, len(folder), f", {left} of {found} left out" if left else "")
    if recipe.data.pairs:
        log.info("%d pairs", sum(map(len, data.photos)))
    if (colour := data.data.backdrop) != "keep":
        colour = f"{colour}, as the paper of the drawings," if colour in data.papers else colour
        for folder in data.photos:
            seen = [bool(people(picture)) for picture in data.some(folder, LOOKED_AT)]
            log.info(
                "what is behind people in %s is made %s where their faces are found: in %d of %d that were looked at",
                folder.name,
                colour,
                sum(seen),
                len(seen),
            )
    if recipe.data.colours:
        kept = any(control.get("name") == "light" and control.get("default") == "keep" for control in recipe.controls)
        log.info("the drawings are in colours%s", ": skin is drawn in its own, as by --light keep" if kept else "")
    if sitters:
        names = ", ".join(sitter.photo.name for sitter in sitters[:8])
        more = f" and {len(sitters) - 8} more" if len(sitters) > 8 else ""
        log.info("%d sitters are held out, by whom the run is measured: %s%s", len(sitters), names, more)
    for warning in warnings(recipe, data, sitters):
        log.warning("%s", warning)


def warnings(recipe: Recipe, data: Pictures, sitters: Sequence[Sitter] = ()) -> Iterator[str]:
    """Where it cannot go well, and what to do."""
    for folder in (*data.photos, *data.drawings):
        if len(folder) < FEW:
            yield f"{len(folder)} pictures in {folder.name} are few: expect a likeness of tone rather than of hand below fifty"
    for folder in data.drawings:
        busy = sum(plain(picture)[1] < MOST for picture in data.some(folder, LOOKED_AT))
        if busy > LOOKED_AT // 2:
            keep = (
                "; if the artist draws it: --set data.backdrop=keep has it in the photographs, too"
                if data.data.backdrop != "keep"
                else ""
            )
            yield f"most drawings in {folder.name} are not on plain ground: what is around the faces is learned, too; crop or clear it{keep}"
    if data.data.backdrop != "keep" and len(set(data.papers)) > 1:
        papers = ", ".join(f"{folder.name} {colour}" for folder, colour in zip(data.drawings, data.papers))
        yield f"hands are on paper of different colours ({papers}): what is behind people is made white for all; train one on dark paper by itself, or with its likes"
    if not recipe.data.pairs and len(data.photos) == len(data.drawings):
        for photos, drawings in zip(data.photos, data.drawings):
            names = {path.stem for path in [*photos.paths, *(sitter.photo for sitter in sitters)]}
            if len(photos) > 1 and all(path.stem in names for path in drawings.paths):
                yield f"all of {drawings.name} have the names of photographs: if they show the same sitters, --pairs learns far more"
        for photos, drawings in zip(data.photos, data.drawings):
            sizes = [_face(data, folder) for folder in (photos, drawings)]
            if None not in sizes and not 1 / LARGER < (ratio := sizes[0] / sizes[1]) < LARGER:  # type: ignore[operator]
                yield f"faces in {photos.name} are {ratio:.1f} times as large as in {drawings.name}: crop one of them, or faces will be drawn at the wrong size"


def _below(path: Path) -> set[Path]:
    return set(find_pictures([path]))


def _face(data: Pictures, folder: Folder) -> float | None:
    """The median height of faces, as a share of their pictures'; None where they are not found, or dlib is not there."""
    heights = []
    for picture in data.some(folder, LOOKED_AT):
        try:
            found = faces.find(picture)
        except (ImageError, UsageError):
            return None
        if found:
            heights.append(max(face.height for face in found) / picture.shape[1])
    return sorted(heights)[len(heights) // 2] if len(heights) > LOOKED_AT // 3 else None
