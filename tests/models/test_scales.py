"""Schedules: the published sums of tokens, pixels and grids, and what other schedules follow from."""

import pytest

from lit_pure.models.scales import (
    BUDGETS,
    TEMPLATES,
    cover,
    fitting_grids,
    latent_grids,
    nearest_template,
    prefix_length,
    spans,
    stretched,
    tokens,
)
from tests.golden import grids_of, numbers

TOKENS = {
    1.0: (521, 2521, 6425, 10521),
    1.25: (614, 2814, 6854, 10774),
    1.333: (665, 2657, 7085, 10973),
    1.5: (533, 2759, 6941, 10997),
    1.75: (472, 2628, 7220, 11252),
    2.0: (451, 2681, 7219, 11269),
    2.5: (555, 2555, 6805, 10805),
    3.0: (509, 2588, 7016, 11123),
}
TRANSPOSED = {1.25: 0.8, 1.333: 0.75, 1.5: 0.666, 1.75: 0.571, 2.0: 0.5, 2.5: 0.4, 3.0: 0.333}


@pytest.mark.parametrize("ratio", TOKENS)
def test_every_template_has_the_published_sums_of_tokens_and_so_has_its_transpose(ratio: float) -> None:
    template = TEMPLATES[ratio]
    assert tuple(tokens(template.schedule(budget)) for budget in BUDGETS) == TOKENS[ratio]
    assert template.grids[:2] == ((1, 1), (2, 2)) and len(template.grids) == 13
    height, width = template.grids[-1]
    assert height / width == pytest.approx(ratio, abs=1e-3)
    lying = TEMPLATES[TRANSPOSED.get(ratio, 1.0)]
    assert lying.grids == tuple((columns, rows) for rows, columns in template.grids)


def test_there_are_fifteen_templates_and_square_pictures_have_the_published_sides() -> None:
    assert len(TEMPLATES) == 15 and set(TEMPLATES) == {*TOKENS, *TRANSPOSED.values()}
    assert [TEMPLATES[1.0].size(budget) for budget in BUDGETS] == [(side, side) for side in (256, 512, 768, 1024)]
    assert TEMPLATES[0.571].size("0.25M", token_pixels=8) == (192, 336)
    with pytest.raises(ValueError, match="no pixel budget '2M'; choose from 0.06M, 0.25M, 0.60M, 1M"):
        TEMPLATES[1.0].schedule("2M")


def test_templates_are_the_published_ones() -> None:
    known = numbers("c_rope_and_schedules")
    assert list(TEMPLATES) == known["templates"].tolist()
    assert list(BUDGETS.values()) == known["n_scales"].tolist()
    for ratio, template in TEMPLATES.items():
        assert list(template.grids) == grids_of(known[f"grid_{ratio}"])
        for budget in BUDGETS:
            assert list(template.size(budget)) == known[f"pixels_{ratio}_{budget}"].tolist()


@pytest.mark.parametrize(
    ("height", "width", "ratio"),
    [(1024, 1024, 1.0), (481, 321, 1.5), (321, 481, 0.666), (300, 270, 1.0), (9, 8, 1.0), (1, 1000, 0.333), (7, 1, 3)],
)
def test_a_picture_gets_the_nearest_template(height: int, width: int, ratio: float) -> None:
    assert nearest_template(height, width).ratio == ratio


def test_a_picture_without_pixels_has_no_template() -> None:
    with pytest.raises(ValueError, match="0 x 5 has no aspect ratio"):
        nearest_template(0, 5)


def test_a_picture_is_resized_until_it_covers_and_cropped_at_the_centre() -> None:
    assert cover(100, 200, (256, 256)) == ((256, 512), (0, 128))
    assert cover(481, 321, (1248, 832)) == ((1248, 832), (0, 0))
    for height in range(1, 60):
        for width in range(1, 60):
            resized, corner = cover(height, width, (48, 80))
            assert all(own >= wanted for own, wanted in zip(resized, (48, 80), strict=True))
            assert 48 in resized[:1] or resized[1] == 80, "no larger than needed"
            assert corner == ((resized[0] - 48) // 2, (resized[1] - 80) // 2)


def test_squares_take_the_sides_up_to_their_own_and_other_grids_stretch_them() -> None:
    sides = [1, 2, 3, 4, 6, 8, 12, 16]
    assert fitting_grids(sides, (16, 16)) == [(side, side) for side in sides]
    assert tokens(fitting_grids(sides, (16, 16))) == 530
    assert fitting_grids(sides, (4, 4)) == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert fitting_grids(sides, (8, 2)) == [(2, 1), (4, 1), (6, 2), (8, 2)]
    assert fitting_grids([4, 8], (1, 1)) == [(1, 1)]
    assert fitting_grids(sides, (40, 30))[-1] == (40, 30)
    assert stretched([(1, 1), (2, 2), (4, 4)], (6, 4)) == [(2, 1), (3, 2), (6, 4)]


def test_cells_and_places_of_scales() -> None:
    schedule = [(1, 1), (2, 3), (4, 5)]
    assert latent_grids(schedule, 2) == [(2, 2), (4, 6), (8, 10)]
    assert spans(schedule) == [slice(0, 1), slice(1, 7), slice(7, 27)]


def test_the_prefix_is_what_fits_into_the_lq_pictures_latent() -> None:
    found = {}
    for ratio in TOKENS:
        height, width = (side // 4 for side in TEMPLATES[ratio].size())
        if height % 8 == width % 8 == 0:
            found[ratio] = prefix_length(latent_grids(TEMPLATES[ratio].grids, 2), (height // 8, width // 8))
    assert found == {1.0: 7, 1.25: 6, 1.333: 6, 1.5: 6, 1.75: 7, 2.5: 7}, "2 and 3 are no multiples of 8 px"
    assert prefix_length([(1, 1), (2, 2)], (2, 2)) == 2
