"""Weights files: whole or refused, and a wrong one changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from zoo.errors import IntegrityError, NotFoundError, UsageError
from zoo.weights.file import load_weights, read_header, read_tensors, save_weights

NETWORK = {"generator": {"name": "plain", "width": 4}, "recipe": "plain"}


def network(channels: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels))


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_weights(tmp_path / "w.safetensors", network().state_dict(), NETWORK, facts={"licence": "MIT"})
    return tmp_path / "w.safetensors"


def test_round_trip_in_full_precision(tmp_path):
    source, target = network(), network()
    save_weights(tmp_path / "w.safetensors", source.state_dict(), NETWORK, bits=32)
    load_weights(tmp_path / "w.safetensors", target)
    assert all(torch.equal(a, b) for a, b in zip(state(source).values(), state(target).values()))


def test_half_stores_fp16_and_loads_as_the_modules_type(tmp_path):
    source, target = network(), network()
    save_weights(tmp_path / "w.safetensors", source.state_dict(), NETWORK)
    header = read_header(tmp_path / "w.safetensors")
    assert header.tensors["0.weight"] == ("F16", (4, 3, 3, 3))
    assert header.tensors["1.num_batches_tracked"][0] == "I64"
    load_weights(tmp_path / "w.safetensors", target)
    assert target[0].weight.dtype == torch.float32
    torch.testing.assert_close(target[0].weight, source[0].weight, atol=1e-3, rtol=1e-3)


def test_eight_bits_are_off_by_half_a_127th_of_an_outputs_largest(tmp_path):
    torch.manual_seed(0)
    source = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(5, 2))
    source[0].weight.data[1] *= 1000.0
    source[0].weight.data[2] = 0.0
    state = {
        **source.state_dict(),
        "part.scale": torch.randn(4, 20),
        "part": torch.randn(4, 20),
    }  # a name that is taken
    save_weights(tmp_path / "w.safetensors", state, NETWORK, bits=8)
    kinds = {name: dtype for name, (dtype, _) in read_header(tmp_path / "w.safetensors").tensors.items()}
    assert kinds["0.weight"] == kinds["part.scale"] == "I8" and kinds["0.weight.scale"] == "F32"
    assert {kinds[name] for name in ("0.bias", "1.weight", "2.weight", "part")} == {"F16"}  # of the last, 5 an output
    read = read_tensors(tmp_path / "w.safetensors")
    assert read.keys() == state.keys()
    largest = source[0].weight.abs().amax((1, 2, 3), keepdim=True)
    assert ((read["0.weight"] - source[0].weight).abs() <= largest / 254 * 1.001).all()
    assert torch.equal(read["0.weight"][2], torch.zeros(3, 3, 3))
    with pytest.raises(UsageError, match="bits = 12"):
        save_weights(tmp_path / "other.safetensors", state, NETWORK, bits=12)
    assert not (tmp_path / "other.safetensors").exists()


def test_a_value_beyond_fp16_keeps_its_precision(tmp_path):
    save_weights(tmp_path / "w.safetensors", {"big": torch.tensor([1e6]), "small": torch.ones(1)}, NETWORK)
    assert {name: dtype for name, (dtype, _) in read_header(tmp_path / "w.safetensors").tensors.items()} == {
        "big": "F32", "small": "F16",
    }  # fmt: skip


def test_the_header_says_what_it_is(path):
    header = read_header(path)
    assert (header.network, header.facts) == (NETWORK, {"licence": "MIT"})


def test_safetensors_itself_reads_it(path):
    assert set(load_file(path)) == set(network().state_dict())


def test_tied_and_strided_tensors_are_saved(tmp_path):
    tensor = torch.arange(6.0).reshape(2, 3)
    save_weights(tmp_path / "w.safetensors", {"a": tensor, "b": tensor, "c": tensor.t()}, NETWORK, bits=32)
    loaded = load_file(tmp_path / "w.safetensors")
    assert torch.equal(loaded["b"], tensor)
    assert torch.equal(loaded["c"], tensor.t())


def test_equal_weights_are_equal_bytes(tmp_path):
    digests = set()
    for index in range(12):  # safetensors' own order of metadata differs from one call to the next
        file = tmp_path / f"{index}.safetensors"
        save_weights(file, {"a": torch.ones(3), "b": torch.zeros(2)}, NETWORK, facts={"licence": "MIT"})
        digests.add(hashlib.sha256(file.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_file_not_of_the_zoo_has_an_empty_network(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "w.safetensors")
    assert read_header(tmp_path / "w.safetensors").network == {}


def test_a_wrong_network_changes_nothing_and_says_what_differs(path):
    wrong = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 3, 1))
    before = state(wrong)
    with pytest.raises(IntegrityError) as caught:
        load_weights(path, wrong)
    told = str(caught.value)
    assert "0.weight [4, 3, 3, 3] for [5, 3, 3, 3]" in told
    assert "unexpected: 1.num_batches_tracked, 1.running_mean" in told
    assert all(torch.equal(before[name], tensor) for name, tensor in wrong.state_dict().items())


def test_long_lists_of_differences_are_cut(path):
    with pytest.raises(IntegrityError, match="and 3 more"):
        load_weights(path, nn.Identity())


def test_no_such_file(tmp_path):
    with pytest.raises(NotFoundError, match="there is no weights file"):
        read_header(tmp_path / "none.safetensors")


def raw(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(shape: list[int], offsets: list[int], dtype: str = "F32") -> bytes:
    return json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        b"\x80\x04pickle" + b"\x00" * 100,
        b"PK\x03\x04" + b"\x00" * 100,
        raw(b"{}", length=2**63),
        raw(b"not json"),
        raw(b"[]"),
        raw(b'{"a": 3}'),
        raw(b"[" * 100_000),
        raw(entry([2], [0, 8]), b"\x00" * 7),
        raw(entry([2], [0, 8]), b"\x00" * 9),
        raw(entry([3], [0, 8]), b"\x00" * 8),
        raw(entry([2], [4, 12]), b"\x00" * 12),
        raw(entry([2], [0, 8], "F31"), b"\x00" * 8),
        raw(b'{"__metadata__": {"zoo": "[]"}}'),
        raw(b'{"__metadata__": {"zoo": "{\\"version\\": 2}"}}'),
    ],
)
def test_damaged_files_are_refused(tmp_path, content):
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    module = nn.Conv2d(1, 1, 1)
    before = state(module)
    with pytest.raises(IntegrityError):
        load_weights(file, module)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize(
    "wrong", [{"recipe": None}, {"generator": 3}, {"controls": 3}, {"working": "big"}, {"plugin": []}]
)
def test_a_header_that_describes_no_network_is_refused(tmp_path, wrong):
    file = tmp_path / "w.safetensors"
    save_weights(file, {"a": torch.ones(1)}, {**NETWORK, **wrong})
    with pytest.raises(IntegrityError, match=f"its network's {next(iter(wrong))} is"):
        read_header(file)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_cut_file_is_refused_wherever_it_is_cut(path, data):
    content = path.read_bytes()
    cut = path.with_name("cut.safetensors")
    cut.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(IntegrityError):
        read_header(cut)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    old = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_weights(path, network().state_dict(), NETWORK)
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def test_whole_numbers_are_multiplied_by_their_scale(tmp_path):
    network, path = nn.Linear(3, 2), tmp_path / "small.safetensors"
    whole, scale = torch.tensor([[1, -2, 3], [127, 0, -127]], dtype=torch.int8), torch.tensor([[0.5], [0.25]])
    state = {"weight": whole, "weight.scale": scale, "bias": torch.ones(2)}
    save_file(state, path)
    load_weights(path, network)
    assert torch.equal(network.weight.detach(), whole * scale)
    save_file({**state, "weight.scale": torch.ones(7)}, path)
    with pytest.raises(IntegrityError, match="cannot be read"):
        load_weights(path, network)
    save_file({**state, "other.scale": scale.clone()}, path)
    with pytest.raises(IntegrityError, match=r"unexpected: other\.scale"):
        load_weights(path, network)
    assert torch.equal(network.weight.detach(), whole * scale)
