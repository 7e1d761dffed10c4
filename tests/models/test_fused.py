"""The fused backbone reads what the ordinary one reads; whatever it cannot copy, that one reads itself."""

import pytest
import torch
from torch import nn

from lit_pure.config.pure import BackboneConfig
from lit_pure.models.cache import KVCache
from lit_pure.models.fused import FusedBackbone, can_fuse, reader_of
from lit_pure.models.next_token import NextTokenBackbone

CONFIG = BackboneConfig(width=48, layers=3, heads=4, ffn=40, dropout=0.1)


def backbone(dtype: torch.dtype = torch.float64) -> NextTokenBackbone:
    """With norms whose weights are not 1 and, of queries and keys, not zero in the middle."""
    torch.manual_seed(2)
    made = NextTokenBackbone(CONFIG, 90).to(dtype).eval()
    for item in made.parameters():
        if item.dim() == 1:
            nn.init.normal_(item, 1, 0.3)
        else:
            item.data *= 5
    return made


def ids(rows: int, count: int, seed: int) -> torch.Tensor:
    return torch.randint(90, (rows, count), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("uneven", [False, True])
@torch.inference_mode()
def test_it_reads_as_the_ordinary_one_does(uneven: bool) -> None:
    """Two caches as under guidance; first many ids, then few, where rows keep them all or not."""
    own = backbone()
    readers = (own, reader_of(own))
    assert isinstance(readers[1], FusedBackbone)
    caches = [[KVCache.empty(CONFIG, 2, 40, own.head.weight) for _ in range(2)] for _ in readers]
    for step, count in enumerate((9, 1, 1, 2, 4, 1)):
        one, other = (reader.feed(ids(4, count, step), part) for reader, part in zip(readers, caches, strict=True))
        torch.testing.assert_close(other, one, rtol=1e-11, atol=1e-11)
        for part in caches:
            part[0].commit(torch.tensor([count, max(1, count - 1)]) if uneven else count, count)
            part[1].commit(count, count)
            part[0].sync_lengths()


@torch.inference_mode()
def test_in_single_precision_it_is_off_by_rounding() -> None:
    own = backbone(torch.float32)
    caches = [[KVCache.empty(CONFIG, 2, 40, own.head.weight)] for _ in range(2)]
    one, other = own.feed(ids(2, 30, 0), caches[0]), reader_of(own).feed(ids(2, 30, 0), caches[1])
    assert 0 < float((one - other).abs().max()) < 1e-5 * float(one.abs().max())


@torch.inference_mode()
def test_it_is_of_the_weights_at_that_moment() -> None:
    own = backbone()
    before = reader_of(own)
    own.blocks[0].ffn.down.weight *= 2  # type: ignore[union-attr, operator]
    caches = [[KVCache.empty(CONFIG, 1, 9, own.head.weight)] for _ in range(3)]
    old, new, right = (
        reader.feed(ids(1, 5, 0), part) for reader, part in zip((before, reader_of(own), own), caches, strict=True)
    )
    torch.testing.assert_close(new, right)
    assert not torch.allclose(old, right)


@pytest.mark.parametrize("kind", ["half", "elsewhere", "adapted", "autocast", "large"])
def test_what_it_cannot_copy_reads_itself(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = backbone(torch.bfloat16 if kind == "half" else torch.float32)
    assert can_fuse(own) == (kind != "half")
    if kind == "elsewhere":
        own = own.to("meta")
    elif kind == "adapted":
        own.blocks[1].attention.q = nn.Sequential(nn.Linear(48, 48, bias=False))  # type: ignore[union-attr]
        own.blocks[1].attention.q.weight = own.blocks[1].attention.q[0].weight  # type: ignore[union-attr, index]
    elif kind == "large":
        monkeypatch.setattr("lit_pure.models.fused.LARGEST", 1000)
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
        assert not can_fuse(own) and reader_of(own) is own
