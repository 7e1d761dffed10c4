"""Which metrics are measured: by request and by protocol; which are left out and why; which are refused."""

import sys
from pathlib import Path

import pytest

from lit_pure.config.compose import ConfigError, compose
from lit_pure.config.data import PhotosConfig
from lit_pure.config.pure import PureExperiment
from lit_pure.metrics.choice import choose, choose_for_run, metrics_without_truth
from lit_pure.metrics.files import MissingWeights, path_of
from lit_pure.metrics.protocols import protocol
from lit_pure.metrics.table import METRICS


def test_by_default_metrics_that_need_no_download_are_chosen() -> None:
    choice = choose(with_target=True)
    assert choice.metrics == ("psnr", "ssim", "niqe") and not choice.left_out and choice.border == 0
    assert choice.labels == {"psnr": "PSNR", "ssim": "SSIM", "niqe": "NIQE"}


def test_without_true_pictures_only_no_reference_metrics_are_chosen() -> None:
    choice = choose(with_target=False)
    assert choice.metrics == ("niqe",) and list(choice.left_out) == ["psnr", "ssim"]
    assert all("--target" in reason for reason in choice.left_out.values())
    with pytest.raises(ConfigError, match="^psnr, fid: true pictures are needed;.* --target, or .* niqe, musiq"):
        choose(["niqe", "psnr", "fid"], with_target=False)


def test_a_protocol_names_metrics_labels_and_border(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = protocol("pure")
    choice = choose(protocol="pure", with_target=True, missing="skip")
    assert {*choice.metrics, *choice.left_out} == set(rules.metrics.values()) and choice.protocol == "pure"
    assert choice.labels == {key: label for label, key in rules.metrics.items()} and choice.border == rules.border
    own = tmp_path / "data" / "protocols" / "cut.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("title: x\ncolor: Y\nborder: 4\nmetrics: {Fidelity: psnr}\nweights: {}\nnotes: []\n")
    monkeypatch.chdir(tmp_path)
    choice = choose(protocol="cut", with_target=True)
    assert choice.metrics == ("psnr",) and choice.labels == {"psnr": "Fidelity"} and choice.border == 4
    mine = choose(["ssim", "psnr", "ssim"], "cut", with_target=True)
    assert mine.metrics == ("ssim", "psnr") and mine.border == 4


def test_a_choice_without_weights_is_refused_or_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch.hub", raising=False)
    with pytest.raises(MissingWeights, match="lit-pure weights metrics --metrics lpips,musiq"):
        choose(["psnr", "lpips", "musiq"], with_target=True)
    choice = choose(["psnr", "lpips", "musiq"], with_target=True, missing="skip")
    assert choice.metrics == ("psnr",) and list(choice.left_out) == ["lpips", "musiq"]
    assert choice.labels["lpips"] == "LPIPS"
    assert choice.left_out["musiq"] == "weights are missing; get them: lit-pure weights metrics --metrics lpips,musiq"
    with pytest.raises(ConfigError, match="nothing to measure: musiq: weights are missing"):
        choose(["musiq"], with_target=False, missing="skip")


def test_a_misspelled_metric_or_protocol_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no such metric: psrn; did you mean psnr"):
        choose(["psrn"], with_target=True)
    with pytest.raises(ConfigError, match="no such protocol: pur; did you mean pure"):
        choose(protocol="pur", with_target=True)


def experiment(metrics: str, **sets: PhotosConfig) -> PureExperiment:
    made = compose("demo", [f"evaluation.metrics={metrics}"])
    assert isinstance(made, PureExperiment)
    made.data.test = sets
    return made


def test_a_run_whose_test_sets_no_metric_can_measure_is_refused() -> None:
    sets = {"web": PhotosConfig(source="", lq="a"), "phone": PhotosConfig(source="", lq="b")}
    with pytest.raises(ConfigError, match=r"evaluation.metrics: psnr, ssim need .* no test set \(phone, web\) has"):
        choose_for_run(experiment("[psnr,ssim]", **sets))
    both = experiment("[psnr,niqe]", **sets)
    choice = choose_for_run(both)
    assert choice.metrics == ("psnr", "niqe"), "validation has the true pictures"
    assert metrics_without_truth(both, choice) == ["psnr"]
    paired = experiment("[psnr]", web=sets["web"], phone=PhotosConfig(source="c", lq="b"))
    assert metrics_without_truth(paired, choose_for_run(paired)) == []


def test_damaged_weights_of_a_metric_are_named_before_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch.hub", raising=False)
    wanted = experiment("[psnr,musiq]")
    damaged = path_of(METRICS["musiq"].files[0])
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"half")
    with pytest.raises(ValueError, match="which musiq reads, is damaged .*lit-pure weights metrics --metrics musiq"):
        choose_for_run(wanted)
