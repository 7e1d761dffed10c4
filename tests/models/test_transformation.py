"""The transformation networks: recorded values of the published one, closed forms and invariances for ours."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lit_pure.config.transformation import TransformationConfig, transformation_size
from lit_pure.convert.nsarm_map import from_nsarm_map
from lit_pure.models.transformation import (
    PublishedTransformation,
    Transformation,
    _to_map,
    _to_tokens,
    make_transformation,
    positions,
)
from tests.golden import golden, weights_of

SMALL = TransformationConfig(stem=[8, 12], widths=[8, 16, 16], layers=[1, 1, 2], heads=[2, 2, 4], dropout=0.0)
CORRECTING = replace(SMALL, predicts="correction")
RAW = replace(SMALL, layout="raw", side=8)
GRIDS = [(2, 2), (3, 4), (8, 8)]
D = 6
every_config = pytest.mark.parametrize("config", [SMALL, CORRECTING, RAW], ids=["ours", "correcting", "published"])


def given(config: TransformationConfig, batch: int = 2) -> list[Tensor] | None:
    """A baseline where the network wants one."""
    if config.predicts == "residuals":
        return None
    return [torch.randn(batch, D, *grid) for grid in GRIDS]


def awake(network: torch.nn.Module) -> None:
    """Every weight has a say, also those that begin at zero."""
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3)


# What the published network computes


def test_the_published_network_has_the_published_size() -> None:
    with torch.device("meta"):
        network = make_transformation(transformation_size("published"), 14)
    assert sum(weight.numel() for weight in network.parameters()) == 385_103_600


def test_our_networks_have_the_sizes_that_their_models_need() -> None:
    """Ours of the published widths is not larger than it; nano has the 0.61M of the trial."""
    with torch.device("meta"):
        sizes = [
            sum(weight.numel() for weight in make_transformation(transformation_size(name), channels).parameters())
            for name, channels in (("spatial", 14), ("nano", 8))
        ]
    assert 370e6 < sizes[0] < 385e6
    assert 0.58e6 < sizes[1] < 0.64e6
    with pytest.raises(ValueError, match="tiny is no size of the transformation network; choose one of published"):
        transformation_size("tiny")


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("gradients", [False, True], ids=["fused", "plain"])
def test_the_published_network_gives_the_recorded_residuals_and_bits(number: int, gradients: bool) -> None:
    """Stem and one branch of the real widths; its weights are in one file or in two."""
    arrays = golden("e_map_stem_branch1")
    state = weights_of(arrays)
    if number == 2:
        state |= weights_of(golden("e_map_branch2"))
    side, width, layers = {1: (2, 64, 4), 2: (4, 128, 6)}[number]
    config = TransformationConfig(layout="raw", widths=[width], layers=[layers], heads=[4])
    used = {name: item for name, item in state.items() if name.startswith("feature_extractor")}
    for name, item in state.items():
        part, index, rest = name.split(".", 2)
        if part != "feature_extractor" and index == str(number - 1):
            used[f"{part}.0.{rest}"] = item
    network = PublishedTransformation(config, 14).eval()
    network.load_state_dict(from_nsarm_map(used, config, 14, Path("golden"), ""))
    x_Bdhw = torch.from_numpy(arrays["x"])
    with torch.set_grad_enabled(gradients):
        (residual_Bdhw,) = network(x_Bdhw, [(side, side)])
        stem_Bdhw = network.stem(x_Bdhw[:1])
    tokens_BTd = _to_tokens(residual_Bdhw, "raw")
    as_spatial_Bdhw = _to_map(tokens_BTd, (side, side), "spatial")
    torch.testing.assert_close(stem_Bdhw, torch.from_numpy(arrays["stem"]), atol=3e-5, rtol=0)
    torch.testing.assert_close(tokens_BTd, torch.from_numpy(arrays[f"out_{number}"]), atol=3e-5, rtol=0)
    for layout, map_Bdhw in (("raw", residual_Bdhw), ("token", as_spatial_Bdhw)):
        bits = torch.from_numpy(arrays[f"bits_{layout}_layout_{number}"]).bool()
        assert torch.equal((map_Bdhw > 0).movedim(1, -1), bits)


def test_pooling_gives_the_recorded_averages() -> None:
    arrays = golden("e_map_pooling")
    for name in arrays.keys() - {"x"}:
        side = int(name.removeprefix("pool_"))
        pooled = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(arrays["x"]), (side, side))
        torch.testing.assert_close(pooled, torch.from_numpy(arrays[name]), atol=5e-6, rtol=0)


def test_the_published_network_without_transformer_is_its_convolutions_by_hand() -> None:
    """Joint norms over channels and positions, averages of cells, head; without layers nothing else is left."""
    config = TransformationConfig(layout="raw", stem=[3], widths=[4], layers=[0], heads=[1], side=4)
    network = PublishedTransformation(config, 2)
    awake(network)
    x = torch.randn(1, 2, 4, 4)
    expected = x
    for layers in (network.stem, network.get_submodule("branches.0.convolutions")):
        for conv, norm in zip(list(layers)[::3], list(layers)[1::3], strict=True):
            expected = torch.nn.functional.conv2d(expected, conv.weight, conv.bias, padding=1)
            variance = expected.var(correction=0)
            expected = (expected - expected.mean()) / (variance + 1e-5).sqrt() * norm.weight + norm.bias
            expected = expected * 0.5 * (1 + torch.erf(expected / 2**0.5))
    cells = torch.stack([part.mean((2, 3)) for part in expected.split(2, dim=3)], dim=1)  # grid (1, 2)
    wanted = network.get_submodule("branches.0.head")(cells)
    (found,) = network(x, [(1, 2)])
    torch.testing.assert_close(found.reshape(1, 2, 2), wanted, atol=1e-5, rtol=1e-5)


# Tokens and maps


@pytest.mark.parametrize("layout", ["raw", "spatial"])
def test_tokens_become_the_map_that_they_were_made_of(layout) -> None:
    map_Bdhw = torch.randn(2, 5, 3, 4)
    tokens_BTd = _to_tokens(map_Bdhw, layout)
    assert tokens_BTd.shape == (2, 12, 5)
    assert torch.equal(_to_map(tokens_BTd, (3, 4), layout), map_Bdhw)


def test_a_raw_token_is_a_run_of_memory_and_a_spatial_one_a_position() -> None:
    map_1dhw = torch.arange(12.0).reshape(1, 3, 2, 2)
    assert _to_tokens(map_1dhw, "raw")[0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert _to_tokens(map_1dhw, "spatial")[0].tolist() == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]


def test_the_recorded_raw_view_of_the_first_target_is_ours() -> None:
    """The residual of the first scale is the latent, averaged over quarters."""
    arrays = golden("b_stage2_relabel")
    first_Bdhw = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(arrays["F"]), (2, 2))
    recorded_BTd = torch.from_numpy(arrays["target_residual_raw_1"])
    torch.testing.assert_close(_to_map(recorded_BTd, (2, 2), "raw"), first_Bdhw, atol=5e-6, rtol=0)


def test_positions_are_sines_and_cosines_of_cell_centres() -> None:
    """The shortest wave has 2 pi cells of the latent; halving a grid leaves the centre of the whole where it was."""
    places_TD = positions((2, 3), (4, 12), 8, torch.device("cpu")).reshape(2, 3, 8)
    rows, columns = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 6.0, 10.0])
    torch.testing.assert_close(places_TD[:, 1, 0], rows.sin())
    torch.testing.assert_close(places_TD[:, 1, 2], rows.cos())
    torch.testing.assert_close(places_TD[1, :, 4], columns.sin())
    torch.testing.assert_close(places_TD[1, :, 7], (columns / 100).cos())
    assert torch.equal(
        positions((1, 1), (4, 12), 8, torch.device("cpu"))[0],
        positions((1, 3), (4, 12), 8, torch.device("cpu"))[1],
    )


# Ours


@every_config
def test_residuals_have_the_sizes_of_their_grids(config: TransformationConfig) -> None:
    network = make_transformation(config, D)
    residuals = network(torch.randn(2, D, 8, 8), GRIDS, given(config))
    assert [tuple(item.shape) for item in residuals] == [(2, D, *grid) for grid in GRIDS]


@pytest.mark.parametrize(("size", "grids"), [
    ((9, 4), [(2, 1), (5, 2), (9, 4)]),
    ((3, 17), [(1, 5), (2, 9), (3, 17)]),
    ((1, 1), [(1, 1), (2, 2), (3, 3)]),
    ((36, 27), [(4, 3), (8, 6), (36, 27)]),
])  # fmt: skip
@pytest.mark.parametrize("config", [SMALL, CORRECTING], ids=["ours", "correcting"])
def test_any_size_of_latent_and_any_grids_work(config: TransformationConfig, size, grids) -> None:
    network = Transformation(config, D).eval()
    baseline = [torch.randn(2, D, *grid) for grid in grids] if config is CORRECTING else None
    residuals = network(torch.randn(2, D, *size), grids, baseline)
    assert [tuple(item.shape) for item in residuals] == [(2, D, *grid) for grid in grids]
    assert all(item.isfinite().all() for item in residuals)


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_a_correction_starts_at_exactly_its_baseline(autocast: bool) -> None:
    network = Transformation(replace(CORRECTING, dropout=0.5), D)
    baseline = given(CORRECTING)
    assert baseline is not None
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        residuals = network(torch.randn(2, D, 5, 7), GRIDS, baseline)
    assert all(torch.equal(one, other) for one, other in zip(residuals, baseline, strict=True))


def test_a_correction_leaves_its_baseline_from_the_first_step_on() -> None:
    network = Transformation(CORRECTING, D)
    latent_Bdhw, baseline = torch.randn(2, D, 8, 8), given(CORRECTING)
    assert baseline is not None
    target = [item + 0.1 for item in baseline]
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0)
    losses = []
    for _ in range(30):
        residuals = network(latent_Bdhw, GRIDS, baseline)
        loss = torch.stack([(a - b).square().mean() for a, b in zip(residuals, target, strict=True)]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(0.01)
    assert losses[-1] < 0.002


def test_a_correction_sees_its_baseline() -> None:
    network = Transformation(CORRECTING, D).eval()
    awake(network)
    latent_Bdhw, zeros = torch.randn(1, D, 8, 8), [torch.zeros(1, D, *grid) for grid in GRIDS]
    ones = [torch.ones(1, D, *grid) for grid in GRIDS]
    with torch.no_grad():
        corrections = [network(latent_Bdhw, GRIDS, given)[1] - given[1] for given in (zeros, ones)]
    assert (corrections[0] - corrections[1]).abs().max() > 0.01


@every_config
def test_the_gradient_reaches_every_branch_and_every_weight(config: TransformationConfig) -> None:
    network = make_transformation(config, D)
    awake(network)
    residuals = network(torch.randn(2, D, 8, 8), GRIDS, given(config))
    sum((item * torch.randn_like(item)).sum() for item in residuals).backward()  # type: ignore[union-attr]
    # A bias before a joint norm, or one of keys, shifts what is then compared: its gradient may be small, not absent.
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


@every_config
def test_gradients_equal_finite_differences(config: TransformationConfig) -> None:
    network = make_transformation(config, D).double()
    awake(network)
    latent_Bdhw = torch.randn(1, D, 8, 8, dtype=torch.float64, requires_grad=True)
    baseline = given(config, batch=1)
    doubles = None if baseline is None else [item.double() for item in baseline]

    def loss(latent: Tensor) -> Tensor:
        return torch.stack([item.sin().sum() for item in network(latent, GRIDS, doubles)]).sum()

    (slope,) = torch.autograd.grad(loss(latent_Bdhw), latent_Bdhw)
    direction, step = torch.randn_like(latent_Bdhw), 1e-6
    with torch.no_grad():
        moved = (loss(latent_Bdhw + step * direction) - loss(latent_Bdhw - step * direction)) / (2 * step)
    assert (slope * direction).sum().item() == pytest.approx(moved.item(), rel=1e-5)


def test_one_picture_says_nothing_about_another_and_positions_matter() -> None:
    network = Transformation(SMALL, D).eval()
    awake(network)
    latent_Bdhw = torch.randn(3, D, 8, 8)
    with torch.no_grad():
        whole = network(latent_Bdhw, GRIDS)
        alone = network(latent_Bdhw[1:2], GRIDS)
        flat = network(torch.zeros(1, D, 8, 8), GRIDS)
    for one, other in zip(alone, whole, strict=True):
        torch.testing.assert_close(one, other[1:2], atol=1e-4, rtol=1e-4)
    middle = flat[2][0, :, 2:6, 2:6]  # beyond the reach of the convolutions' borders
    assert (middle - middle.mean((1, 2), keepdim=True)).abs().max() > 0.01


# Refusals


def test_what_does_not_fit_is_refused_with_a_remedy() -> None:
    latent_Bdhw = torch.randn(1, D, 8, 8)
    with pytest.raises(ValueError, match=r"2 prefix scales for 3 branches; give the first 3 scales"):
        Transformation(SMALL, D)(latent_Bdhw, GRIDS[:2])
    with pytest.raises(ValueError, match="an LQ latent of 8x9 does not fit .* takes 8x8; resize the LQ picture, or"):
        PublishedTransformation(RAW, D)(torch.randn(1, D, 8, 9), GRIDS)
    with pytest.raises(ValueError, match="correction needs the residuals of the enlarged LQ picture"):
        Transformation(CORRECTING, D)(latent_Bdhw, GRIDS)
    with pytest.raises(ValueError, match="predicts residuals takes no baseline"):
        Transformation(SMALL, D)(latent_Bdhw, GRIDS, given(CORRECTING, 1))
    with pytest.raises(ValueError, match=r"baseline of sizes \[\(2, 2\), \(3, 4\), \(8, 7\)\]"):
        baseline = [torch.zeros(1, D, *grid) for grid in [*GRIDS[:2], (8, 7)]]
        Transformation(CORRECTING, D)(latent_Bdhw, GRIDS, baseline)


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"widths": [8, 16]}, "widths"),
        ({"widths": [8, 16, 18]}, "widths"),
        ({"heads": [2, 3, 4]}, "heads"),
        ({"stem": []}, "stem"),
        ({"layout": "raw", "predicts": "correction"}, "predicts"),
    ],
)
def test_impossible_sizes_are_reported(changed, key) -> None:
    assert key in dict(replace(SMALL, **changed).problems())
    assert not dict(SMALL.problems())
