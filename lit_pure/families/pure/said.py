"""What an answer says: the words of a square or of a whole photograph, and the maps of its draws.

Knows text ids, levels and captions. Knows nothing of models or pixels.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log

from lit_pure.config.dem import Level
from lit_pure.families.pure.sampling.decode import Decoded
from lit_pure.families.pure.sequence.assemble import Assembler
from lit_pure.families.pure.sequence.template import degradation_sentence, read_answer
from lit_pure.restoring.contract import CellMap, TileWords, Words, middle_tile


def words_of_answer(assembler: Assembler, ids: list[int]) -> Words:
    """The text of an answer, and what it says."""
    text = assembler.vocabulary.decode(ids)
    blur, noise, caption = read_answer(assembler.mode, text)
    return {"text": text.strip(), "blur": blur, "noise": noise, "caption": caption}


def words_of_photo(tiles: Sequence[TileWords], height: int, width: int) -> Words:
    """Of several tiles the levels said most often, and the caption of the one nearest to the middle."""
    blur, noise = (_most_frequent(tile.words[key] for tile in tiles) for key in ("blur", "noise"))
    # What stands in the middle is said of the whole sooner than what stands at an edge.
    caption = middle_tile(tiles, height, width).words["caption"] or ""
    sentence = degradation_sentence(blur, noise) if blur and noise else ""
    return {"text": f"{sentence} {caption}".strip(), "blur": blur, "noise": noise, "caption": caption}


def maps_of_answer(decoded: Decoded, row: int, shown: tuple[int, int], cell: int, codes: int) -> dict[str, CellMap]:
    """Entropy and k of one answer of a batch, of its upper left `shown` cells; entropy's scale ends at ln `codes`."""
    height, width = shown
    return {
        "entropy": CellMap(decoded.entropy_Bhw[row, :height, :width], "nats", cell, log(codes)),
        "k": CellMap(decoded.k_Bhw[row, :height, :width], "codes", cell),
    }


def _most_frequent(levels: Iterable[str | None]) -> Level | None:
    """The level said most often; the first of equals, None where none was said."""
    counted = Counter(level for level in levels if level)
    return counted.most_common(1)[0][0] if counted else None  # type: ignore[return-value]
