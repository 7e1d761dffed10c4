"""Stand-ins for the kernels of flash-attn and torch: their signatures, what they insist on, plain float32 attention.

They compute on a CPU what the kernels document: causal attention aligned bottom right, new keys and values appended in
place. Nothing is taken from the package under test.

Shape legend: B rows, T queries, S keys, H heads, d head channels, N positions of all rows.
"""

from itertools import pairwise
from types import ModuleType

import torch
from torch import Tensor

KERNEL_DTYPES = {torch.float16, torch.bfloat16}


def plain_attention(q_THd: Tensor, k_SHd: Tensor, v_SHd: Tensor) -> Tensor:
    """One row in float32: query i sees keys up to S - T + i; (T, H, d)."""
    q_HTd, k_HSd, v_HSd = (part.float().transpose(0, 1) for part in (q_THd, k_SHd, v_SHd))
    (queries, keys), scale = (q_HTd.shape[1], k_HSd.shape[1]), q_HTd.shape[2] ** -0.5
    scores_HTS = q_HTd @ k_HSd.mT * scale
    hidden_TS = torch.ones(queries, keys, dtype=torch.bool, device=q_HTd.device).triu(keys - queries + 1)
    return (scores_HTS.masked_fill(hidden_TS, -torch.inf).softmax(-1) @ v_HSd).transpose(0, 1)


class FlashAttn:
    """flash-attn 2.8; with `precise` it takes float32, too, so that a comparison sees more than rounding."""

    def __init__(self, precise: bool = True) -> None:
        self.dtypes = KERNEL_DTYPES | ({torch.float32} if precise else set())
        self.calls: list[str] = []

    def module(self) -> ModuleType:
        """To be put into `sys.modules`."""
        module = ModuleType("flash_attn")
        module.flash_attn_func, module.flash_attn_with_kvcache = self.whole, self.cached  # type: ignore[attr-defined]
        return module

    def _check(self, *parts: Tensor) -> None:
        first = parts[0]
        assert first.dtype in self.dtypes and {part.dtype for part in parts} == {first.dtype}
        assert all(part.ndim == 4 and part.stride(-1) == 1 for part in parts)
        assert len({(len(part), *part.shape[2:]) for part in parts}) == 1

    def whole(
        self, q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0,
        alibi_slopes=None, deterministic=False, return_attn_probs=False,
    ):  # fmt: skip
        """`flash_attn_func`."""
        self._check(q, k, v)
        assert causal and not dropout_p and softmax_scale is None and not return_attn_probs
        self.calls.append("whole")
        return torch.stack([plain_attention(*row) for row in zip(q, k, v, strict=True)]).to(q.dtype)

    @torch.no_grad()
    def cached(
        self, q, k_cache, v_cache, k=None, v=None, rotary_cos=None, rotary_sin=None, cache_seqlens=None,
        cache_batch_idx=None, cache_leftpad=None, block_table=None, softmax_scale=None, causal=False,
        window_size=(-1, -1), softcap=0.0, rotary_interleaved=True, alibi_slopes=None, num_splits=0,
        return_softmax_lse=False,
    ):  # fmt: skip
        """`flash_attn_with_kvcache`; that new positions fit is the caller's duty, the kernel would write behind."""
        self._check(q, k_cache, v_cache, k, v)
        assert causal and softmax_scale is None and not return_softmax_lse and block_table is None
        assert cache_seqlens.dtype == torch.int32 and cache_seqlens.shape == (len(q),) and cache_seqlens.is_contiguous()
        mixed = []
        for row, before in enumerate(cache_seqlens.tolist()):
            after = before + k.shape[1]
            assert after <= k_cache.shape[1], "it would write behind the end of the row"
            k_cache[row, before:after], v_cache[row, before:after] = k[row], v[row]
            mixed.append(plain_attention(q[row], k_cache[row, :after], v_cache[row, :after]))
        self.calls.append("cached")
        return torch.stack(mixed).to(q.dtype)


class VarlenAttn:
    """torch 2.12's `varlen_attn`."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.keys: list[Tensor] = []
        """The packed keys that it got."""

    def attend(
        self, query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, return_aux=None, scale=None,
        window_size=(-1, -1), enable_gqa=False, seqused_k=None, block_table=None, num_splits=None,
    ):  # fmt: skip
        """Causal with `window_size=(-1, 0)`."""
        assert all(
            part.ndim == 3 and part.stride(-1) == 1 and part.dtype == query.dtype for part in (query, key, value)
        )
        assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32 and window_size == (-1, 0) and return_aux is None
        first, stored = cu_seq_q.tolist(), cu_seq_k.tolist()
        assert first[-1] == len(query) and stored[-1] == len(key) and max_q == max(map(int.__sub__, first[1:], first))
        lengths = [end - begin for begin, end in pairwise(stored)]
        if seqused_k is not None:
            assert seqused_k.dtype == torch.int32 and not query.requires_grad, "inference only"
            assert all(used <= length for used, length in zip(seqused_k.tolist(), lengths, strict=True))
            lengths = seqused_k.tolist()
        assert max(lengths) <= max_k
        self.calls.append("whole" if seqused_k is None else "cached")
        self.keys.append(key)
        rows = [
            plain_attention(query[begin:end], key[place : place + used], value[place : place + used])
            for begin, end, place, used in zip(first, first[1:], stored, lengths, strict=False)
        ]
        return torch.cat(rows).to(query.dtype)
