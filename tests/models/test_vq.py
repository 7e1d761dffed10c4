"""The visual tokenizer: LlamaGen's published sizes, and the quantiser against brute force."""

import pytest
import torch

from lit_pure.config.tokenizer import VQConfig
from lit_pure.models.vq import VQTokenizer

TINY = VQConfig(stem=4, channels=[32, 64], res_blocks=1, attention=True, z_channels=16, codes=50, code_dim=4)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_vq8_has_the_published_sizes() -> None:
    with torch.device("meta"):
        model = VQTokenizer(VQConfig())
    assert model.downsample == 8
    sizes = (count(model), count(model.encoder), count(model.decoder), model.codebook_ND.numel())
    assert tuple(round(size / 1e6, 2) for size in sizes) == (70.11, 28.56, 41.42, 0.13)


def test_the_tokenizer_gives_codes_and_pictures_of_the_right_shape_and_range() -> None:
    model = VQTokenizer(TINY).eval()
    image_B3HW = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    codes_Bhw = model.encode(image_B3HW)
    assert codes_Bhw.shape == (2, 4, 6)
    assert 0 <= int(codes_Bhw.min()) and int(codes_Bhw.max()) < 50
    rebuilt = model.decode(codes_Bhw)
    assert rebuilt.shape == image_B3HW.shape
    assert 0 <= float(rebuilt.min()) and float(rebuilt.max()) <= 1
    with pytest.raises(ValueError, match="33x48 px cannot be cut into codes of 8 px"):
        model.encode(torch.rand(1, 3, 33, 48))


def test_codes_and_pictures_do_not_depend_on_autocast() -> None:
    model = VQTokenizer(TINY).eval()
    image_B3HW = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    codes_Bhw = model.encode(image_B3HW)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.nearest(model.latents(image_B3HW)).ne(codes_Bhw).any(), "or this proves nothing"
        assert torch.equal(model.encode(image_B3HW), codes_Bhw)
        assert torch.equal(model.decode(codes_Bhw), model.decode(codes_Bhw).float())


def test_the_code_is_the_nearest_entry_of_the_codebook() -> None:
    model = VQTokenizer(TINY)
    latents = torch.nn.functional.normalize(torch.randn(2, 3, 3, 4), dim=-1)
    entries = torch.nn.functional.normalize(model.codebook_ND, dim=-1)
    distances = (latents[..., None, :] - entries).square().sum(-1)
    assert torch.equal(model.nearest(latents), distances.argmin(-1))


def test_gradients_pass_straight_through_to_the_encoder() -> None:
    model = VQTokenizer(TINY)
    rebuilt, codes, codebook_loss, commit_loss = model(torch.rand(1, 3, 16, 16))
    assert torch.allclose(rebuilt, model.render(model.lookup(codes)), atol=1e-5)
    assert torch.allclose(codebook_loss, commit_loss)
    (gradient,) = torch.autograd.grad(rebuilt.sum(), [model.to_code.weight])
    assert float(gradient.abs().sum()) > 0


def test_unused_codes_restart_on_encoder_outputs() -> None:
    model = VQTokenizer(TINY)
    before = model.codebook_ND.detach().clone()
    unused = torch.zeros(50, dtype=torch.bool)
    unused[[3, 7]] = True
    latents = torch.nn.functional.normalize(torch.randn(9, 4), dim=-1)
    assert model.restart(unused, latents, torch.Generator().manual_seed(1)) == 2
    moved = model.codebook_ND.detach()
    assert torch.equal(moved[~unused], before[~unused])
    assert all(any(torch.equal(moved[i], row) for row in latents) for i in (3, 7))
