"""LlamaGen's layout: a second reading of its published description gives the names and shapes that we write."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lit_pure.config.tokenizer import VQConfig
from lit_pure.convert.llamagen import from_llamagen, key_table, read_llamagen, to_llamagen, write_llamagen
from lit_pure.models.vq import VQTokenizer

SMALL = VQConfig(channels=[32, 64, 32], res_blocks=1, z_channels=8, codes=20)
Shape = tuple[int, ...]


def conv(name: str, into: int, out: int, side: int) -> dict[str, Shape]:
    return {f"{name}.weight": (out, into, side, side), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def res(name: str, into: int, out: int) -> dict[str, Shape]:
    found = norm(f"{name}.norm1", into) | conv(f"{name}.conv1", into, out, 3)
    found |= norm(f"{name}.norm2", out) | conv(f"{name}.conv2", out, out, 3)
    return found | (conv(f"{name}.nin_shortcut", into, out, 1) if into != out else {})


def attention(name: str, width: int) -> dict[str, Shape]:
    found = norm(f"{name}.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        found |= conv(f"{name}.{part}", width, width, 1)
    return found


def described() -> dict[str, Shape]:
    """VQ-8 written out: width 128 x (1, 2, 2, 4), 2 blocks per level (3 in the decoder), attention at the deepest."""
    found = conv("encoder.conv_in", 3, 128, 3)
    for level, (into, out) in enumerate([(128, 128), (128, 256), (256, 256), (256, 512)]):
        for block in (0, 1):
            found |= res(f"encoder.conv_blocks.{level}.res.{block}", into if block == 0 else out, out)
        if level < 3:
            found |= conv(f"encoder.conv_blocks.{level}.downsample.conv", out, out, 3)
    for block in (0, 1):
        found |= attention(f"encoder.conv_blocks.3.attn.{block}", 512)
    found |= norm("encoder.norm_out", 512) | conv("encoder.conv_out", 512, 256, 3)
    found |= conv("decoder.conv_in", 256, 512, 3)
    for level, (into, out) in enumerate([(512, 512), (512, 256), (256, 256), (256, 128)]):
        for block in (0, 1, 2):
            found |= res(f"decoder.conv_blocks.{level}.res.{block}", into if block == 0 else out, out)
        if level < 3:
            found |= conv(f"decoder.conv_blocks.{level}.upsample.conv", out, out, 3)
    for block in (0, 1, 2):
        found |= attention(f"decoder.conv_blocks.0.attn.{block}", 512)
    found |= norm("decoder.norm_out", 128) | conv("decoder.conv_out", 128, 3, 3)
    for half in ("encoder", "decoder"):
        found |= res(f"{half}.mid.0", 512, 512) | attention(f"{half}.mid.1", 512) | res(f"{half}.mid.2", 512, 512)
    found |= conv("quant_conv", 256, 8, 1) | conv("post_quant_conv", 8, 256, 1)
    return found | {"quantize.embedding.weight": (16384, 8), "quantize.codebook_used": (65536,)}


def test_the_default_tokenizer_is_llamagen_s_vq8() -> None:
    expected = described()
    shortcuts = {name.split(".res")[0] for name in expected if "nin_shortcut" in name}
    assert shortcuts == {f"{half}.conv_blocks.{level}" for half in ("encoder", "decoder") for level in (1, 3)}
    with torch.device("meta"):
        written = to_llamagen(VQTokenizer(VQConfig()).state_dict(), VQConfig())
    assert {name: tuple(item.shape) for name, item in written.items()} == expected
    assert len(written) == 300
    sizes = {name: item.numel() for name, item in written.items() if name != "quantize.codebook_used"}
    assert sum(sizes.values()) == pytest.approx(70.11e6, abs=5e3)
    halves = [sum(size for name, size in sizes.items() if name.startswith(half)) for half in ("encoder", "decoder")]
    assert halves == [pytest.approx(28.56e6, abs=5e3), pytest.approx(41.42e6, abs=5e3)]


def test_a_written_llamagen_file_is_read_as_the_same_tokenizer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = VQTokenizer(SMALL).eval()
    write_llamagen(tmp_path / "vq.pt", tokenizer)
    stored = torch.load(tmp_path / "vq.pt", weights_only=True)
    assert set(stored) == {"model"} and stored["model"]["quantize.codebook_used"].shape == (65536,)
    torch.save({"ema": {}, **stored}, tmp_path / "vq.pt")
    again = read_llamagen(tmp_path / "vq.pt", SMALL, "")
    image = torch.rand(1, 3, 32, 48)
    assert torch.equal(again.encode(image), tokenizer.encode(image))
    codes = torch.randint(20, (1, 8, 12))
    assert torch.equal(again.decode(codes), tokenizer.decode(codes))
    state = from_llamagen(to_llamagen(tokenizer.state_dict(), SMALL), SMALL, Path("vq.pt"), "")
    assert state.keys() == tokenizer.state_dict().keys()
    assert [path.name for path in tmp_path.iterdir()] == ["vq.pt"]


def test_every_misfit_of_a_llamagen_file_is_refused_by_name() -> None:
    state = to_llamagen(VQTokenizer(SMALL).state_dict(), SMALL)
    state["quant_conv.weight"] = torch.zeros(7, 8, 1, 1)
    state["encoder.extra"] = state.pop("decoder.mid.1.q.bias")
    with pytest.raises(ValueError) as refusal:
        from_llamagen(state, SMALL, Path("vq.pt"), "download it again")
    assert str(refusal.value) == (
        "vq.pt does not fit: 1 missing: decoder.mid.1.q.bias; 1 unknown: encoder.extra; "
        "1 of another shape: quant_conv.weight [7, 8, 1, 1] instead of [8, 8, 1, 1]; download it again"
    )


@pytest.mark.parametrize("change", [{"stem": 4}, {"attention": False}])
def test_a_tokenizer_without_an_official_layout_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="has no official layout; LlamaGen's has stem 1 and attention true"):
        key_table(VQConfig(channels=[32, 32], **change))
