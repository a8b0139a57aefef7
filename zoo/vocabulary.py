"""What a training step holds, under which name, in which form: the words that trainers, generators, providers and losses
share. No torch here.

N pictures, H and W their size, U action units, E elements of a latent, T stages, C channels, h and w another size.
A size that is not a number may differ from word to word; ``…`` stands for any more. ``reverse_`` in front of a word is
the same on the way back, from target to source.
"""

from __future__ import annotations

from dataclasses import dataclass

REVERSE = "reverse_"
PAIRED = "paired_"
"""What a step holds under names that begin so shows the same sitter twice: there with paired data only."""


@dataclass(frozen=True)
class Word:
    """What stands under a name: its form, its range, and what it is."""

    shape: str
    span: str
    what: str


_COLOURS, _SHARES, _REAL = "−1 … 1", "0 … 1", "any number"
_PICTURE = "(N,3,H,W)"

WORDS: dict[str, Word] = {
    "source": Word(_PICTURE, _COLOURS, "the photograph, or what else is translated"),
    "target": Word(_PICTURE, _COLOURS, "a picture as results shall look; of one domain alone, the photograph"),
    "other": Word(_PICTURE, _COLOURS, "another face beside the source"),
    "paired_source": Word(_PICTURE, _COLOURS, "the photograph of the sitter of `paired_target`"),
    "paired_target": Word(_PICTURE, _COLOURS, "the artist's picture of the source's sitter"),
    "hand": Word("(N,)", "0, 1, …", "whose drawing the target is, and the output shall be"),
    "seed": Word("(N,)", "any whole number", "what chance in a step is drawn from"),
    "output": Word(_PICTURE, _COLOURS, "what the generator makes of the source"),
    "steadied": Word(
        _PICTURE, _COLOURS, "what the generator makes of the source moved, brought back: the middle of several"
    ),
    "reconstruction": Word(_PICTURE, _COLOURS, "the source again, made of the output or of its latent"),
    "other_reconstruction": Word(_PICTURE, _COLOURS, "the other face again"),
    "identity": Word(_PICTURE, _COLOURS, "what the generator makes of the target"),
    "parts": Word("(N,12,H,W)", _SHARES, "what each pixel of the source is: skin, hair, eyes …"),
    "other_parts": Word("(N,12,H,W)", _SHARES, "the same of the other face"),
    "flipped_composite": Word("(N,4,H,W)", _COLOURS, "`composite` by `flipped_mix`"),
    "flipped_mix": Word("(N,E)", _SHARES, "the mix with one share turned round"),
    "composite": Word("(N,4,H,W)", _COLOURS, "parts of source and other by the mix, and how sure they are, 0 … 1"),
    "flipped": Word(_PICTURE, _COLOURS, "the output with one share of the mix turned round"),
    "blurred": Word(_PICTURE, _COLOURS, "the target with its edges blurred"),
    "redrawn": Word("(N,3,h,w)", _COLOURS, "`redrawn_target`, made small and coarse, redrawn by the generator"),
    "redrawn_target": Word("(N,3,h,w)", _COLOURS, "a part of the target"),
    "coarse": Word("(N,3,h,w)", _COLOURS, "the output as it is drawn first, smaller"),
    "grey_target": Word(_PICTURE, _COLOURS, "the target without its colours"),
    "logits": Word("(N,…)", _REAL, "the discriminator's of the output, while the generator learns"),
    "real_logits": Word("(N,…)", _REAL, "of the target, while the discriminator learns"),
    "fake_logits": Word("(N,…)", _REAL, "of outputs, while the discriminator learns"),
    "blurred_logits": Word("(N,…)", _REAL, "of `blurred`, while the discriminator learns"),
    "grey_logits": Word("(N,…)", _REAL, "of `grey_target`, while the discriminator learns"),
    "gradient_norm": Word("(N,)", "0 and above", "length of the discriminator's gradient between real and fake"),
    "landmarks": Word("(N,68,2)", "shares of the sides", "iBUG's points of the source's face; NaN without one"),
    "points": Word("(N,40,2)", "shares of the sides", "40 points of the source's face as drawn; NaN without one"),
    "found_points": Word("(N,40,2)", "shares of the sides", "what a network for points finds in the source"),
    "shape": Word("(T,N,40,2)", "shares of the sides", "what each stage of a network for points finds, in training"),
    "units": Word("(N,17)", _SHARES, "action units that `read` shall be; those of the source unless a trainer asks"),
    "own": Word("(N,17)", _SHARES, "action units of the source"),
    "read": Word("(N,17)", _REAL, "action units that a meter reads off the picture that is judged; NaN without a face"),
    "label": Word("(N,5)", "0 or 1", "the expression that `scores` shall show, one-hot"),
    "scores": Word("(N,5)", _REAL, "how much each expression shows in the picture that is judged"),
    "object": Word("(N,1,H,W)", _SHARES, "how much each pixel of the source belongs to its object"),
    "skin": Word("(N,1,H,W)", _SHARES, "smooth skin: the source's face without brows, eyes, nose, mouth, edge"),
    "mix": Word("(N,E)", _SHARES, "the source's share in each element of the output"),
    "features": Word("(N,C,h,w)", _REAL, "what the generator's blocks make"),
    "latent": Word("(N,C,h,w)", _REAL, "what the output is decoded from"),
    "attention": Word("(N,1,H,W)", _SHARES, "how much of the source each pixel keeps"),
    "colour": Word(_PICTURE, _COLOURS, "what is painted where the attention is 0"),
    "flow": Word("(N,2,H,W)", "shares of the sides", "where in the source each pixel comes from, beside its own place"),
    "paint": Word(_PICTURE, "−2 … 2", "what is painted on the source after it was moved"),
}


def word(name: str) -> Word | None:
    """What stands under ``name``, on the way there or back; None for a word of a plugin's own."""
    return WORDS.get(name) or WORDS.get(name.removeprefix(REVERSE))


def told(name: str) -> str:
    """The name with what it is, for a line of what is missing."""
    found = word(name)
    if found is None:
        return name
    what = found.what.replace("`", "")
    return f"{name} ({what}{', on the way back' if name not in WORDS else ''})"
