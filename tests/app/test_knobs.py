"""Knobs of the page are those that a run has, and the configuration takes what they say."""

import pytest

from lit_pure.app.knobs import KNOBS, changes, choices_of, knobs_of
from lit_pure.config.compose import compose, override


def test_pure_has_all_knobs_nsarm_few():
    pure, nsarm = compose("pure/nano"), compose("nsarm/nano/stage2")
    assert set(knobs_of(pure, True)) == {
        "restoring.fidelity",
        "sampling.guidance",
        "sampling.k_max",
        "sampling.engine",
        "sampling.seed",
    }
    assert knobs_of(pure, False).keys() == knobs_of(pure, True).keys() - {"restoring.fidelity"}
    assert knobs_of(nsarm, False) == {"sampling.guidance": 1.0, "sampling.seed": 0}
    fixed = override(pure, ["sampling.top_k=fixed"])
    assert {"sampling.k", "sampling.k_max"} & set(knobs_of(fixed, True)) == {"sampling.k"}


@pytest.mark.parametrize("name", ["pure/nano", "nsarm/nano/stage2"])
def test_where_knobs_stand_changes_nothing(name):
    settings = compose(name)
    assert override(settings, changes(settings, knobs_of(settings, True))) == settings


def test_what_is_turned_is_set():
    nsarm = compose("nsarm/nano/stage2")
    turned = override(nsarm, changes(nsarm, {"sampling.guidance": 1.5, "sampling.seed": 3}))
    assert (turned.sampling.guidance, turned.sampling.seed) == ([1.5], 3)


def test_engines_are_chosen_from_the_legal_ones_and_all_else_is_a_number():
    pure = compose("pure/nano")
    words = {knob.key: choices_of(pure, knob.key) for knob in KNOBS}
    assert words.pop("sampling.engine") == ("plain", "jacobi")
    assert not any(words.values())
    nsarm = compose("nsarm/nano/stage2")
    assert not any(choices_of(nsarm, knob.key) for knob in KNOBS)


def test_an_empty_knob_is_named():
    pure = compose("pure/nano")
    with pytest.raises(ValueError, match="Seed is empty"):
        changes(pure, {"sampling.seed": None})
