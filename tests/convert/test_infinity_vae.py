"""The layout of Infinity's tokenizers: the published keys and shapes, both ways, nested and plain names."""

from pathlib import Path

import pytest
import torch

from lit_pure.config.bit_tokenizer import BitTokenizerConfig, nano, published
from lit_pure.convert.infinity_vae import (
    MASKS,
    from_infinity_vae,
    key_table,
    read_infinity_vae,
    to_infinity_vae,
    write_infinity_vae,
)
from lit_pure.models.bit_tokenizer import BitTokenizer
from tests.golden import golden

SMALL = BitTokenizerConfig(width=24, multipliers=[1, 2], res_blocks=1, bits=3, patch=1)
Shape = tuple[int, ...]


def conv(name: str, into: int, out: int, side: int = 3) -> dict[str, Shape]:
    return {f"{name}.conv.weight": (out, into, side, side), f"{name}.conv.bias": (out,)}


def norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.norm.weight": (width,), f"{name}.norm.bias": (width,)}


def res(name: str, into: int, out: int) -> dict[str, Shape]:
    found = norm(f"{name}.norm1", into) | conv(f"{name}.conv1", into, out)
    found |= norm(f"{name}.norm2", out) | conv(f"{name}.conv2", out, out)
    return found | (conv(f"{name}.nin_shortcut", into, out, 1) if into != out else {})


def described() -> dict[str, Shape]:
    """d14 written out: width 128 x (1, 2, 4, 4), 2 blocks per level (3 in the decoder), no attention."""
    found = conv("encoder.conv_in", 3, 128) | conv("decoder.conv_in", 14, 512)
    for level, (into, out) in enumerate([(128, 128), (128, 256), (256, 512), (512, 512)]):
        for block in (0, 1):
            found |= res(f"encoder.down.{level}.block.{block}", into if block == 0 else out, out)
        if level < 3:
            found |= conv(f"encoder.down.{level}.downsample.conv", out, out)
    for level, (into, out) in {3: (512, 512), 2: (512, 512), 1: (512, 256), 0: (256, 128)}.items():
        for block in (0, 1, 2):
            found |= res(f"decoder.up.{level}.block.{block}", into if block == 0 else out, out)
        if level:
            found |= conv(f"decoder.up.{level}.upsample.conv", out, out)
    for half in ("encoder", "decoder"):
        found |= res(f"{half}.mid.block_1", 512, 512) | res(f"{half}.mid.block_2", 512, 512)
    found |= norm("encoder.norm_out", 512) | conv("encoder.conv_out", 512, 14)
    found |= norm("decoder.norm_out", 128) | conv("decoder.conv_out", 128, 3)
    return found | dict.fromkeys(MASKS, (14,))


def written(name: str) -> dict[str, Shape]:
    with torch.device("meta"):
        state = to_infinity_vae(BitTokenizer(published(name)).state_dict(), published(name))
    return {key: tuple(item.shape) for key, item in state.items()}


def test_the_default_tokenizer_is_the_described_one() -> None:
    assert written("d14") == described() and len(described()) == 226


@pytest.mark.parametrize(("name", "length"), [("d14", 226), ("d32", 270)])
def test_keys_and_shapes_are_the_published_ones(name: str, length: int) -> None:
    stored = golden("j_keys")
    keys, sizes = stored[f"vae_{name}/keys"].tolist(), stored[f"vae_{name}/shapes"].tolist()
    known = {key: tuple(int(side) for side in size.split("x")) for key, size in zip(keys, sizes, strict=True)}
    assert written(name) == known and len(known) == length
    with torch.device("meta"):
        given = {key: torch.empty(size) for key, size in known.items()}
        ours = BitTokenizer(published(name)).state_dict()
    assert from_infinity_vae(given, published(name), Path("golden"), "").keys() == ours.keys()


def test_a_written_file_is_read_as_the_same_tokenizer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = BitTokenizer(SMALL).eval()
    path = tmp_path / "vae.pth"
    write_infinity_vae(path, tokenizer)
    stored = torch.load(path, weights_only=True)
    assert set(stored) == {"vae"} and stored["vae"][MASKS[0]].tolist() == [4, 2, 1]
    image = torch.rand(1, 3, 16, 24)
    wanted = tokenizer.encode(image)
    again = read_infinity_vae(path, SMALL, "")
    assert torch.equal(again.encode(image), wanted) and torch.equal(again.decode(wanted), tokenizer.decode(wanted))
    assert not again.training and not any(item.requires_grad for item in again.parameters())
    # The plain names that the published code reads, too; without masks, as training scripts save them.
    plain = {name.replace(".conv.", ".").replace(".norm.", "."): item for name, item in stored["vae"].items()}
    doubled = {name for name in stored["vae"] if ".conv.conv." in name}
    plain = {name: item for name, item in plain.items() if name not in MASKS and "sample" not in name}
    plain |= {name.replace(".conv.conv.", ".conv."): stored["vae"][name] for name in doubled}
    assert not plain.keys() & stored["vae"].keys()
    torch.save({"model": {f"module.{name}": item for name, item in plain.items()}}, path)
    assert torch.equal(read_infinity_vae(path, SMALL, "").encode(image), wanted)
    assert [each.name for each in tmp_path.iterdir()] == ["vae.pth"]


def test_every_misfit_is_refused_by_name() -> None:
    state = to_infinity_vae(BitTokenizer(SMALL).state_dict(), SMALL)
    state["encoder.conv_out.conv.weight"] = torch.zeros(4, 48, 3, 3)
    state["encoder.extra"] = state.pop("decoder.up.1.upsample.conv.conv.bias")
    with pytest.raises(ValueError) as refusal:
        from_infinity_vae(state, SMALL, Path("vae.pth"), "download it again")
    assert str(refusal.value) == (
        "vae.pth does not fit: 1 missing: decoder.up.1.upsample.conv.conv.bias; 1 unknown: encoder.extra; "
        "1 of another shape: encoder.conv_out.conv.weight [4, 48, 3, 3] instead of [3, 48, 3, 3]; download it again"
    )
    state["encoder.norm_out.weight"] = state["encoder.norm_out.norm.weight"]
    with pytest.raises(ValueError, match=r"vae.pth has encoder.norm_out.norm.weight twice"):
        from_infinity_vae(state, SMALL, Path("vae.pth"), "")


def test_a_tokenizer_without_a_published_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="a tokenizer with stem 4 has no published layout; Infinity's has stem 1"):
        key_table(nano())
