"""Attention's backends against a plain attention in float32, through stand-ins on a CPU and by themselves on a GPU."""

import inspect
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.nn.attention import varlen as torch_varlen

from lit_pure.config.pure import BackboneConfig
from lit_pure.models import attention
from lit_pure.models.attention import SDPA, AttentionBackend, Flash, Varlen, choose
from lit_pure.models.blocks import Block
from lit_pure.models.cache import KVCache
from lit_pure.models.next_token import NextTokenBackbone
from tests.models.kernels import FlashAttn, VarlenAttn, plain_attention

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
ROWS = 60
KERNELS = ("flash", "varlen")
LENGTHS = [9, 4, 6]
"""Of the rows of a cache, before new positions."""


def config_of(name: str, **sizes: int) -> BackboneConfig:
    return BackboneConfig(**{"width": 32, "layers": 2, "heads": 2, "ffn": 48} | sizes, dropout=0.0, attention=name)


def on_gpu(test: Callable[..., None]) -> Callable[..., None]:
    skipped = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
    return pytest.mark.cuda(skipped(test))


@pytest.fixture
def flash_attn(monkeypatch: pytest.MonkeyPatch) -> FlashAttn:
    """flash-attn as if it were installed."""
    kernel = FlashAttn()
    monkeypatch.setitem(sys.modules, "flash_attn", kernel.module())
    return kernel


@pytest.fixture
def varlen_attn(monkeypatch: pytest.MonkeyPatch) -> VarlenAttn:
    kernel = VarlenAttn()
    monkeypatch.setattr(torch_varlen, "varlen_attn", kernel.attend)
    return kernel


@pytest.fixture
def kernels(
    flash_attn: FlashAttn, varlen_attn: VarlenAttn, monkeypatch: pytest.MonkeyPatch
) -> dict[str, FlashAttn | VarlenAttn]:
    """Both, on a machine whose CPU passes for a GPU."""
    for check in ("_kernel_problem", "_gpu_problem"):
        monkeypatch.setattr(attention, check, lambda *_: None)
    return {"flash": flash_attn, "varlen": varlen_attn}


@pytest.fixture
def no_flash_attn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)


@pytest.fixture(autouse=True)
def nothing_logged_yet() -> Iterator[None]:
    attention._log_once.cache_clear()
    yield
    attention._log_once.cache_clear()


def draw(rows: int, steps: int, heads: int = 2, channels: int = 16, like: Tensor | None = None) -> tuple[Tensor, ...]:
    """Queries, keys and values (B, T, H, d)."""
    parts = torch.randn(3, rows, steps, heads, channels)
    return tuple(parts if like is None else parts.to(like))


def filled(config: BackboneConfig, capacity: int, like: Tensor) -> KVCache:
    """A cache whose rows have `LENGTHS`, full of draws also behind these."""
    cache = KVCache.empty(config, len(LENGTHS), capacity, like)
    for part in (cache.keys_LBHSd, cache.values_LBHSd):
        part.copy_(torch.randn(part.shape))
    cache.length_B += torch.tensor(LENGTHS, device=like.device)
    cache.sync_lengths()
    return cache


def expected_rows(cache: KVCache, q: Tensor, k: Tensor, v: Tensor) -> list[Tensor]:
    """The oracle for the first layer: each row's own positions, then its new ones."""
    rows = []
    for row, length in enumerate(LENGTHS):
        stored = [part[0, row, :, :length].transpose(0, 1) for part in (cache.keys_LBHSd, cache.values_LBHSd)]
        keys, values = (torch.cat([old, new[row]]) for old, new in zip(stored, (k, v), strict=True))
        rows.append(plain_attention(q[row], keys, values))
    return rows


def backends(kernels: dict[str, FlashAttn | VarlenAttn]) -> dict[str, AttentionBackend]:
    return {name: choose(name, CPU, torch.float32, 16) for name in ("sdpa", *kernels)}


@pytest.mark.parametrize("name", ["sdpa", *KERNELS])
def test_whole_sequences_and_their_gradients_are_those_of_a_plain_attention(name, kernels):
    parts = [part.requires_grad_() for part in draw(3, 7)]
    mixed = backends(kernels)[name].attend_causally(*parts)
    wanted = torch.stack([plain_attention(*row) for row in zip(*parts, strict=True)])
    torch.testing.assert_close(mixed, wanted, rtol=1e-5, atol=1e-5)
    slope = torch.randn_like(wanted)
    found, right = (torch.autograd.grad((one * slope).sum(), parts) for one in (mixed, wanted))
    torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["sdpa", *KERNELS])
@pytest.mark.parametrize("steps", [1, 5])
def test_new_positions_see_their_own_row_and_are_stored_there(name, steps, kernels):
    cache = filled(config_of(name), 20, torch.zeros(()))
    q, k, v = draw(3, steps)
    wanted, before = expected_rows(cache, q, k, v), cache.keys_LBHSd.clone()
    step = cache.begin_step(steps)
    for _ in range(2):  # a second time changes nothing
        mixed = backends(kernels)[name].attend_to_cache(step, 0, q, k, v)
        torch.testing.assert_close(mixed, torch.stack(wanted), rtol=1e-5, atol=1e-5)
    for row, length in enumerate(LENGTHS):
        before[0, row, :, length : length + steps] = k[row].transpose(0, 1)
    assert torch.equal(cache.keys_LBHSd, before), "all else stays, the other layer too"
    assert name == "sdpa" or kernels[name].calls == ["cached"] * 2


@pytest.mark.parametrize("name", KERNELS)
def test_a_row_without_room_never_reaches_a_kernel(name, kernels):
    """They do not check where they write; SDPA's clamped positions are right for all that fits."""
    cache = filled(config_of(name), 11, torch.zeros(()))
    q, k, v = draw(3, 5)
    wanted = expected_rows(cache, q, k, v)
    mixed = backends(kernels)[name].attend_to_cache(cache.begin_step(5), 0, q, k, v)
    for row, length in enumerate(LENGTHS):
        fits = min(5, 10 - length)  # positions behind the end share the last place
        torch.testing.assert_close(mixed[row, :fits], wanted[row][:fits], rtol=1e-5, atol=1e-5)
    assert kernels[name].calls == []
    assert cache.shape_key(5) != filled(config_of(name), 11, torch.zeros(())).shape_key(2), "a graph of its own"


def test_varlen_reads_a_cache_without_a_copy(kernels):
    cache = filled(config_of("varlen"), 20, torch.zeros(()))
    for own in (cache, cache.empty_like(30)):
        assert own.keys_LBHSd[1].transpose(1, 2).is_contiguous()
    backends(kernels)["varlen"].attend_to_cache(cache.begin_step(1), 1, *draw(3, 1))
    assert kernels["varlen"].keys[0].data_ptr() == cache.keys_LBHSd[1].data_ptr()
    assert filled(config_of("auto"), 20, torch.zeros(())).empty_like(30).keys_LBHSd.is_contiguous()


@pytest.mark.parametrize("name", KERNELS)
def test_a_backbone_computes_the_same_with_each_backend(name, kernels):
    """A training pass with gradients, and two caches with rows of unequal length."""
    torch.manual_seed(0)
    ours = NextTokenBackbone(config_of(name), ROWS)
    plain = NextTokenBackbone(config_of("sdpa"), ROWS)
    plain.load_state_dict(ours.state_dict())
    ids, more = torch.randint(ROWS, (2, 8)), torch.randint(ROWS, (4, 3))
    slopes, fed = [], []
    for backbone in (ours, plain):
        loss = backbone.logits(ids).logsumexp(-1).sum()
        slopes.append(torch.autograd.grad(loss, list(backbone.parameters())))
        with torch.inference_mode():
            caches = [KVCache.empty(backbone.config, 2, 20, backbone.head.weight)]
            caches.append(caches[0].empty_like(16))
            backbone.feed(ids, caches[:1])
            caches[0].commit(torch.tensor([8, 3]), 8)
            caches[0].sync_lengths()
            fed.append([backbone.feed(more, caches)])
            for cache in caches:
                cache.commit(torch.tensor([2, 1]), 3)
            fed[-1] += [backbone.feed(more, caches), backbone.feed(more[:, :1], caches)]
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*fed, rtol=1e-5, atol=1e-5)
    assert {"whole", "cached"} == set(kernels[name].calls)
    assert all(block.backend.name == name for block in ours.blocks)


def test_under_autocast_kernels_get_its_dtype(kernels):
    strict = FlashAttn(precise=False)
    backend = Flash(strict.whole, strict.cached)
    q, k, v = draw(2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert backend.attend_causally(q, k, v.bfloat16()).dtype == torch.bfloat16
    cache = filled(config_of("flash"), 20, torch.zeros((), dtype=torch.bfloat16))
    q, k, v = draw(3, 2)
    assert backend.attend_to_cache(cache.begin_step(2), 0, q, k, v.bfloat16()).dtype == torch.bfloat16


def test_compiled_blocks_keep_their_graph(kernels, monkeypatch):
    """The backend is chosen outside of them, and is the same object in every pass."""

    def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:  # a stand-in that counts calls is guarded
        return torch.stack([plain_attention(*row) for row in zip(q, k, v, strict=True)])

    monkeypatch.setattr(sys.modules["flash_attn"], "flash_attn_func", attend)
    backbone, graphs = NextTokenBackbone(config_of("flash"), ROWS), []

    def count(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    ids = torch.randint(ROWS, (2, 8))
    wanted = backbone(ids)
    compiled = torch.compile(Block.compute, backend=count, fullgraph=True)
    for block in backbone.blocks:
        block.train_forward = compiled
    torch.testing.assert_close(backbone(ids), wanted)
    first = len(graphs)
    backbone(ids)
    assert first == len(graphs) > 0


REFUSED = {
    "a CPU": (CPU, torch.bfloat16, 64, "CUDA device, not cpu"),
    "float32": (CUDA, torch.float32, 64, "not float32; .*bf16-mixed.*sampling.dtype=bfloat16"),
    "a large head": (CUDA, torch.bfloat16, 264, "at most 256, not 264; change backbone.heads"),
    "an odd head": (CUDA, torch.float16, 60, "multiple of 8 channels.*not 60"),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_the_remedy(name, case, flash_attn):
    *given, message = REFUSED[case]
    with pytest.raises(ValueError, match=f"backbone.attention = {name}: .*{message}.*backbone.attention=auto"):
        choose(name, *given)
    assert choose("auto", *given) is SDPA


def test_a_missing_package_is_refused_and_auto_goes_on_and_says_so(no_flash_attn, caplog):
    with pytest.raises(ValueError, match="flash-attn cannot be imported.*pip install flash-attn"):
        choose("flash", CUDA, torch.bfloat16, 64)
    with caplog.at_level(logging.INFO):
        assert choose("auto", CUDA, torch.bfloat16, 64) is choose("auto", CUDA, torch.bfloat16, 64) is SDPA
    assert len(caplog.messages) == 1 and "sdpa (flash-attn cannot be imported" in caplog.messages[0]


def test_auto_takes_flash_where_it_fits(flash_attn, varlen_attn, monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    with caplog.at_level(logging.INFO):
        assert choose("auto", CUDA, torch.bfloat16, 128) == choose("flash", CUDA, torch.bfloat16, 128)
    assert caplog.messages == ["attention: flash"]
    assert isinstance(choose("varlen", CUDA, torch.bfloat16, 128), Varlen)
    assert choose("sdpa", CUDA, torch.bfloat16, 128) is SDPA


@pytest.mark.parametrize("name", KERNELS)
def test_an_old_gpu_is_refused(name, flash_attn, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Old")
    with pytest.raises(ValueError, match="Ampere GPU or a newer one, not Old"):
        choose(name, CUDA, torch.bfloat16, 64)
    assert choose("auto", CUDA, torch.bfloat16, 64) is SDPA


def test_a_varlen_attn_that_cannot_read_a_cache_is_refused(monkeypatch):
    monkeypatch.setattr(torch_varlen, "varlen_attn", lambda query, key, value, *, window_size: query)
    with pytest.raises(ValueError, match="varlen_attn of torch .* has no seqused_k; install torch"):
        choose("varlen", CUDA, torch.bfloat16, 64)


def test_the_stand_in_for_varlen_attn_has_its_signature():
    theirs, ours = (inspect.signature(one).parameters for one in (torch_varlen.varlen_attn, VarlenAttn().attend))
    assert [(one.name, one.kind, one.default) for one in theirs.values()] == [
        (one.name, one.kind, one.default) for one in ours.values()
    ]


def low_precision(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One row by torch's operations in the dtype of the inputs: what a kernel's error is measured by."""
    q, k, v = (part.transpose(0, 1) for part in (q, k, v))
    hidden = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool, device=q.device).triu(k.shape[1] - q.shape[1] + 1)
    scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(hidden, -torch.inf)
    return (scores.softmax(-1) @ v).transpose(0, 1)


def assert_as_good(found: Tensor, low: Tensor, wanted: Tensor) -> None:
    error, allowed = ((one.float() - wanted).abs().max().item() for one in (found, low))
    assert error <= 3 * allowed + 1e-5


@on_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [16, 128])
@pytest.mark.parametrize("name", KERNELS)
def test_real_kernels_on_whole_sequences(name, channels, dtype):
    if name == "flash":
        pytest.importorskip("flash_attn")
    backend = choose(name, CUDA, dtype, channels)
    parts = [part.requires_grad_() for part in draw(3, 77, 2, channels, torch.zeros((), device=CUDA, dtype=dtype))]
    mixed = backend.attend_causally(*parts)
    low, wanted = (
        torch.stack([one(*row) for row in zip(*parts, strict=True)]) for one in (low_precision, plain_attention)
    )
    assert_as_good(mixed, low, wanted)
    slope = torch.randn_like(wanted)
    slopes = [torch.autograd.grad((one.float() * slope).sum(), parts) for one in (mixed, low, wanted)]
    for found, rounded, right in zip(*slopes, strict=True):
        assert_as_good(found, rounded, right.float())


@on_gpu
@pytest.mark.parametrize("steps", [1, 16])
@pytest.mark.parametrize("name", KERNELS)
def test_real_kernels_over_a_cache_with_rows_of_unequal_length(name, steps):
    if name == "flash":
        pytest.importorskip("flash_attn")
    like = torch.zeros((), device=CUDA, dtype=torch.bfloat16)
    backend, cache = choose(name, CUDA, like.dtype, 64), filled(config_of(name, width=128), 300, like)
    q, k, v = draw(3, steps, 2, 64, like)
    wanted = expected_rows(cache, q, k, v)
    with torch.inference_mode():
        mixed = backend.attend_to_cache(cache.begin_step(steps), 0, q, k, v)
    for row, length in enumerate(LENGTHS):
        keys, values = (
            part[0, row, :, : length + steps].transpose(0, 1) for part in (cache.keys_LBHSd, cache.values_LBHSd)
        )
        assert torch.equal(keys[length:], k[row]) and torch.equal(values[length:], v[row])
        assert_as_good(mixed[row], low_precision(q[row], keys, values), wanted[row])
