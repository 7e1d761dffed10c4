"""Degradation presets: their published values, where they lie among the layers, and what they do to a picture."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy import stats
from skimage import data as photographs

from lit_pure.config.compose import PROJECT, ConfigError, compose, degradation, load, override, save
from lit_pure.config.data import DegradationConfig
from lit_pure.degradation.kernels import DELTA
from lit_pure.degradation.numbers import Degradation
from lit_pure.degradation.pipeline import apply, draw

SHIPPED = PROJECT / "data" / "degradation"
SHAPES = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
SHARES = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
KERNELS = {
    "kernel_list": SHAPES,
    "kernel_prob": SHARES,
    "sinc_prob": 0.1,
    "kernel_list2": SHAPES,
    "kernel_prob2": SHARES,
    "sinc_prob2": 0.1,
    "final_sinc_prob": 0.8,
    "blur_kernel_size": 21,
    "blur_kernel_size2": 21,
}
PUBLISHED = {
    # Real-ESRGAN's training options, finetune_realesrgan_x4plus.yml
    "realesrgan": KERNELS
    | {
        "gt_usm": True,
        "blur_sigma": (0.2, 3),
        "betag_range": (0.5, 4),
        "betap_range": (1, 2),
        "resize_prob": (0.2, 0.7, 0.1),
        "resize_range": (0.15, 1.5),
        "gaussian_noise_prob": 0.5,
        "noise_range": (1, 30),
        "poisson_scale_range": (0.05, 3),
        "gray_noise_prob": 0.4,
        "jpeg_range": (30, 95),
        "second_blur_prob": 0.8,
        "blur_sigma2": (0.2, 1.5),
        "betag_range2": (0.5, 4),
        "betap_range2": (1, 2),
        "resize_prob2": (0.3, 0.4, 0.3),
        "resize_range2": (0.3, 1.2),
        "gaussian_noise_prob2": 0.5,
        "noise_range2": (1, 25),
        "poisson_scale_range2": (0.05, 2.5),
        "gray_noise_prob2": 0.4,
        "jpeg_range2": (30, 95),
    },
    # StableSR's v2-finetune_text_T_512.yaml; its blur_kernel_size2 of 11 is read by no line of its code
    "seesr": KERNELS
    | {
        "gt_usm": True,
        "blur_sigma": (0.2, 1.5),
        "betag_range": (0.5, 2),
        "betap_range": (1, 1.5),
        "resize_prob": (0.2, 0.7, 0.1),
        "resize_range": (0.3, 1.5),
        "gaussian_noise_prob": 0.5,
        "noise_range": (1, 15),
        "poisson_scale_range": (0.05, 2),
        "gray_noise_prob": 0.4,
        "jpeg_range": (60, 95),
        "second_blur_prob": 0.5,
        "blur_sigma2": (0.2, 1),
        "betag_range2": (0.5, 2),
        "betap_range2": (1, 1.5),
        "resize_prob2": (0.3, 0.4, 0.3),
        "resize_range2": (0.6, 1.2),
        "gaussian_noise_prob2": 0.5,
        "noise_range2": (1, 12),
        "poisson_scale_range2": (0.05, 1),
        "gray_noise_prob2": 0.4,
        "jpeg_range2": (60, 100),
    },
    # NSARM's light setting
    "realesrgan_light": KERNELS
    | {
        "gt_usm": True,
        "blur_sigma": (0.2, 3),
        "resize_prob": (0.2, 0.7, 0.1),
        "resize_range": (0.5, 1.5),
        "gaussian_noise_prob": 0.3,
        "noise_range": (1, 20),
        "poisson_scale_range": (0.05, 2),
        "gray_noise_prob": 0.2,
        "jpeg_range2": (60, 95),
    },
}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with experiments and presets of its own."""
    files = {
        "experiments/root": "data: {degradation: {preset: seesr, noise_range: [2, 3]}}\n",
        "experiments/child": "base: root\ndata: {degradation: {jpeg_range: [40, 50]}}\n",
        "experiments/other": "base: child\ndata: {degradation: {jpeg_range2: [70, 80], preset: realesrgan_light}}\n",
        "experiments/typo": "data:\n  degradation:\n    preset: bicubc\n",
        "experiments/scaled": "data: {degradation: {scale: 2}}\n",
        "data/degradation/mine": "noise_range: [5, 6]\n",
        "wrong_key": "resize_rang: [1, 2]\n",
        "wrong_type": "noise_range: much\n",
        "wrong_range": "jpeg_range: [95, 30]\n",
        "wrong_yaml": "noise_range: [1\n",
        "wrong_list": "- noise_range\n",
        "wrong_scale": "scale: 2\n",
        "wrong_chain": "preset: seesr\n",
    }
    for name, text in files.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def composed(name: str, *overrides: str) -> DegradationConfig:
    return compose(name, overrides).data.degradation


@pytest.mark.parametrize("name", PUBLISHED)
def test_degradation_presets_have_the_published_values(name: str) -> None:
    found = asdict(degradation(name))
    assert found["preset"] == name
    assert {key: found[key] for key in PUBLISHED[name]} == PUBLISHED[name]


def test_the_default_degradation_is_realesrgan() -> None:
    assert degradation("realesrgan") == DegradationConfig()
    written = yaml.safe_load((SHIPPED / "realesrgan.yaml").read_text())
    assert {"preset", "scale", *written} == set(asdict(DegradationConfig()))


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("experiment", ["pure/nano", "tokenizer/nano", "dem/nano"])
def test_every_family_takes_every_degradation_preset(path: Path, experiment: str) -> None:
    if (experiment, path.stem) == ("dem/nano", "bicubic"):
        with pytest.raises(ConfigError, match="there is nothing to estimate"):
            composed(experiment, "data.degradation.preset=bicubic")
        return
    found = composed(experiment, f"data.degradation.preset={path.stem}")
    assert found == degradation(path.stem)
    values = asdict(found)
    for key, value in yaml.safe_load(path.read_text()).items():
        assert (list(values[key]) if isinstance(values[key], tuple) else values[key]) == value


def test_a_preset_lies_below_its_own_file_and_above_the_files_before(house: Path) -> None:
    root, child, other = composed("root"), composed("child"), composed("other")
    assert (root.noise_range, root.jpeg_range) == ((2, 3), (60, 95))
    assert (child.noise_range, child.jpeg_range, child.preset) == ((2, 3), (40, 50), "seesr")
    assert other == degradation("realesrgan_light", ["jpeg_range2=[70,80]"])


def test_another_preset_leaves_nothing_of_the_one_before(house: Path) -> None:
    for name in ("bicubic", "realesrgan", "mine"):
        assert composed("child", f"data.degradation.preset={name}") == degradation(name)
    assert composed("scaled", "data.degradation.preset=seesr").scale == 2


def test_the_command_line_overrides_a_preset_in_any_order(house: Path) -> None:
    words = ["data.degradation.preset=bicubic", "data.degradation.jpeg_prob2=1"]
    assert composed("child", *words) == composed("child", *words[::-1]) == degradation("bicubic", ["jpeg_prob2=1"])
    assert composed("child", "data.degradation.preset=bicubic", "data.degradation.preset=seesr").preset == "seesr"


def test_a_preset_may_be_a_file_of_ones_own(house: Path) -> None:
    assert degradation("mine").noise_range == (5, 6)
    assert degradation(str(house / "data/degradation/mine.yaml")).noise_range == (5, 6)
    assert composed("root", "data.degradation.preset=data/degradation/mine.yaml").noise_range == (5, 6)


def test_a_saved_preset_is_not_expanded_again(house: Path) -> None:
    experiment = compose("child", ["data.degradation.preset=mine", "data.degradation.noise_range=[7,8]"])
    save(experiment, house / "config.yaml")
    (house / "data/degradation/mine.yaml").unlink()
    loaded = load(house / "config.yaml")
    assert loaded == experiment and (loaded.data.degradation.preset, loaded.data.degradation.noise_range) == (
        "mine",
        (7, 8),
    )
    assert override(loaded, ["seed=5"]).data.degradation == experiment.data.degradation
    assert override(loaded, ["data.degradation.preset=bicubic"]).data.degradation == degradation("bicubic")


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        (
            "typo",
            [],
            ["experiments/typo.yaml: ", "data.degradation.preset = 'bicubc'", "mean bicubic?", "mine"],
        ),
        ("root", ["data.degradation.preset=sesr"], ["command line: ", "'sesr'", "did you mean seesr?", "realesrgan"]),
        (
            "root",
            ["data.degradation.preset=3"],
            ["command line: ", "'3'", "there are bicubic, mine, mixed, realesrgan"],
        ),
        ("root", ["data.degradation.preset=no/such.yaml"], ["command line: ", "no/such.yaml"]),
        ("root", ["data.degradation.preset=[seesr]"], ["command line: ", "data.degradation.preset", "seesr"]),
        ("root", ["data.degradation.preset=wrong_key.yaml"], ["wrong_key.yaml: ", "resize_rang ", "resize_range?"]),
        ("root", ["data.degradation.preset=wrong_type.yaml"], ["wrong_type.yaml: ", "noise_range", "much"]),
        ("root", ["data.degradation.preset=wrong_range.yaml"], ["wrong_range.yaml: ", "jpeg_range", "[30.0, 95.0]"]),
        ("root", ["data.degradation.preset=wrong_yaml.yaml"], ["wrong_yaml.yaml: ", "not valid YAML"]),
        ("root", ["data.degradation.preset=wrong_list.yaml"], ["wrong_list.yaml: ", "expected keys and values"]),
        ("root", ["data.degradation.preset=wrong_scale.yaml"], ["wrong_scale.yaml: ", "scale = 2", "take it out"]),
        ("root", ["data.degradation.preset=wrong_chain.yaml"], ["wrong_chain.yaml: ", "preset = 'seesr'"]),
    ],
)
def test_a_mistake_in_a_preset_names_its_file_and_key(
    house: Path, name: str, overrides: list[str], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(name, overrides)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_mistake_in_a_preset_alone_is_named_without_data_degradation(house: Path) -> None:
    with pytest.raises(ConfigError, match=r"^command line: no key jpeg_rang .*; did you mean jpeg_range\?$"):
        degradation("seesr", ["jpeg_rang=[1,2]"])
    with pytest.raises(ConfigError, match=r"^command line: jpeg_range = \[95.0, 30.0\] runs backwards"):
        degradation("seesr", ["jpeg_range=[95,30]"])


def many(name: str) -> list[Degradation]:
    """A thousand degradations; the seed was chosen once."""
    rng, config = np.random.default_rng(0), degradation(name)
    return [draw(config, rng) for _ in range(1000)]


def test_the_bicubic_preset_is_pillow_s_reduction() -> None:
    photo_HW3 = photographs.astronaut()[:256, :192]
    # One channel at a time in floating point, for Pillow rounds pictures of bytes between its two passes.
    channels = [Image.fromarray(photo_HW3[..., channel].astype(np.float32)) for channel in range(3)]
    exact_3hw = np.stack([np.asarray(one.resize((48, 64), Image.Resampling.BICUBIC)) for one in channels])
    drawn = many("bicubic")[:20]
    assert {one.resize1.mode for one in drawn} == {"area", "bilinear", "bicubic"}  # each with factor 1: nothing
    for one in drawn:
        lq_3hw = apply(torch.from_numpy(photo_HW3).permute(2, 0, 1) / 255, one, 4).numpy() * 255
        assert np.abs(lq_3hw - exact_3hw.clip(0, 255)).max() < 0.51


def test_the_realesrgan_light_preset_has_one_stage() -> None:
    drawn = many("realesrgan_light")
    for one in drawn:
        assert one.quality1 is None and one.resize2 is None and one.blur2 == DELTA and one.noise2.strength == 0
        assert one.sharpen and one.blur1 != DELTA and 0.5 <= one.resize1.factor <= 1.5
        assert one.quality2 is not None and 60 <= one.quality2 <= 95
        assert one.noise1.strength <= (20 if one.noise1.kind == "gaussian" else 2)
    shares = {
        0.3: [one.noise1.kind == "gaussian" for one in drawn],
        0.2: [one.noise1.gray for one in drawn],
        0.8: [one.sinc != DELTA for one in drawn],
        0.5: [one.sinc_first for one in drawn],
    }
    for share, happened in shares.items():
        assert stats.binomtest(sum(happened), len(happened), share).pvalue > 1e-3, share


def test_the_seesr_preset_draws_kernels_of_all_sizes_for_both_blurs_and_the_sinc() -> None:
    drawn = many("seesr")
    for kernels in ([one.blur1 for one in drawn], [one.blur2 for one in drawn], [one.sinc for one in drawn]):
        assert {kernel.size for kernel in kernels if kernel != DELTA} == set(range(7, 22, 2))
    assert max(one.quality2 or 0 for one in drawn) > 99


@pytest.mark.parametrize(("name", "factor"), [("realesrgan_strong", 1.5), ("realesrgan_extreme", 2.0)])
def test_the_presets_beyond_realesrgan_stretch_its_worst_ends_and_degrade_each_draw_further(
    name: str, factor: float
) -> None:
    before, beyond = asdict(degradation("realesrgan")), asdict(degradation(name))
    stretched: dict[str, tuple[float, float]] = {}
    for stage in ("", "2"):
        for key in (f"blur_sigma{stage}", f"noise_range{stage}", f"poisson_scale_range{stage}"):
            stretched[key] = (before[key][0], before[key][1] * factor)
        for key in (f"resize_range{stage}", f"jpeg_range{stage}"):
            stretched[key] = (pytest.approx(before[key][0] / factor), before[key][1])
    assert beyond == before | stretched | {"preset": name}
    for mild, harsh in zip(many("realesrgan"), many(name), strict=True):
        assert harsh.resize1.factor <= mild.resize1.factor and harsh.noise1.strength >= mild.noise1.strength
        assert harsh.quality1 <= mild.quality1 and harsh.quality2 <= mild.quality2
        assert harsh.blur1.sigma_x >= mild.blur1.sigma_x and harsh.blur1.shape == mild.blur1.shape
