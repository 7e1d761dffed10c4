"""Builds pyiqa's networks only from files on this machine.

Knows what pyiqa 0.1.16 and its libraries would download, print and unpickle while they build a network, and prevents
it. Knows nothing of images. pyiqa takes seconds to import, so it is imported when the first network is built.

While pyiqa builds, three of its habits are replaced: `torch.load` always loads only tensors (pyiqa would run any code
in a pickle); timm initializes a backbone at random instead of downloading it, because the checkpoint of the whole
network contains it; and files are searched where `files.py` says. CLIP's file is not a pickle but a TorchScript
archive, which pyiqa reads with `torch.jit.load` only for its tensors: it is left so, since its full digest is known and
checked first.
"""

import contextlib
import io
import logging
import pickle
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lit_pure.config.project import make_or
from lit_pure.metrics.banded import Niqe, Ssim
from lit_pure.metrics.files import damage_message, hub_folder, path_of, remedy, verify
from lit_pure.metrics.table import MetricInfo

_metric: ContextVar[str] = ContextVar("metric", default="")
"""The metric that is at work in this thread and must not use the network."""

_TARGET = {
    "urllib.Request": 0,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
}
"""Python's audit events before anything is sent -> index of the address argument (None on connected sockets)."""


class NetworkForbidden(ValueError):
    """A metric tried to reach the network."""


def _forbid_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Python calls this before every connection, name lookup and opened URL; an error here prevents it."""
    if event in _TARGET and (key := _metric.get()) and (target := arguments[_TARGET[event]]) is not None:
        raise NetworkForbidden(
            f"{key} tried to reach {target}: a metric never uses the network; get its files: {remedy([key])}"
        )


sys.addaudithook(_forbid_network)


@contextlib.contextmanager
def no_network(key: str) -> Iterator[None]:
    """Inside, any connection attempt of this thread raises `NetworkForbidden`, naming metric and address."""
    before = _metric.set(key)
    try:
        yield
    finally:
        _metric.reset(before)


@dataclass
class _ReadFiles:
    """The files that were read while a network was built."""

    path: Path | None = None
    """The last file."""
    tensors: list[Tensor] = field(default_factory=list)


def build_network(info: MetricInfo) -> nn.Module:
    """Build pyiqa's module for a metric silently, on the CPU, in evaluation mode, with all weights from checked files.

    SSIM and NIQE are those of `banded.py`, which give the same figures in less memory.

    Raises:
        MissingWeights: a file is missing.
        ValueError: a file is damaged, or weights of the network are missing in it; the message names file and remedy.
        ImportError: pyiqa, or a package with a file, is not installed.
    """
    if info.pyiqa_name == "ssim":
        return Ssim(bool(info.options["test_y_channel"]))
    verify(info.key)
    logging.getLogger("pyiqa").setLevel(logging.WARNING)  # pyiqa announces every metric on the terminal
    read = _ReadFiles()
    with no_network(info.key), _silence(), contextlib.ExitStack() as stack:
        pyiqa = _pyiqa()
        stack.enter_context(_only_local_files(read))
        options = dict(info.options)
        if info.pyiqa_name == "niqe":
            options["pretrained_model_path"] = _matlab_file(path_of(info.files[0]), stack)
        try:
            made: nn.Module = pyiqa.create_metric(info.pyiqa_name, device=torch.device("cpu"), **options).net
        except (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError) as error:
            if read.path is None:
                raise
            reason = f"{type(error).__name__}: {' '.join(str(error).split()).partition('. ')[0]}"
            raise ValueError(_load_error(info, read.path, reason[:200])) from error
    _refuse_untrained(made, read, info)
    if info.pyiqa_name == "niqe":
        return Niqe(made)
    if hasattr(made, "save_output"):
        made.register_forward_pre_hook(_clear_saved_outputs)
    return made


def _load_error(info: MetricInfo, path: Path, reason: str) -> str:
    """The message about a file: without a published digest, the file may be truncated."""
    if any(file.sha256 for file in info.files if path_of(file) == path):
        return f"{path} is as published, but {info.key} cannot be built from it ({reason}): package versions differ"
    return damage_message(path, reason, info.key)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Suppress output and warnings: those about pyiqa's use of older libraries do not concern our users."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _clear_saved_outputs(module: Any, inputs: object) -> None:
    """MANIQA collects backbone features; those of a picture that failed would otherwise be used for the next one."""
    module.save_output.clear()


def _pyiqa() -> Any:
    try:
        import pyiqa
    except ImportError as error:
        install = make_or("make setup", "pip install pyiqa")
        raise ImportError(f"pyiqa cannot be imported ({error}); install it: {install}") from error
    return pyiqa


@contextlib.contextmanager
def _only_local_files(read: _ReadFiles) -> Iterator[None]:
    """Inside, libraries load only tensors, only from local files; `read` records what they load."""
    import timm
    from pyiqa.archs import clip_model
    from pyiqa.utils import download_util

    load, create = torch.load, timm.create_model

    def safe_load(file: Any, map_location: Any = None, **options: Any) -> Any:
        read.path = Path(getattr(file, "name", file))
        content = load(file, map_location="cpu", **options | {"weights_only": True})
        read.tensors += _tensors(content)
        return content

    def random_backbone(name: str, *positions: Any, **options: Any) -> nn.Module:
        return create(name, *positions, **options | {"pretrained": False})

    def clip_file(url: str, root: str) -> str:
        read.path = hub_folder() / "clip" / url.rpartition("/")[2]
        return str(read.path)

    with contextlib.ExitStack() as stack:
        for owner, name, instead in (
            (torch, "load", safe_load),
            (timm, "create_model", random_backbone),
            (clip_model, "_download", clip_file),
            (download_util, "DEFAULT_CACHE_DIR", str(hub_folder() / "pyiqa")),  # pyiqa sets it once, when imported
        ):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, instead)
        yield


def _tensors(content: Any) -> list[Tensor]:
    """All tensors of a checkpoint."""
    if isinstance(content, Tensor):
        return [content]
    return [item for value in content.values() for item in _tensors(value)] if isinstance(content, Mapping) else []


def _refuse_untrained(made: nn.Module, read: _ReadFiles, info: MetricInfo) -> None:
    """Raise ValueError where a parameter was not read from a file: for some metrics, pyiqa ignores missing weights."""
    same_shape: dict[torch.Size, list[Tensor]] = {}
    for tensor in read.tensors:
        same_shape.setdefault(tensor.shape, []).append(tensor)
    for name, parameter in made.named_parameters():
        found = same_shape.get(parameter.shape, [])
        if not any(torch.equal(tensor.to(parameter.dtype), parameter) for tensor in found):
            assert read.path is not None, f"{info.key} has parameters, so it has files"
            raise ValueError(damage_message(read.path, f"{name} is missing", info.key))


def _matlab_file(parameters: Path, stack: contextlib.ExitStack) -> str:
    """A temporary copy of basicsr's numbers, in pyiqa's format and under its names; it lives as long as the stack."""
    from scipy.io import savemat

    with np.load(parameters) as numbers:
        renamed = {"mu_prisparam": numbers["mu_pris_param"], "cov_prisparam": numbers["cov_pris_param"]}
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "parameters.mat"
    savemat(path, renamed)
    return str(path)
