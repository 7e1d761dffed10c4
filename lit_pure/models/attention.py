"""Attention proper: the kernels that can compute it, behind one interface, and the choice between them.

Knows queries, keys and values: of whole sequences, and of new positions behind a cache whose rows differ in length.
Knows which kernel needs which device, dtype and head size. Knows nothing of projections, positions or tokens.

- `Sdpa` is torch's, everywhere and in every dtype: the reference for the others, and all that a CPU has.
- `Flash` is the package flash-attn (2.8): over a cache it appends and reads in one call, each row up to its own length,
  while SDPA needs a mask there, with which it never takes its fast kernel.
- `Varlen` is torch's own kernel for rows packed one behind the other.

Shape legend: B rows of a cache, R rows of several, T new positions, S stored positions, H heads, d head channels,
N positions of all rows.
"""

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.models.cache import CacheStep

log = logging.getLogger(__name__)

Choice = Literal["auto", "sdpa", "flash", "varlen"]
"""The values of `backbone.attention`."""
LARGEST_HEAD, HEAD_MULTIPLE = 256, 8
"""Head channels that the kernels of flash-attn and of torch's `varlen_attn` have."""
KERNEL_DTYPES = (torch.float16, torch.bfloat16)
OLDEST_GPU = (8, 0)
"""Compute capability of the oldest GPU with these kernels (Ampere)."""


class AttentionBackend(Protocol):
    """What computes attention; its scale is 1 / sqrt(d), and it drops nothing."""

    @property
    def name(self) -> str:
        """As `backbone.attention` calls it."""

    def attend_causally(self, q_BTHd: Tensor, k_BTHd: Tensor, v_BTHd: Tensor) -> Tensor:
        """Whole sequences, with gradients: each position sees itself and all before it; (B, T, H, d)."""

    def attend_to_cache(self, step: CacheStep, layer: int, q_BTHd: Tensor, k_BTHd: Tensor, v_BTHd: Tensor) -> Tensor:
        """Store keys and values of new positions, then let each see itself and all before it in its row; (B, T, H, d).

        Without gradients. A second call of the same step writes the same again.
        """


@dataclass(frozen=True)
class Sdpa:
    """torch's `scaled_dot_product_attention`."""

    name: ClassVar[str] = "sdpa"

    def attend_causally(self, q_BTHd: Tensor, k_BTHd: Tensor, v_BTHd: Tensor) -> Tensor:
        q, k, v = (part.transpose(1, 2) for part in (q_BTHd, k_BTHd, v_BTHd))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)

    def attend_to_cache(self, step: CacheStep, layer: int, q_BTHd: Tensor, k_BTHd: Tensor, v_BTHd: Tensor) -> Tensor:
        q_BTHd, k_BTHd, v_BTHd = _as_stored(step, q_BTHd, k_BTHd, v_BTHd)
        step.store(layer, k_BTHd, v_BTHd)
        if step.first:  # no mask, and half of the work
            return self.attend_causally(q_BTHd, k_BTHd, v_BTHd)
        keys_BHSd, values_BHSd = step.seen(layer)
        mixed_BHTd = F.scaled_dot_product_attention(q_BTHd.transpose(1, 2), keys_BHSd, values_BHSd, step.mask_B1TS)
        return mixed_BHTd.transpose(1, 2)


SDPA = Sdpa()


@dataclass(frozen=True)
class Flash:
    """flash-attn: `flash_attn_func` has the gradients, `flash_attn_with_kvcache` the cache."""

    whole: Callable[..., Tensor]
    cached: Callable[..., Tensor]
    name: ClassVar[str] = "flash"

    def attend_causally(self, q_BTHd: Tensor, k_BTHd: Tensor, v_BTHd: Tensor) -> Tensor:
        dtype = computing_dtype(v_BTHd)
        return self.whole(q_BTHd.to(dtype), k_BTHd.to(dtype), v_BTHd.to(dtype), causal=True)

    def attend_to_cache(self, step: CacheStep, layer: int, q_BTHd: Tensor, k_BTHd: Tensor, v_BTHd: Tensor) -> Tensor:
        if not step.has_room:  # the kernel does not check where it writes
            return SDPA.attend_to_cache(step, layer, q_BTHd, k_BTHd, v_BTHd)
        q_BTHd, k_BTHd, v_BTHd = _as_stored(step, q_BTHd, k_BTHd, v_BTHd)
        if step.first:  # many queries: the kernel without a cache has the larger blocks
            step.store(layer, k_BTHd, v_BTHd)
            return self.whole(q_BTHd, k_BTHd, v_BTHd, causal=True)
        keys_BSHd, values_BSHd = (part.transpose(1, 2) for part in step.seen(layer))
        new = {"k": k_BTHd, "v": v_BTHd, "cache_seqlens": step.before_B}
        return self.cached(q_BTHd, keys_BSHd, values_BSHd, **new, causal=True)


@dataclass(frozen=True)
class Varlen:
    """torch's `varlen_attn`. It reads a cache as one pack of rows, of which `KVCache.empty` keeps it the storage."""

    packed: Callable[..., Tensor]
    name: ClassVar[str] = "varlen"

    def attend_causally(self, q_BTHd: Tensor, k_BTHd: Tensor, v_BTHd: Tensor) -> Tensor:
        dtype = computing_dtype(v_BTHd)
        return self._whole(q_BTHd.to(dtype), k_BTHd.to(dtype), v_BTHd.to(dtype))

    def attend_to_cache(self, step: CacheStep, layer: int, q_BTHd: Tensor, k_BTHd: Tensor, v_BTHd: Tensor) -> Tensor:
        if not step.has_room:  # lengths would lie behind the end of their rows
            return SDPA.attend_to_cache(step, layer, q_BTHd, k_BTHd, v_BTHd)
        q_BTHd, k_BTHd, v_BTHd = _as_stored(step, q_BTHd, k_BTHd, v_BTHd)
        step.store(layer, k_BTHd, v_BTHd)
        if step.first:
            return self._whole(q_BTHd, k_BTHd, v_BTHd)
        (rows, steps), device = q_BTHd.shape[:2], q_BTHd.device
        stored = (step.cache.keys_LBHSd[layer], step.cache.values_LBHSd[layer])
        keys_NHd, values_NHd = (part_BHSd.transpose(1, 2).flatten(0, 1) for part_BHSd in stored)
        starts = (_starts(rows, steps, device), _starts(rows, step.cache.capacity, device))
        how = {"window_size": (-1, 0), "seqused_k": step.after_B}
        mixed_NHd = self.packed(q_BTHd.flatten(0, 1), keys_NHd, values_NHd, *starts, steps, step.stop, **how)
        return mixed_NHd.unflatten(0, (rows, steps))

    def _whole(self, q_BTHd: Tensor, k_BTHd: Tensor, v_BTHd: Tensor) -> Tensor:
        rows, steps = q_BTHd.shape[:2]
        parts_NHd = (part_BTHd.flatten(0, 1) for part_BTHd in (q_BTHd, k_BTHd, v_BTHd))
        starts = _starts(rows, steps, q_BTHd.device)
        return self.packed(*parts_NHd, starts, starts, steps, steps, window_size=(-1, 0)).unflatten(0, (rows, steps))


def attend_to_caches(
    backend: AttentionBackend, steps: Sequence[CacheStep], layer: int, q_RTHd: Tensor, k_RTHd: Tensor, v_RTHd: Tensor
) -> Tensor:
    """`attend_to_cache` of several caches, whose rows follow one another; (R, T, H, d)."""
    if len(steps) == 1:
        return backend.attend_to_cache(steps[0], layer, q_RTHd, k_RTHd, v_RTHd)
    found, at = [], 0
    for step in steps:
        rows = slice(at, at := at + step.cache.length_B.shape[0])
        found.append(backend.attend_to_cache(step, layer, q_RTHd[rows], k_RTHd[rows], v_RTHd[rows]))
    return torch.cat(found)


def choose(name: Choice, device: torch.device, dtype: torch.dtype, head_channels: int) -> AttentionBackend:
    """The backend that computes attention, which is logged once.

    `auto` takes `flash` where that is installed and fits, else `sdpa`; it refuses nothing. It does not take `varlen`:
    for whole sequences SDPA runs the same kernel without packing, and that `varlen` is faster over a cache is not
    measured yet. Once it is, it is for `auto` what to take without flash-attn.

    Args:
        name: the value of `backbone.attention`.
        device: of queries, keys and values.
        dtype: of queries, keys and values; under autocast, what they are cast to.
        head_channels: of one head.

    Raises:
        ValueError: `flash` or `varlen` cannot be had here; the message says why, and the remedy.
    """
    if name == "auto":
        problem = _flash_problem(device, dtype, head_channels)
        found: AttentionBackend = SDPA if problem else _flash()
        _log_once(f"attention: {found.name}{f' ({problem[0]})' if problem else ''}", device.type)
        return found
    if name == "sdpa":
        found = SDPA
    else:
        problem = (_flash_problem if name == "flash" else _varlen_problem)(device, dtype, head_channels)
        if problem:
            what, remedy = problem
            raise ValueError(f"backbone.attention = {name}: {what}; {remedy}, or take backbone.attention=auto")
        found = _flash() if name == "flash" else _varlen()
    _log_once(f"attention: {found.name}", device.type)
    return found


def computing_dtype(part: Tensor) -> torch.dtype:
    """The dtype in which attention reads a tensor: autocast knows SDPA, but none of the other kernels."""
    kind = part.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else part.dtype


Trouble = tuple[str, str] | None
"""What is missing, and the remedy."""


def _flash_problem(device: torch.device, dtype: torch.dtype, head_channels: int) -> Trouble:
    if problem := _kernel_problem(device, dtype, head_channels):
        return problem
    try:
        _flash()
    except (ImportError, OSError) as error:  # built for another torch, its library cannot be loaded
        return f"flash-attn cannot be imported ({error})", "install it: pip install flash-attn --no-build-isolation"
    return _gpu_problem(device)


def _varlen_problem(device: torch.device, dtype: torch.dtype, head_channels: int) -> Trouble:
    if problem := _kernel_problem(device, dtype, head_channels):
        return problem
    try:
        known = inspect.signature(_varlen().packed).parameters
    except ImportError as error:
        return f"torch {torch.__version__} has no varlen_attn ({error})", "install torch 2.12 or newer"
    if missing := [word for word in ("window_size", "seqused_k") if word not in known]:
        return f"varlen_attn of torch {torch.__version__} has no {missing[0]}", "install torch 2.12 or newer"
    return _gpu_problem(device)


def _kernel_problem(device: torch.device, dtype: torch.dtype, head_channels: int) -> Trouble:
    """What keeps both kernels from computing, whatever is installed."""
    if device.type != "cuda":
        return f"its kernels need a CUDA device, not {device.type}", "choose one"
    if dtype not in KERNEL_DTYPES:
        shown = str(dtype).removeprefix("torch.")
        remedy = "train with trainer.precision=bf16-mixed or bf16-true, sample with sampling.dtype=bfloat16"
        return f"its kernels compute in float16 or bfloat16, not {shown}", remedy
    if head_channels > LARGEST_HEAD or head_channels % HEAD_MULTIPLE:
        remedy = "change backbone.heads or backbone.width"
        return (
            f"its heads have a multiple of {HEAD_MULTIPLE} channels, at most {LARGEST_HEAD}, not {head_channels}",
            remedy,
        )
    return None


def _gpu_problem(device: torch.device) -> Trouble:
    if torch.cuda.get_device_capability(device) < OLDEST_GPU:
        return f"its kernels need an Ampere GPU or a newer one, not {torch.cuda.get_device_name(device)}", "choose one"
    return None


def _flash() -> Flash:
    from flash_attn import flash_attn_func, flash_attn_with_kvcache  # optional, and slow to import

    return Flash(flash_attn_func, flash_attn_with_kvcache)


def _varlen() -> Varlen:
    from torch.nn.attention.varlen import varlen_attn

    return Varlen(varlen_attn)  # type: ignore[arg-type]  # a tuple only where `return_aux` asks for it


def _as_stored(step: CacheStep, *parts: Tensor) -> tuple[Tensor, ...]:
    """Under autocast, norms give float32 and projections bfloat16; the cache has the weights' dtype."""
    dtype = step.dtype
    return parts if all(part.dtype == dtype for part in parts) else tuple(part.to(dtype) for part in parts)


def _starts(rows: int, length: int, device: torch.device) -> Tensor:
    """Where each of equally long rows begins in a pack, and where the last one ends; (B + 1,), int32."""
    return torch.arange(0, (rows + 1) * length, length, dtype=torch.int32, device=device)


@cache
def _log_once(message: str, device_type: str) -> None:
    """A CPU has but one backend, which nobody needs to be told."""
    log.log(logging.DEBUG if device_type == "cpu" else logging.INFO, "%s", message)
