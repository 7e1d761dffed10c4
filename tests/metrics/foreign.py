"""Random weights in place of the published ones, for networks of the published kind, mostly smaller.

`place` writes the files, and lets the table ask for networks of that size and take any digest.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchmetrics
import torchvision
from torch import Tensor, nn

from lit_pure.metrics.files import path_of
from lit_pure.metrics.table import METRICS, MetricInfo, WeightsFile

KEYS = ("lpips", "lpips-vgg", "dists", "musiq", "musiq-ava", "maniqa", "clipiqa", "clipiqa+", "topiq")
"""Metrics of single images, one of each kind of file and network."""
MUSIQ = {"hidden_size": 48, "mlp_dim": 64, "num_heads": 4, "num_layers": 2}
MANIQA = {
    "embed_dim": 32,
    "patch_size": 16,
    "window_size": 7,
    "num_heads": [2, 2],
    "dim_mlp": 32,
    "test_sample": 4,
}
TOPIQ = {"semantic_model_name": "resnet18", "inter_dim": 32}
WHOLE = 5_000_000
"""Numbers of the largest tensor that is written out; of a larger one, which no metric uses, one number is repeated."""


def place(key: str, home: Path, patch: pytest.MonkeyPatch) -> None:
    """Write what the metric reads below `home`, the new TORCH_HOME."""
    patch.setenv("TORCH_HOME", str(home))
    kind = key.partition("-")[0].removesuffix("+")
    options = {"musiq": MUSIQ, "maniqa": MANIQA, "topiq": TOPIQ}.get(kind, {})
    info = METRICS[key]
    files = tuple(replace(file, sha256="") for file in info.files)
    patch.setitem(METRICS, key, replace(info, options=options, files=files))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for file in files:
            path_of(file).parent.mkdir(parents=True, exist_ok=True)
            WRITERS[kind](file, key, patch)


def _trunk(file: WeightsFile) -> None:
    make = {"alexnet": torchvision.models.alexnet, "vgg16": torchvision.models.vgg16}[file.name.partition("-")[0]]
    with torch.device("meta"):
        shapes = make().state_dict()
    torch.save({name: _random(tensor.shape) for name, tensor in shapes.items()}, path_of(file))


def _random(shape: torch.Size) -> Tensor:
    if shape.numel() > WHOLE:
        return torch.rand(()).expand(shape)
    return torch.randn(shape) * (2 / max(1, shape[1:].numel())) ** 0.5


def _lively(build_network: nn.Module) -> nn.Module:
    """With weights that keep the size of activations, so that all of a picture has a say."""
    for parameter in build_network.parameters():
        if parameter.dim() > 1:
            parameter.data = _random(parameter.shape)
    return build_network


def _with_published_layers(file: WeightsFile, key: str, patch: pytest.MonkeyPatch) -> None:
    """LPIPS and DISTS: torchmetrics brings the published layers, in the very files that pyiqa reads."""
    if file.place == "checkpoints":
        return _trunk(file)
    folder = Path(torchmetrics.__file__).parent / "functional" / "image"
    names = {"lpips": "lpips_models/alex.pth", "lpips-vgg": "lpips_models/vgg.pth", "dists": "dists_models/weights.pt"}
    path_of(file).write_bytes((folder / names[key]).read_bytes())


def _musiq(file: WeightsFile, key: str, patch: pytest.MonkeyPatch) -> None:
    from pyiqa.archs.musiq_arch import MUSIQ as Network

    classes = 10 if key == "musiq-ava" else 1
    torch.save(Network(pretrained=False, num_class=classes, **MUSIQ).state_dict(), path_of(file))


def small_backbone(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
    """In place of `timm.create_model`: MANIQA's ViT is small, and a download is a failure."""
    if pretrained:
        raise AssertionError(f"{name} would be downloaded")
    if name != "vit_base_patch8_224":
        return CREATE(name, **options)
    build_network: nn.Module = timm.models.vision_transformer.VisionTransformer(
        img_size=224, patch_size=16, embed_dim=32, depth=10, num_heads=2, num_classes=0
    )
    return build_network


def random_backbone(name: str, pretrained: bool = True, **options: Any) -> nn.Module:
    """The same for pyiqa itself, which asks for a download that its checkpoint then replaces."""
    return small_backbone(name, **options)


CREATE: Callable[..., nn.Module] = timm.create_model


def _maniqa(file: WeightsFile, key: str, patch: pytest.MonkeyPatch) -> None:
    from pyiqa.archs.maniqa_arch import MANIQA as Network

    with pytest.MonkeyPatch.context() as here:
        here.setattr(timm, "create_model", random_backbone)
        build_network = Network(pretrained=False, **MANIQA)
    nn.init.constant_(build_network.fc_score[3].bias, 1.0)  # it ends in a ReLU, which may be 0 for all pictures
    torch.save(build_network.state_dict(), path_of(file))
    patch.setattr(timm, "create_model", small_backbone)


def _topiq(file: WeightsFile, key: str, patch: pytest.MonkeyPatch) -> None:
    from pyiqa.archs.topiq_arch import CFANet

    build_network = CFANet(pretrained=False, backbone_pretrain=False, use_ref=False, **TOPIQ)
    torch.save({"params": build_network.state_dict()}, path_of(file))
    patch.setattr(timm, "create_model", small_backbone)


class _Bag(nn.Module):
    """Names and numbers without a network, as TorchScript."""

    def forward(self, x: Tensor) -> Tensor:
        """Nothing."""
        return x


def _clip(file: WeightsFile, key: str, patch: pytest.MonkeyPatch) -> None:
    from pyiqa.archs.clip_model import CLIP

    if file.place == "pyiqa":
        return torch.save(torch.randn(2, 16, 64), path_of(file))
    build_network = CLIP(32, 64, (1, 1, 1, 1), 8, None, 77, 49408, 64, 1, 1)
    bag = _Bag()
    for name, tensor in build_network.state_dict().items():
        *folders, last = name.split(".")
        inner = bag
        for folder in folders:
            if folder not in inner._modules:
                inner.add_module(folder, _Bag())
            inner = inner._modules[folder]  # type: ignore[assignment]
        inner.register_buffer(last, tensor)
    torch.jit.script(bag).save(str(path_of(file)))


def _inception(file: WeightsFile, key: str, patch: pytest.MonkeyPatch) -> None:
    from pyiqa.archs import inception

    with pytest.MonkeyPatch.context() as here:
        here.setattr(inception, "load_pretrained_network", lambda build_network, url: None)
        torch.save(_lively(inception.fid_inception_v3()).state_dict(), path_of(file))


WRITERS: dict[str, Callable[[WeightsFile, str, pytest.MonkeyPatch], None]] = {
    "lpips": _with_published_layers,
    "dists": _with_published_layers,
    "musiq": _musiq,
    "maniqa": _maniqa,
    "clipiqa": _clip,
    "topiq": _topiq,
    "fid": _inception,
}


PUBLISHED = dict(METRICS)


def published(key: str) -> MetricInfo:
    """The row of the table as it is without `place`."""
    return PUBLISHED[key]
