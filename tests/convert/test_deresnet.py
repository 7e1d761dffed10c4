"""DEResNet's layout: a second reading of its published description, with basicsr's residual block, is the oracle."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lit_pure.bench.basicsr_import import load_basicsr
from lit_pure.config.dem import DemConfig
from lit_pure.convert.deresnet import from_deresnet, key_table, read_deresnet, to_deresnet, write_deresnet
from lit_pure.degradation.dem import DegradationEstimator

SMALL = DemConfig(features=[4, 4, 6], blocks=[1, 2, 1], downscales=[1, 2, 1])


class Described(nn.Module):
    """Two networks side by side: first convolution, stages of residual blocks, pooling, two linear layers, sigmoid.

    Between stages stands a convolution where the width changes or the stride is 2.
    """

    def __init__(self, config: DemConfig) -> None:
        super().__init__()
        load_basicsr()
        from basicsr.archs.arch_util import ResidualBlockNoBN

        self.conv_first = nn.ModuleList(nn.Conv2d(3, config.features[0], 3, 1, 1) for _ in range(2))
        self.body, self.fc_degree = nn.ModuleList(), nn.ModuleList()
        last = len(config.features) - 1
        for _ in range(2):
            layers: list[nn.Module] = []
            for stage, width in enumerate(config.features):
                layers.extend(ResidualBlockNoBN(width) for _ in range(config.blocks[stage]))
                wider = config.features[min(stage + 1, last)]
                if config.downscales[stage] == 2 or width != wider:
                    layers.append(nn.Conv2d(width, wider, 3, config.downscales[stage], 1))
            self.body.append(nn.Sequential(*layers))
            self.fc_degree.append(nn.Sequential(nn.Linear(config.features[-1], 512), nn.ReLU(), nn.Linear(512, 1)))

    def forward(self, lq_B3hw: Tensor) -> Tensor:
        parts = zip(self.conv_first, self.body, self.fc_degree, strict=True)
        scores = [fc(body(first(lq_B3hw)).mean((2, 3))).sigmoid() for first, body, fc in parts]
        return torch.cat(scores, dim=1)


@pytest.fixture
def described() -> Described:
    """Random weights large enough that every layer has a say."""
    torch.manual_seed(0)
    model = Described(SMALL).eval()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.3)
    return model


def test_a_read_deresnet_computes_what_its_description_does(described: Described, tmp_path: Path) -> None:
    lq_B3hw = torch.rand(3, 3, 20, 13)
    whole = {f"de_net.{name}": item for name, item in described.state_dict().items()}
    other = {"conv_first.weight": torch.zeros(2, 3), "am_list.0.fc.0.bias": torch.zeros(5)}
    zeros = {name: torch.zeros_like(item) for name, item in whole.items()}
    torch.save({"params_ema": zeros, "params": {**other, **whole}}, tmp_path / "all.pth")
    torch.save({"params_ema": described.state_dict()}, tmp_path / "alone.pth")
    torch.save(described.state_dict(), tmp_path / "bare.pth")
    with torch.no_grad():
        expected_B2 = described(lq_B3hw)
        assert expected_B2.std() > 0.01
        for name in ("all.pth", "alone.pth", "bare.pth"):
            ours = read_deresnet(tmp_path / name, SMALL, "")
            torch.testing.assert_close(ours(lq_B3hw), expected_B2, atol=1e-6, rtol=0)
            assert ours.thresholds_22.isnan().all() and not ours.training
        thirds = read_deresnet(tmp_path / "all.pth", replace(SMALL, labels="thirds"), "")
        assert thirds.labels(torch.tensor([[0.2, 0.9], [0.5, 0.5]])) == [("small", "large"), ("medium", "medium")]


def test_the_default_estimator_has_the_published_size() -> None:
    """64-64-64-128, two blocks each, halved once; 36,928 = 64 * 64 * 9 + 64 numbers in a convolution of 64."""
    with torch.device("meta"):
        written = to_deresnet(DegradationEstimator(DemConfig()).state_dict(), DemConfig())
        expected = Described(DemConfig()).state_dict()
    assert {name: item.shape for name, item in written.items()} == {name: item.shape for name, item in expected.items()}
    one_net = 1792 + 12 * 36928 + 73856 + 4 * 147584 + 66048 + 513
    assert sum(item.numel() for item in written.values()) == 2 * one_net
    assert written["body.1.6.weight"].shape == (128, 64, 3, 3) and "body.1.8.conv2.bias" in written


def test_a_deresnet_converted_there_and_back_is_bit_exact(described: Described, tmp_path: Path) -> None:
    theirs = described.state_dict()
    ours = from_deresnet(theirs, SMALL, Path("a.pth"), "")
    assert ours.keys() == DegradationEstimator(SMALL).state_dict().keys()
    again = to_deresnet(ours, SMALL)
    assert again.keys() == theirs.keys() and all(torch.equal(again[name], theirs[name]) for name in theirs)
    estimator = DegradationEstimator(SMALL)
    estimator.load_state_dict(ours)
    write_deresnet(tmp_path / "new" / "dem.pth", estimator)
    stored = torch.load(tmp_path / "new" / "dem.pth", weights_only=True)
    assert set(stored) == {"params"} and all(torch.equal(stored["params"][name], theirs[name]) for name in theirs)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["dem.pth"]
    Described(SMALL).load_state_dict(stored["params"], strict=True)


@pytest.mark.parametrize("prefix", ["", "de_net."])
def test_every_misfit_of_a_deresnet_file_is_refused_by_name(described: Described, prefix: str) -> None:
    state = {f"{prefix}{name}": item for name, item in described.state_dict().items()}
    state[f"{prefix}conv_first.1.weight"] = torch.zeros(7, 3, 3, 3)
    state[f"{prefix}fc_degree.2.0.weight"] = state.pop(f"{prefix}body.0.0.conv1.bias")
    with pytest.raises(ValueError) as refusal:
        from_deresnet(state, SMALL, Path("a.pth"), "download it again")
    assert str(refusal.value) == (
        "a.pth does not fit: 1 missing: body.0.0.conv1.bias; 1 unknown: fc_degree.2.0.weight; "
        "1 of another shape: conv_first.1.weight [7, 3, 3, 3] instead of [4, 3, 3, 3]; download it again"
    )


def test_estimators_without_an_official_layout_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="have no official layout; use 1 and 2"):
        key_table(DemConfig(features=[4], blocks=[1], downscales=[4]))
    torch.save({"params": {"conv_first.weight": torch.zeros(2)}}, tmp_path / "esrgan.pth")
    with pytest.raises(ValueError, match=r"esrgan.pth does not fit: .* missing: body.0.0.conv1.bias.*; get another"):
        read_deresnet(tmp_path / "esrgan.pth", SMALL, "get another")
