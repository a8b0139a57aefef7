"""What styles, objects and masks have to do with each other, said before a picture is read."""

from __future__ import annotations

from typing import Any

from zoo.errors import ControlError
from zoo.translator import Translator
from zoo_partstyle.objects import named, object_set


class StyleTranslator(Translator):
    """Paints a picture in the style of others. Its controls depend on each other; else it is any translator."""

    def check(self, controls: dict[str, Any]) -> dict[str, Any]:
        styles = len(controls["style"])
        objects = named(controls.get("object"))
        masks = len(controls.get("mask") or ())
        blend = controls.get("blend")
        for name in objects if not masks else ():
            object_set(name)  # ControlError for one that does not exist
        if len(objects) > 1 and styles not in (1, len(objects)):
            raise ControlError(
                f"{len(objects)} objects and {styles} styles",
                "give one style for all of them, or one for each in the same order",
            )
        if masks and masks != max(1, len(objects)):
            raise ControlError(f"{len(objects)} objects and {masks} masks", "give one mask for each object")
        if blend is not None and (len(blend) != styles or sum(blend) <= 0):
            raise ControlError(
                f"blend = {', '.join(f'{share:g}' for share in blend)} for {styles} styles",
                "give one number for each style, not all of them 0",
            )
        return controls
