"""What the passes of one decoding share: captions, positions, and stored keys and values.

Knows one storage for all scales of a batch whose pictures have the same grids, so all rows are equally long. Knows
nothing of projections or bits.

Shape legend: N blocks, B rows, H heads, S tokens of all scales, d head channels, Q new tokens.
"""

from dataclasses import dataclass

from torch import Tensor

from lit_pure.models.frame_rope import Grid, tokens_in
from lit_pure.models.next_scale_blocks import Conditions, TextMemory, attend
from lit_pure.models.next_scale_text import Caption
from lit_pure.models.scale_masks import levels, sees


@dataclass
class ScaleState:
    """The scales that were read so far, and all that the next passes need."""

    grids: tuple[Grid, ...]
    caption: Caption
    shared: Conditions
    """With the angles of all tokens."""
    memories: list[TextMemory]
    """Keys and values of the captions, made once, for each block."""
    keys_NBHSd: Tensor
    values_NBHSd: Tensor
    scale: int = 0
    """Scales that were read."""
    length: int = 0
    """Their tokens."""

    def step(self, scales: int) -> "ScaleStep":
        """The pass over the next `scales` scales; `commit` closes it. Raises ValueError where so many do not follow."""
        if not 1 <= scales <= len(self.grids) - self.scale:
            raise ValueError(f"{scales} scales were asked for; {len(self.grids) - self.scale} are left")
        new = tokens_in(self.grids[self.scale : self.scale + scales])
        place = slice(self.length, self.length + new)
        levels_S = levels(self.grids, self.keys_NBHSd.device)[: place.stop]
        # One scale sees all that is stored; several scales must not see later ones.
        mask_QS = None if scales == 1 else sees(levels_S[place], levels_S)
        cos, sin = self.shared.angles
        shared = self.shared._replace(angles=(cos[place], sin[place]))
        return ScaleStep(self, place, levels_S[place], shared, mask_QS)

    def commit(self, scales: int, tokens: int) -> None:
        """Count what a pass has stored."""
        self.scale, self.length = self.scale + scales, self.length + tokens


@dataclass(frozen=True)
class ScaleStep:
    """One pass: where its keys and values are stored, and what its tokens see."""

    state: ScaleState
    place: slice
    levels_Q: Tensor
    shared: Conditions
    mask_QS: Tensor | None

    @property
    def tokens(self) -> int:
        """Tokens of the pass."""
        return int(self.place.stop - self.place.start)

    def attend(self, layer: int, q_BHQd: Tensor, k_BHQd: Tensor, v_BHQd: Tensor) -> Tensor:
        """Store keys and values, then attend to all that each token may see."""
        keys_BHSd, values_BHSd = self.state.keys_NBHSd[layer], self.state.values_NBHSd[layer]
        keys_BHSd[:, :, self.place], values_BHSd[:, :, self.place] = k_BHQd, v_BHQd
        seen = slice(self.place.stop)
        return attend(q_BHQd.to(keys_BHSd.dtype), keys_BHSd[:, :, seen], values_BHSd[:, :, seen], self.mask_QS)


def new_state(grids: tuple[Grid, ...], caption: Caption, shared: Conditions, memories: list[TextMemory]) -> ScaleState:
    """An empty state whose rows are those of the captions, with room for all scales."""
    like = memories[0].keys_BHTd
    rows, heads, _, channels = like.shape
    keys, values = (like.new_empty(len(memories), rows, heads, tokens_in(grids), channels) for _ in range(2))
    return ScaleState(grids, caption, shared, memories, keys, values)
