"""NSARM's experiments: the published numbers, and what is refused before anything is trained."""

import pytest

from lit_pure.config.compose import ConfigError, compose
from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.families.nsarm.schedule import check_fit, tokenizer_config
from lit_pure.families.table import family_of

SIZES = ("nano", "2b", "8b")


def nsarm(name: str, *settings: str) -> NSARMExperiment:
    found = compose(name, list(settings))
    assert isinstance(found, NSARMExperiment)
    return found


@pytest.mark.parametrize("size", SIZES)
def test_each_stage_continues_the_ones_before(size: str) -> None:
    stages = {stage: nsarm(f"nsarm/{size}/{stage}") for stage in ("pretrain", "stage1", "stage2")}
    assert {name: found.stage for name, found in stages.items()} == {name: name for name in stages}
    needs = {name: found.needs.made_first() for name, found in stages.items()}
    tokenizer = {"tokenizer": f"nsarm/{size}/tokenizer"}
    assert needs["pretrain"] == needs["stage1"] == tokenizer
    earlier = {"transformer": f"nsarm/{size}/pretrain", "transformation": f"nsarm/{size}/stage1"}
    assert needs["stage2"] == tokenizer | earlier


@pytest.mark.parametrize(
    ("size", "known", "bits", "tokens"), [("nano", 4, 32, 530), ("2b", 7, 32, 10_521), ("8b", 7, 56, 10_521)]
)
def test_networks_fit_their_tokenizer(size: str, known: int, bits: int, tokens: int) -> None:
    found = nsarm(f"nsarm/{size}/stage2")
    schedule = check_fit(found, tokenizer_config(found.needs.tokenizer))
    assert (schedule.known, found.transformer.bits) == (known, bits)
    assert sum(rows * columns for rows, columns in schedule.grids) == tokens


def test_the_published_stage_2_has_no_flips_and_256_pictures_a_step() -> None:
    found = nsarm("nsarm/8b/stage2")
    trainer = found.trainer
    assert found.flips.strength == 0 and nsarm("nsarm/8b/pretrain").flips.strength == 0.3
    assert found.data.batch_size * int(trainer.devices) * trainer.num_nodes * trainer.accumulate == 256
    stage1 = nsarm("nsarm/8b/stage1")
    assert stage1.data.batch_size * int(stage1.trainer.devices) * stage1.trainer.num_nodes == 256
    assert (found.sampling.tau, found.sampling.top_p, found.sampling.guided) == ([0.5], 0.97, False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["text.width=32"], "transformer.text_width = 64 does not read text.width 32"),
        (["text.max_tokens=99"], "transformer.text_length = 16 is below text.max_tokens 99"),
        (["prefix.scales=3"], "prefix.scales = 3 for 4 branches"),
        (["stage=stage1", "prefix.source=lq"], "prefix.source = lq has nothing to train in stage1"),
        (["stage=pretrain"], "only stage2 builds on other stages"),
        (["flips.scales=16"], "flips.scales = 16 is above transformer.levels 15"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        nsarm("nsarm/nano/stage2", *settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["needs.tokenizer="], "needs.tokenizer names no run"),
        (["needs.tokenizer=tokenizer/nano"], "is of family tokenizer; name a bit_tokenizer"),
        (["transformer.bits=8"], "set transformer.bits=32"),
        (["transformer.levels=7"], "transformer.levels = 7 for 8 scales"),
        (["data.size=64"], "4 branches for 2 prefix scales"),
        (["needs.transformer="], "needs.transformer names no run"),
        (["needs.transformer=nsarm/nano/stage1"], "is of stage stage1; name an nsarm run of pretrain or stage2"),
        (["needs.transformation=dem/nano"], "is of family dem"),
        (["prefix.source=lq"], "prefix.source = lq has no such network; leave it empty"),
    ],
)
def test_what_a_stage_lacks_is_refused_with_a_remedy(settings: list[str], words: str) -> None:
    found = nsarm("nsarm/nano/stage2", *settings)
    with pytest.raises(ConfigError, match=words):
        family_of(found).check(found)
