"""The decoder that sees the photograph: what it looks at, how far, and that fidelity 0 is codes alone."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lit_pure.config.tokenizer import PhotoDecoderConfig, VQConfig
from lit_pure.models.photo_decoder import Enlarge, PhotoDecoder, Sharpen, Transformation
from lit_pure.models.vq import VQTokenizer

SMALL = PhotoDecoderConfig(channels=[16, 12, 8, 8], blocks=[1, 1, 0, 1], photo_channels=[8, 8], photo_blocks=1)
TOKENIZER = VQConfig(stem=4, channels=[32, 32], res_blocks=1, attention=False, z_channels=8, codes=20, decoder=SMALL)


def decoder(sharpen: float = 0.0) -> PhotoDecoder:
    """With transformations that do something, in float64."""
    torch.manual_seed(0)
    made = PhotoDecoder(8, 8, replace(SMALL, sharpen=sharpen))
    for part in made.modules():
        if isinstance(part, Transformation):
            torch.nn.init.normal_(part.out.weight, 0, 0.1)
    torch.nn.init.normal_(made.detail.weight, 0, 0.1)
    return made.double()


def inputs(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    return (
        torch.randn(1, 8, rows, columns, generator=rng, dtype=torch.float64),
        torch.rand(1, 3, rows * 8, columns * 8, generator=rng, dtype=torch.float64),
    )


def test_fidelity_0_is_codes_alone_and_more_of_it_moves_the_picture_further() -> None:
    made, (z, photo) = decoder(), inputs(3, 4)
    alone = made(z)
    assert alone.shape == (1, 3, 24, 32)
    moved = [float((made(z, photo, torch.tensor([w])) - alone).abs().mean()) for w in (0.0, 0.5, 1.0)]
    assert moved[0] == 0 and 0 < moved[1] < moved[2]


def test_training_begins_between_codes_alone_and_the_photograph_itself() -> None:
    torch.manual_seed(0)
    made, (z, photo) = PhotoDecoder(8, 8, SMALL).double(), inputs(3, 3)
    assert torch.equal(made(z, photo, torch.ones(1)), photo)
    torch.testing.assert_close(made(z, photo, torch.tensor([0.25])), 0.75 * made(z) + 0.25 * photo)


@pytest.mark.parametrize("sharpen", [0.0, 1.0])
def test_a_part_with_its_context_is_the_part_of_the_whole(sharpen: float) -> None:
    made, one = decoder(sharpen), torch.ones(1)
    margin = made.context
    z, photo = inputs(2 * margin + 3, 2 * margin + 4)
    whole = made(z, photo, one)
    rows, columns = slice(margin, margin + 2), slice(margin + 1, margin + 3)
    around = [slice(part.start - margin, part.stop + margin) for part in (rows, columns)]
    pixels = [slice(part.start * 8, part.stop * 8) for part in around]
    part = made(z[..., around[0], around[1]], photo[..., pixels[0], pixels[1]], one)
    inner = slice(margin * 8, margin * 8 + 16)
    expected = whole[..., rows.start * 8 : rows.stop * 8, columns.start * 8 : columns.stop * 8]
    torch.testing.assert_close(part[..., inner, inner], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sharpen", [0.0, 1.0])
def test_the_context_is_as_far_as_a_pixel_depends_on_anything(sharpen: float) -> None:
    made, one = decoder(sharpen), torch.ones(1)
    side = 2 * made.context + 3
    z, photo = (item.requires_grad_() for item in inputs(side, side))
    middle = side // 2 * 8
    made(z, photo, one)[..., middle, middle].sum().backward()
    assert z.grad is not None and photo.grad is not None
    cells = z.grad.abs().sum((0, 1, 3)).nonzero().flatten() - side // 2
    pixels = photo.grad.abs().sum((0, 1, 3)).nonzero().flatten() - middle
    reach = max(int(cells.abs().max()), -(-int(pixels.abs().max()) // 8))
    assert reach == made.context


def test_all_pixels_of_a_cell_start_alike() -> None:
    made = decoder()
    middle = slice(made.context * 8, made.context * 8 + 8)  # as far from the edges as it sees
    side = 2 * made.context + 1
    flat = made(torch.ones(1, 8, side, side, dtype=torch.float64))[..., middle, middle]
    assert float(flat.std((-2, -1)).max()) < 1e-12, "no lattice before training"


def test_the_tokenizer_refuses_a_photograph_that_it_cannot_see() -> None:
    torch.manual_seed(0)
    model = VQTokenizer(TOKENIZER).eval()
    codes, photo = torch.zeros(1, 4, 4, dtype=torch.long), torch.rand(1, 3, 32, 32)
    assert model.sees_photo and model.context == model.decoder.context  # type: ignore[union-attr]
    assert torch.equal(model.decode(codes, photo, 0.0), model.decode(codes))
    with pytest.raises(ValueError, match=r"fidelity 0.5 needs a decoder that sees the photograph"):
        model.decode(codes, None, 0.5)
    plain = VQTokenizer(VQConfig(stem=4, channels=[32, 32], attention=False, codes=20))
    assert not plain.sees_photo and plain.context is None
    with pytest.raises(ValueError, match="takes codes alone"):
        plain.decode(codes, photo, 0.5)


def test_starting_from_another_tokenizer_keeps_its_codes_and_trains_the_decoder_alone() -> None:
    torch.manual_seed(0)
    old = VQTokenizer(VQConfig(stem=4, channels=[32, 32], res_blocks=1, attention=False, z_channels=8, codes=20))
    new = VQTokenizer(TOKENIZER)
    new.start_from(old, keep_codes=True)
    image = torch.rand(2, 3, 32, 32)
    assert torch.equal(new.encode(image), old.encode(image))
    trained = {name.partition(".")[0] for name, item in new.named_parameters() if item.requires_grad}
    assert trained == {"decoder", "from_code"}
    other = VQTokenizer(VQConfig(stem=4, channels=[32, 64], res_blocks=1, attention=False, z_channels=8, codes=20))
    with pytest.raises(ValueError, match="needs.start has another encoder"):
        new.start_from(other, keep_codes=True)


def test_cells_are_enlarged_by_a_share_of_nearest_and_bilinear_ones() -> None:
    impulse = torch.zeros(1, 1, 5, 5)
    impulse[..., 2, 2] = 1
    box, tent = torch.zeros(10), torch.zeros(10)
    box[4:6], tent[3:7] = 1, torch.tensor([0.25, 0.75, 0.75, 0.25])
    nearest, bilinear = box[:, None] * box, tent[:, None] * tent
    for share in (1.0, 2 / 3, 0.0):
        torch.testing.assert_close(Enlarge(share)(impulse)[0, 0], share * nearest + (1 - share) * bilinear)


@pytest.mark.parametrize(("sharpen", "last"), [(0.0, 2 / 3), (1.0, 0.0)])
def test_a_decoder_that_sharpens_has_no_nearest_pixels(sharpen: float, last: float) -> None:
    made = PhotoDecoder(8, 8, replace(TOKENIZER.decoder, sharpen=sharpen))
    assert [each[0].nearest for each in made.enlarge] == [1.0, 1.0, last]  # type: ignore[index]


def test_sharpening_leaves_slopes_and_doubles_the_finest_pattern() -> None:
    """In closed form: the binomial filter keeps what is linear, and has no answer at the highest frequency."""
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    slope = (0.1 * rows + 0.02 * columns)[None, None]
    checks = ((-1) ** (rows + columns))[None, None]
    inside = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(Sharpen(1.0)(slope)[inside], slope[inside])
    torch.testing.assert_close(Sharpen(1.0)(checks)[inside], 2 * checks[inside])
    flat = torch.full((1, 3, 4, 4), 0.3)
    torch.testing.assert_close(Sharpen(0.7)(flat), flat)
