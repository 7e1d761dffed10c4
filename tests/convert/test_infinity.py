"""Infinity's and NSARM's layout: the recorded names and shapes, both ways, and what does not fit."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lit_pure.config.next_scale import NextScaleConfig, next_scale_size
from lit_pure.convert.infinity import (
    PREFIX,
    from_infinity,
    join_nsarm,
    key_table,
    read_infinity,
    sizes_in,
    split_nsarm,
    to_infinity,
)
from lit_pure.models.next_scale import NextScaleTransformer, decays
from tests.families.nsarm.codes import FRAME, GRIDS, TINY, captions, tiny
from tests.golden import golden

SOURCE, REMEDY = Path("infinity.pth"), "get it again"
Shapes = dict[str, tuple[int, ...]]


def recorded(name: str, parameters_only: bool = False) -> Shapes:
    values = golden("j_keys")
    rows = zip(*(values[f"{name}/{part}"] for part in ("keys", "shapes", "is_param")), strict=True)
    return {str(key): tuple(map(int, str(shape).split("x"))) for key, shape, is_parameter in rows
            if is_parameter or not parameters_only}  # fmt: skip


def on_meta(shapes: Shapes) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def published(state: dict[str, Tensor]) -> Shapes:
    return {name: tuple(item.shape) for name, item in state.items()}


@pytest.mark.parametrize("size", ["2b", "8b"])
def test_names_and_shapes_are_the_recorded_ones_both_ways(size: str) -> None:
    shapes, config = recorded(f"infinity_{size}"), next_scale_size(size)
    assert sizes_in(on_meta(shapes), NextScaleConfig(), SOURCE, REMEDY) == config
    with torch.device("meta"):
        ours = NextScaleTransformer(config).state_dict()
    assert published(to_infinity(ours, config)) == shapes
    read = from_infinity(on_meta(shapes), config, SOURCE, REMEDY)
    assert published(read) == {name: tuple(item.shape) for name, item in ours.items()}


def test_nsarm_is_infinity_8b_and_a_transformation_network() -> None:
    transformer, network = recorded("infinity_8b"), recorded("map_transformer")
    joined = join_nsarm(on_meta(transformer), on_meta(network))
    assert len(joined) == 1812 and sum(name.startswith(PREFIX) for name in joined) == 950
    parts = split_nsarm(joined)
    assert [published(part) for part in parts] == [transformer, network]


def test_weight_decay_is_the_published_rule() -> None:
    values = golden("j_keys")
    config = next_scale_size("2b")
    with torch.device("meta"):
        ours = dict(NextScaleTransformer(config).named_parameters())
    table = key_table(config)
    for key, spared in zip(values["infinity_2b/keys"], values["infinity_2b/no_weight_decay"], strict=True):
        if str(key) in table:
            name = table[str(key)]
            assert decays(name, ours[name]) == (not spared), key


@pytest.mark.parametrize("chunks", [1, 3])
def test_a_round_trip_keeps_every_number(chunks: int) -> None:
    transformer = tiny()
    theirs = to_infinity(transformer.state_dict(), TINY, chunks)
    assert not any(item.any() for name, item in theirs.items() if name.endswith("zero_k_bias"))
    back = from_infinity(theirs, sizes_in(theirs, TINY, SOURCE, REMEDY), SOURCE, REMEDY)
    assert back.keys() == transformer.state_dict().keys()
    assert all(torch.equal(item, back[name]) for name, item in transformer.state_dict().items())


def test_every_name_stands_for_one_of_ours() -> None:
    names = list(key_table(TINY, 3).values())
    assert sorted(names) == sorted(tiny().state_dict())


@pytest.mark.parametrize("nested", [False, True])
def test_a_file_is_read_with_the_sizes_that_it_has(tmp_path: Path, nested: bool) -> None:
    transformer, path = tiny(), tmp_path / "weights.pth"
    state = join_nsarm(to_infinity(transformer.state_dict(), TINY, 3), {"stem.weight": torch.ones(2)})
    state["lvl_1L"] = torch.zeros(5)  # of masks
    torch.save({"trainer": {"gpt_fsdp": state}} if nested else state, path)
    read, network = read_infinity(path, NextScaleConfig(drop_path=0), REMEDY)
    assert read.config == TINY and list(network) == ["stem.weight"]
    text, inputs = captions(4), torch.randn(1, 30, TINY.bits)
    with torch.no_grad():
        assert torch.equal(read(inputs, text, GRIDS, FRAME), transformer(inputs, text, GRIDS, FRAME))
    assert not any(item.requires_grad for item in read.parameters())


def test_what_does_not_fit_is_named() -> None:
    theirs = to_infinity(tiny().state_dict(), TINY, 1)
    with pytest.raises(ValueError, match=r"1 unknown: lvl_2L; get it again"):
        from_infinity({**theirs, "lvl_2L": torch.zeros(1)}, TINY, SOURCE, REMEDY)
    missing = {name: item for name, item in theirs.items() if name != "head.bias"}
    with pytest.raises(ValueError, match=r"1 missing: head.bias"):
        from_infinity(missing, TINY, SOURCE, REMEDY)
    name = "block_chunks.0.module.1.ca.proj.weight"
    with pytest.raises(ValueError, match=r"of another shape: .*ca.proj.weight \[3, 3\] instead of \[32, 32\]"):
        from_infinity({**theirs, name: torch.zeros(3, 3)}, TINY, SOURCE, REMEDY)
    with pytest.raises(ValueError, match="is no transformer of Infinity or NSARM"):
        sizes_in({"encoder.weight": torch.zeros(1)}, TINY, SOURCE, REMEDY)
    with pytest.raises(ValueError, match="do not make 8 chunks"):
        to_infinity(tiny().state_dict(), TINY)
