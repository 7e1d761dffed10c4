"""The bitwise tokenizer: published sizes and golden values, and pictures there and back."""

from pathlib import Path

import pytest
import torch

from lit_pure.config.bit_tokenizer import BitTokenizerConfig, nano, published
from lit_pure.convert.infinity_vae import from_infinity_vae
from lit_pure.models import bsq
from lit_pure.models.autoencoder import group_norm
from lit_pure.models.bit_tokenizer import BitTokenizer
from lit_pure.models.scales import tokens
from tests.golden import numbers

TINY = BitTokenizerConfig(stem=2, width=32, multipliers=[1, 1], res_blocks=1, bits=5, patch=2, sides=[1, 2, 4])
TOLERANCE = 3e-4


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def picture(height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "sizes", "downsample", "token_bits"),
    [("d14", (33.14, 48.48), 8, 56), ("d32", (45.0, 65.1), 16, 32)],
)
def test_published_tokenizers_have_the_published_sizes(
    name: str, sizes: tuple[float, float], downsample: int, token_bits: int
) -> None:
    config = published(name)
    with torch.device("meta"):
        model = BitTokenizer(config)
    assert count(model.encoder) / 1e6 == pytest.approx(sizes[0], abs=0.05)
    assert count(model.decoder) / 1e6 == pytest.approx(sizes[1], abs=0.05)
    assert (model.downsample, config.token_pixels, config.token_bits) == (downsample, 16, token_bits)


def test_nano_has_half_a_million_parameters_and_eight_scales_for_its_crops() -> None:
    model = BitTokenizer(nano())
    assert count(model) / 1e6 == pytest.approx(0.58, abs=0.005)
    assert model.grids(128, 128) == [(side, side) for side in (1, 2, 3, 4, 6, 8, 12, 16)]
    assert tokens(model.grids(128, 128)) * model.config.token_bits == 16_960


def test_other_published_sizes_differ_in_their_bits_only() -> None:
    assert [published(name).bits for name in ("d16", "d24", "d64")] == [16, 24, 64]
    assert published("d64").multipliers == published("d16").multipliers == [1, 2, 4, 4, 4]
    with pytest.raises(ValueError, match="no published tokenizer 'd15'; choose from d14, d16, d24, d32, d64"):
        published("d15")


@pytest.mark.parametrize(
    ("change", "key"), [({"width": 40}, "width"), ({"sides": [2, 2]}, "sides"), ({"multipliers": []}, "multipliers")]
)
def test_sizes_that_make_no_network_are_reported(change: dict[str, list[int]], key: str) -> None:
    assert [problem for problem, _ in BitTokenizerConfig(**change).problems()] == [key]  # type: ignore[arg-type]
    assert not list(nano().problems()) and not list(published("d32").problems())


@pytest.mark.parametrize(("channels", "groups"), [(32, 32), (96, 32), (24, 24), (72, 24), (192, 32)])
def test_norms_have_24_groups_where_32_do_not_divide(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


def test_the_autoencoder_is_the_published_one() -> None:
    config = BitTokenizerConfig(width=32, multipliers=[2, 1, 1], res_blocks=1, bits=6, patch=1)
    halves = [numbers(f"f_vae_f4_ch32_{half}") for half in ("encoder", "decoder")]
    weights = {name[2:]: item for half in halves for name, item in half.items() if name.startswith("w/")}
    model = BitTokenizer(config)
    model.load_state_dict(from_infinity_vae(weights, config, Path("golden"), ""))
    image_B3HW = halves[0]["image"].float() / 255
    torch.testing.assert_close(image_B3HW * 2 - 1, halves[0]["x"])
    torch.testing.assert_close(model.encode(image_B3HW), halves[0]["z"], rtol=0, atol=TOLERANCE)
    given = halves[1]["decoder_input"]
    torch.testing.assert_close(model.render(given) * 2 - 1, halves[1]["decoder_output"], rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(model.decode(given) * 2 - 1, halves[1]["decode_clamped"], rtol=0, atol=TOLERANCE)


def test_pictures_become_bits_of_every_scale_and_pictures_again() -> None:
    model = BitTokenizer(TINY).eval()
    features_BDhw = model.encode(picture())
    assert features_BDhw.shape == (2, 5, 8, 8) and not features_BDhw.requires_grad
    grids = model.grids(32, 32)
    bits = model.bits(features_BDhw, grids)
    assert [tuple(each.shape) for each in bits] == [(2, 5, 2, 2), (2, 5, 4, 4), (2, 5, 8, 8)]
    assert bsq.labels(bits, TINY.patch).shape == (2, 21, TINY.token_bits)
    rebuilt = model.decode_bits(bits, grids[-1])
    assert rebuilt.shape == (2, 3, 32, 32) and 0 <= float(rebuilt.min()) and float(rebuilt.max()) <= 1
    assert torch.equal(rebuilt, model.decode(model.quantize(picture(), grids).sum_BDhw))
    assert model.decode_bits(bits[:1], grids[-1]).shape == rebuilt.shape, "the first scales alone make a picture"


def test_a_picture_of_any_size_that_tokens_divide_has_a_schedule() -> None:
    model = BitTokenizer(TINY).eval()
    grids = model.grids(24, 40)
    assert grids == [(1, 1), (2, 3), (3, 5)]
    assert model.decode_bits(model.bits(model.encode(picture(24, 40)), grids), grids[-1]).shape == (2, 3, 24, 40)
    with pytest.raises(ValueError, match="33x48 px cannot be cut into tokens of 8 px; pad it"):
        model.encode(picture(33, 48))
    with pytest.raises(ValueError, match="0x8 px cannot be cut"):
        model.grids(0, 8)


def test_encoding_and_decoding_do_not_depend_on_autocast() -> None:
    model = BitTokenizer(TINY).eval()
    features_BDhw = model.encode(picture())
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(model.latents(picture()).float(), features_BDhw), "or this proves nothing"
        assert torch.equal(model.encode(picture()), features_BDhw)
        assert torch.equal(model.decode(features_BDhw), model.decode(features_BDhw).float())


def test_pixels_reach_the_encoder_through_the_bits_and_a_few_steps_learn() -> None:
    model, grids = BitTokenizer(TINY), [(1, 1), (2, 2), (4, 4)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(12):
        rebuilt, found = model(picture(), grids, torch.tensor([[True, True, True], [True, False, True]]))
        loss = (rebuilt - picture()).square().mean() + 0.025 * found.commit_loss
        optimizer.zero_grad()
        loss.backward()
        gradient = model.encoder[1].weight.grad
        assert gradient is not None and float(gradient.abs().sum()) > 0
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_the_commitment_pulls_features_to_the_codes_and_codes_nowhere() -> None:
    model, grids = BitTokenizer(TINY), [(1, 1), (4, 4)]
    found = model.quantize(picture(), grids)
    (gradient,) = torch.autograd.grad(found.commit_loss, found.features_BDhw)
    wanted = 2 * (found.features_BDhw - found.sum_BDhw) / found.sum_BDhw.numel()
    torch.testing.assert_close(gradient, wanted.detach())
