"""Plugins that are wrong in one thing each: the one that `zoo new` writes, with one change, and the check that sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NETWORKS, BLOCKS, LOSSES, PROVIDERS, TRAINER, PLUGIN = (
    f"src/zoo_mutant/{name}.py" for name in ("networks", "blocks", "losses", "providers", "trainer", "plugin")
)
MANIFEST, RECIPE = "src/zoo_mutant/zoo.yaml", "src/zoo_mutant/recipes/mutant.yaml"

HEAD = "from __future__ import annotations\n"
BUILT = "        self.up = nn.Sequential(\n"
IMAGE = '        return {"image": drawing, "features": features}\n'
GATE = "        super().__init__(channels, tail=SpatialGate(channels))\n"
CUT = f"{GATE}\n    def forward(self, x):\n        return super().forward(x)[..., 1:]\n"
EDGES = '        return F.l1_loss(edges(step["output"]), edges(step["source"]))\n'
OUTPUT = '        output = made["image"]\n'
JUDGED = '"fake_logits": judge(output.detach())}'
TORCH = (NETWORKS, HEAD, f"{HEAD}\nimport torch\n")
UNUSED = (RECIPE, "block: mutant-gate", "block: residual")
Edit = tuple[str, str, str]  # in this file this text becomes that


@dataclass(frozen=True)
class Mutant:
    """``edits`` of the plugin, changes to the network that its ``weights`` say they are of, and what must fail."""

    edits: tuple[Edit, ...]
    caught: frozenset[str]
    weights: dict[str, Any] = field(default_factory=dict)


def mutant(*caught: str, edits: tuple[Edit, ...], **weights: Any) -> Mutant:
    return Mutant(edits, frozenset(f"test_{name}" for name in caught), weights)


def before(file: str, line: str, *added: str) -> Edit:
    """``added`` in front of a line of a method."""
    return file, line, "".join(f"        {text}\n" for text in added) + line


def alone(file: str, old: str, new: str) -> tuple[Edit, ...]:
    """The change of a part that no recipe uses then: nothing but the part's own checks can see it."""
    return (file, old, new), UNUSED, (RECIPE, "    mutant-edges: {weight: 2.0}\n", "")


LENIENT = """

class Lenient(Translator):
    def translate(self, image: Any, **options: Any) -> Any:
        %s


class DrawingGenerator"""


def translator(body: str) -> tuple[Edit, ...]:
    """A translator of its own, with this ``translate``."""
    return (
        (NETWORKS, "\n\nclass DrawingGenerator", LENIENT % body.replace("\n", "\n        ")),
        (
            NETWORKS,
            HEAD,
            f"{HEAD}\nfrom typing import Any\n\nfrom zoo.errors import ControlError\nfrom zoo import Translator\n",
        ),
        (PLUGIN, "import DrawingGenerator", "import DrawingGenerator, Lenient"),
        (PLUGIN, "    register.trainer(", '    register.translator("mutant", Lenient)\n    register.trainer('),
        (MANIFEST, "  trainer:", "  translator: [mutant]\n  trainer:"),
        (RECIPE, "trainer:", "translator: mutant\ntrainer:"),
    )


MUTANTS = {
    # -- what is installed ------------------------------------------------------------------------------------------------
    "a loss that is no Loss": mutant(
        "part_is_of_its_kind", edits=alone(PLUGIN, '("mutant-edges", EdgesLoss)', '("mutant-edges", print)')
    ),
    "a class in a function": mutant(
        "part_can_be_pickled",
        edits=alone(
            PLUGIN,
            '    register.block("mutant-gate", GatedBlock)\n',
            "    class Gated(GatedBlock):\n        pass\n\n    register.block('mutant-gate', Gated)\n",
        ),
    ),
    "prints at import": mutant("import_leaves_no_trace", edits=((BLOCKS, HEAD, f'{HEAD}\nprint("loading blocks")\n'),)),
    "sets the seed at import": mutant(
        "import_leaves_no_trace", edits=((BLOCKS, "import Tensor, nn\n", "import Tensor, nn\ntorch.manual_seed(0)\n"),)
    ),
    "connects at import": mutant(
        "import_leaves_no_trace",
        edits=(
            (
                BLOCKS,
                HEAD,
                f"{HEAD}import contextlib, socket\nwith contextlib.suppress(OSError):\n"
                "    socket.create_connection(('127.0.0.1', 9), timeout=1)\n",
            ),
        ),
    ),
    "a part that is not declared": mutant(
        "registers_what_it_declares", edits=((MANIFEST, "  block: [mutant-gate]\n", "  block: [mutant-gate, other]\n"),)
    ),
    "a recipe without a summary": mutant(
        "recipe_fits", edits=((RECIPE, "summary: Drawings by gated residual blocks\n", ""),)
    ),
    "a recipe that is not tiny": mutant("tiny_recipe_is_tiny", edits=((RECIPE, "tiny: {", "tiny: {} # {"),)),
    "a card without a licence": mutant("cards_are_valid", edits=((MANIFEST, "    licence:", "    #"),)),
    "a card of another recipe": mutant(
        "card_tells_the_truth", edits=((MANIFEST, "    recipe: mutant", "    recipe: other"),)
    ),
    "weights of another network": mutant(
        "shipped_weights_draw", edits=(), generator={"name": "mutant", "width": 8, "blocks": 1}
    ),
    "no README": mutant("documents", edits=(("README.md", "", ""),)),
    "a package that is not declared": mutant(
        "wheel_installs_alone", edits=((BLOCKS, HEAD, f"{HEAD}import hypothesis  # noqa: F401\n"),)
    ),
    "recipes left out of the wheel": mutant(
        "wheel_installs_alone",
        edits=(("pyproject.toml", '["src/zoo_mutant"]\n', '["src/zoo_mutant"]\nexclude = ["*.yaml"]\n'),),
    ),
    # -- what draws -------------------------------------------------------------------------------------------------------
    "looks at its weights when it is built": mutant(
        "builds_on_the_meta_device",
        edits=(before(NETWORKS, BUILT, "self.first = float(self.down[0].weight.detach().sum())"),),
    ),
    "a size rule that is not true": mutant(
        "sizes", "any_picture", "makes_what_it_says", edits=((NETWORKS, "minimum=8", "minimum=2"),)
    ),
    "beyond 1": mutant(
        "sizes", edits=(before(NETWORKS, IMAGE, "drawing = drawing if self.training else 1.2 * drawing"),)
    ),
    "double precision": mutant(
        "sizes", edits=(before(NETWORKS, IMAGE, "drawing = drawing if self.training else drawing.double()"),)
    ),
    "writes into its input": mutant("sizes", edits=(before(NETWORKS, IMAGE, "image.mul_(0.5)"),)),
    "makes more than it says": mutant(
        "makes_what_it_says",
        "step_keeps_its_promise",
        edits=((NETWORKS, '"features": features}', '"features": features, "extra": drawing}'),),
    ),
    "loses the alpha": mutant(
        "any_picture",
        edits=translator(
            "drawn = super().translate(image, **options)\nreturn drawn.convert('RGB') if hasattr(drawn, 'convert') else drawn"
        ),
    ),
    "draws large pictures otherwise": mutant(
        "tiles_leave_no_seams",
        edits=(before(NETWORKS, IMAGE, "drawing = 0.5 * drawing if image.shape[-1] > 150 else drawing"),),
    ),
    "statistics over the batch": mutant(
        "batch_is_singles", edits=(before(NETWORKS, IMAGE, "drawing = drawing * (1 - drawing.mean().abs())"),)
    ),
    "noise": mutant(
        "same_input_same_output",
        "resume_is_exact",
        "another_device_draws_the_same",
        "another_device_gives_the_same",
        edits=(TORCH, before(NETWORKS, IMAGE, "drawing = drawing * torch.rand(1)")),
    ),
    "counts its calls": mutant(
        "translate_leaves_no_trace",
        edits=(
            TORCH,
            before(NETWORKS, BUILT, 'self.register_buffer("calls", torch.zeros(()))'),
            before(NETWORKS, IMAGE, "self.calls += 1"),
        ),
    ),
    "sets a flag of torch": mutant(
        "translate_leaves_no_trace",
        edits=(
            TORCH,
            before(NETWORKS, IMAGE, "torch.use_deterministic_algorithms(True, warn_only=True)"),
        ),
    ),
    "draws numpy's random numbers": mutant(
        "translate_leaves_no_trace",
        edits=((NETWORKS, HEAD, f"{HEAD}\nimport numpy as np\n"), before(NETWORKS, IMAGE, "np.random.rand()")),
    ),
    "knows one precision": mutant(
        "runs_in_bf16",
        edits=(
            TORCH,
            before(NETWORKS, IMAGE, 'assert not torch.is_autocast_enabled("cpu"), "only float32"'),
        ),
    ),
    "a layer that is not called": mutant(
        "gradients", "every_network_learns", edits=(before(NETWORKS, BUILT, "self.spare = nn.Conv2d(3, 3, 1)"),)
    ),
    "decides by what no file holds": mutant(
        "weights_round_trip",
        edits=(
            TORCH,
            before(NETWORKS, BUILT, 'self.register_buffer("grain", torch.rand(3, 1, 1), persistent=False)'),
            before(NETWORKS, IMAGE, "drawing = drawing * (1 - 0.5 * self.grain)"),
        ),
    ),
    "state_dict changes the weights": mutant(
        "wrong_weights_are_refused",
        edits=(
            (
                NETWORKS,
                "    def parts(",
                "    def state_dict(self, *args, **kwargs):\n"
                "        self.down[0].weight.data.clamp_(-0.1, 0.1)\n"
                "        return super().state_dict(*args, **kwargs)\n\n    def parts(",
            ),
        ),
    ),
    "a network that makes tensors on the CPU": mutant(
        "another_device_draws_the_same",
        "another_device_gives_the_same",
        edits=(TORCH, before(NETWORKS, IMAGE, "drawing = drawing * torch.ones(3, 1, 1)")),
    ),
    "a control that nobody reads": mutant(
        "control_has_an_effect", edits=((NETWORKS, "strength is not None", "strength is not None and False"),)
    ),
    "a control without help": mutant(
        "control_has_an_effect", edits=((RECIPE, ", help: '0: the photograph, 1: the drawing'", ""),)
    ),
    "mends values": mutant(
        "control_refuses",
        edits=translator(
            "try:\n    return super().translate(image, **options)\n"
            "except ControlError:\n    return super().translate(image)"
        ),
    ),
    # -- what learns ------------------------------------------------------------------------------------------------------
    "a block that cuts": mutant("block_keeps_shapes", edits=alone(BLOCKS, GATE, CUT)),
    "a block that looks at the batch": mutant(
        "block_sees_pictures_alone", edits=alone(BLOCKS, "self.look(x))", "self.look(x).mean(0, keepdim=True))")
    ),
    "a block that detaches": mutant(
        "block_gradients", edits=alone(BLOCKS, "torch.sigmoid(self.look(x))", "torch.sigmoid(self.look(x)).detach()")
    ),
    "a loss for each pixel": mutant(
        "loss_is_a_number",
        edits=alone(LOSSES, 'edges(step["source"]))\n', 'edges(step["source"]), reduction="none")\n'),
    ),
    "a loss that reads more than it says": mutant(
        "loss_reads_what_it_needs", edits=alone(LOSSES, EDGES, EDGES.rstrip() + ' * (1 + step["logits"].mean() ** 2)\n')
    ),
    "a loss that makes tensors on the CPU": mutant(
        "another_device_gives_the_same",
        edits=(
            (LOSSES, HEAD, f"{HEAD}\nimport torch\n"),
            (LOSSES, 'edges(step["output"])', 'edges(step["output"] * torch.ones(3, 1, 1))'),
        ),
    ),
    "a loss without a gradient": mutant(
        "loss_has_a_gradient", edits=alone(LOSSES, 'edges(step["output"])', 'edges(step["output"].detach())')
    ),
    "a loss that scales its gradient": mutant(
        "loss_is_linear_in_its_weight",
        edits=alone(
            LOSSES,
            EDGES,
            "        output = step['output'] * 1\n"
            "        output.register_hook(lambda gradient: gradient / gradient.norm())\n"
            + EDGES.replace('step["output"]', "output"),
        ),
    ),
    "a loss that counts its calls": mutant(
        "loss_is_linear_in_its_weight",
        edits=alone(
            LOSSES,
            EDGES,
            "        self.calls = getattr(self, 'calls', 0) + 1\n" + EDGES.rstrip() + " * self.calls\n",
        ),
    ),
    "a provider for the first picture alone": mutant(
        "provider_keeps_its_word", edits=((PROVIDERS, ".sqrt().clamp(0, 1)", ".sqrt().clamp(0, 1)[:1]"),)
    ),
    "a provider that throws dice": mutant(
        "provider_keeps_its_word", edits=((PROVIDERS, ".sqrt().clamp(0, 1)", ".sqrt().clamp(0, 1) * torch.rand(1)"),)
    ),
    "a name that is not promised": mutant(
        "step_keeps_its_promise", edits=((TRAINER, '"output": output, ', '"output": output, "extra": output, '),)
    ),
    "a network of no phase": mutant(
        "every_network_learns",
        edits=(
            (
                TRAINER,
                '                "judge":',
                '                "spare": nn.Conv2d(3, 3, 1),\n                "judge":',
            ),
        ),
    ),
    "a gradient turned round": mutant(
        "a_few_steps_lower_the_loss",
        edits=(
            (
                TRAINER,
                OUTPUT,
                OUTPUT
                + "        if output.requires_grad:\n            output.register_hook(lambda gradient: -gradient)\n",
            ),
        ),
    ),
    "a pool that nobody saves": mutant(
        "resume_is_exact",
        edits=(
            (TRAINER, JUDGED, JUDGED.replace("output.detach()", "self.last")),
            (TRAINER, OUTPUT, OUTPUT + "        self.last = getattr(self, 'last', output.detach())\n"),
        ),
    ),
    "random numbers of the process": mutant(
        "resume_is_exact",
        edits=(
            (TRAINER, JUDGED, JUDGED.replace("output.detach()", "output.detach() + 0.1 * torch.randn_like(output)")),
            (TRAINER, HEAD, f"{HEAD}\nimport torch\n"),
        ),
    ),
    "a loss that keeps statistics": mutant(
        "losses_stay_as_they_are",
        edits=(
            (LOSSES, EDGES, EDGES.replace('edges(step["output"])', 'self.norm(edges(step["output"]))')),
            (
                LOSSES,
                "    def forward(",
                "    def __init__(self):\n        super().__init__()\n"
                "        self.norm = nn.BatchNorm2d(1, affine=False)\n\n    def forward(",
            ),
            (LOSSES, "import Tensor\n", "import Tensor, nn\n"),
        ),
    ),
    "previews of another size": mutant(
        "previews", edits=((TRAINER, 'exported(batch["source"])', 'exported(batch["source"])[:, :, 2:]'),)
    ),
}
