"""The table agrees with the configuration and with what pyiqa says of itself."""

import importlib
from typing import get_args

import pytest
import torchvision

from lit_pure.config.experiment import MetricName
from lit_pure.metrics.table import METRICS, info_of


def test_the_metrics_of_the_configuration_are_those_of_the_table() -> None:
    assert set(METRICS) == set(get_args(MetricName))


def test_directions_and_references_of_metrics_are_those_of_pyiqa() -> None:
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    for key, info in METRICS.items():
        theirs = DEFAULT_CONFIGS[info.pyiqa_name]
        assert info.higher_is_better != theirs.get("lower_better", False), key
        assert info.of_sets or info.needs_reference == (theirs["metric_mode"] == "FR"), key
        assert info.key == key and info.label and info.range[0] < info.range[1]
    assert [key for key, info in METRICS.items() if info.of_sets] == ["fid"]
    assert len({info.label for info in METRICS.values()}) == len(METRICS)


PYIQA = {
    "lpips": [("lpips", "0.1_alex")],
    "lpips-vgg": [("lpips", "0.1_vgg")],
    "dists": [("dists", "url")],
    "musiq": [("musiq", "koniq10k")],
    "musiq-spaq": [("musiq", "spaq")],
    "musiq-paq2piq": [("musiq", "paq2piq")],
    "musiq-ava": [("musiq", "ava")],
    "maniqa": [("maniqa", "koniq")],
    "maniqa-pipal": [("maniqa", "pipal")],
    "maniqa-kadid": [("maniqa", "kadid")],
    "clipiqa+": [("clipiqa", "clipiqa+")],
    "topiq": [("topiq", "cfanet_nr_koniq_res50")],
    "topiq-spaq": [("topiq", "cfanet_nr_spaq_res50")],
    "topiq-flive": [("topiq", "cfanet_nr_flive_res50")],
}
"""Where pyiqa keeps the addresses of its own files: module and name."""


def test_weight_files_of_metrics_are_those_that_pyiqa_and_torchvision_ask_for() -> None:
    from pyiqa.archs.clip_model import _MODELS
    from pyiqa.archs.inception import FID_WEIGHTS_URL

    addresses = {file.url for info in METRICS.values() for file in info.files} - {""}
    known = {_MODELS["RN50"], FID_WEIGHTS_URL}
    known |= {torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url, torchvision.models.VGG16_Weights.IMAGENET1K_V1.url}
    for key, wanted in PYIQA.items():
        for module, name in wanted:
            theirs = importlib.import_module(f"pyiqa.archs.{module}_arch").default_model_urls[name]
            assert theirs in [file.url for file in METRICS[key].files]
            known.add(theirs)
    assert addresses == known
    for file in (file for info in METRICS.values() for file in info.files):
        assert file.sha256 or file.name in ("ckpt_koniq10k.pt", "ckpt_kadid10k.pt")
        assert file.place in ("clip", "basicsr") or not file.sha256 or f"-{file.sha256}." in file.name


def test_an_unknown_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="no such metric: topiqq; did you mean topiq?"):
        info_of("topiqq")
    with pytest.raises(ValueError, match="no such metric: x; there are psnr, ssim, niqe"):
        info_of("x")
