"""The key table of NSARM's transformation network: the published names and shapes are the oracle."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lit_pure.config.transformation import TransformationConfig, transformation_size
from lit_pure.convert.nsarm_map import from_nsarm_map, key_table, to_nsarm_map
from lit_pure.models.transformation import PublishedTransformation
from tests.golden import golden

SMALL = TransformationConfig(layout="raw", stem=[4, 6], widths=[8, 12], layers=[1, 2], heads=[2, 2], side=4)
PUBLISHED = transformation_size("published")


def test_names_and_shapes_are_the_published_ones() -> None:
    arrays = golden("j_keys")
    keys, sizes = arrays["map_transformer/keys"], arrays["map_transformer/shapes"]
    published = {
        f"map_transformer.{key}": tuple(int(side) for side in size.split("x"))
        for key, size in zip(keys, sizes, strict=True)
    }
    with torch.device("meta"):
        ours = PublishedTransformation(PUBLISHED, 14).state_dict()
    written = to_nsarm_map(ours, PUBLISHED, 14)
    assert {name: tuple(item.shape) for name, item in written.items()} == published
    assert from_nsarm_map(written, PUBLISHED, 14, Path("a"), "").keys() == ours.keys()


def test_names_are_as_described() -> None:
    """950 tensors: 12 in the stem; in each branch 8 of convolutions, 6 of the head, 12 a layer."""
    table = key_table(PUBLISHED, 14)
    assert len(table) == len(set(table.values())) == 12 + 7 * (8 + 6) + 12 * (4 + 6 + 8 + 10 + 12 + 14 + 16)
    assert {
        "feature_extractor.7.bias",
        "feature_transforms.6.4.weight",
        "transformers.6.layers.15.self_attn.in_proj_weight",
        "transformers.0.layers.3.linear2.bias",
        "output_projs.3.0.weight",
        "output_projs.3.1.weight",
        "output_projs.3.3.bias",
    } <= table.keys()


def test_a_converted_network_is_found_inside_the_whole_and_comes_back_bit_exact() -> None:
    network = PublishedTransformation(SMALL, 3)
    state = network.state_dict()
    theirs = to_nsarm_map(state, SMALL, 3)
    whole = {**theirs, "word_embed.weight": torch.zeros(2)}
    bare = {name.removeprefix("map_transformer."): item for name, item in theirs.items()}
    for source in (whole, bare):
        ours = from_nsarm_map(source, SMALL, 3, Path("a.pth"), "")
        assert ours.keys() == state.keys() and all(torch.equal(ours[name], state[name]) for name in state)
        PublishedTransformation(SMALL, 3).load_state_dict(ours, strict=True)


def test_every_misfit_is_refused_by_name() -> None:
    state = to_nsarm_map(PublishedTransformation(SMALL, 3).state_dict(), SMALL, 3)
    state["map_transformer.output_projs.1.3.bias"] = torch.zeros(5)
    state["map_transformer.new"] = state.pop("map_transformer.feature_extractor.0.bias")
    with pytest.raises(ValueError) as refusal:
        from_nsarm_map(state, SMALL, 3, Path("a.pth"), "download it again")
    assert str(refusal.value) == (
        "a.pth does not fit: 1 missing: feature_extractor.0.bias; 1 unknown: new; "
        "1 of another shape: output_projs.1.3.bias [5] instead of [3]; download it again"
    )
    with pytest.raises(ValueError, match="layout spatial has no official layout; NSARM's has layout: raw"):
        key_table(replace(SMALL, layout="spatial"), 3)
