"""The same part of a picture from several methods, side by side, at a known zoom.

Knows entrants, boxes and pixels. A pixel of the picture becomes `zoom` x `zoom` pixels of the figure, unsmoothed, so
that what is seen is what a method made.

Suffixes: 3 RGB, H W sides of a picture [px], h w of the LQ one.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lit_pure.images.color import luma
from lit_pure.images.labels import BICUBIC, GROUND_TRUTH, LQ, RESTORED
from lit_pure.notebook.entrants import Entrant, kept_by_any, other_pictures
from lit_pure.notebook.style import DPI, HIGHLIGHT, WIDTH, Panel, axes, draw_panel, styled


@dataclass(frozen=True)
class Box:
    """A part of a picture [px of the ground truth]."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image_3HW: Tensor, whole: tuple[int, int]) -> Tensor:
        """What the picture shows there; one of another size than `whole` (H, W) is enlarged to it pixel by pixel."""
        even_3HW = F.interpolate(image_3HW[None], whole, mode="nearest-exact")[0]
        return even_3HW[:, self.top : self.top + self.height, self.left : self.left + self.width]


def pictures(all_of_them: Mapping[str, Entrant]) -> list[str]:
    """What was scored, as SET/IMAGE; first what most methods have."""
    rows = (row for entrant in all_of_them.values() for row in entrant.scores().index)
    counts = Counter(f"{test_set}/{image}" for test_set, image in rows)
    return [name for name, _ in counts.most_common()]


def busiest(image_3HW: Tensor, side: int) -> Box:
    """The square with the most detail: the largest mean change of brightness from pixel to pixel.

    Raises ValueError where the picture is smaller than the square.
    """
    height, width = image_3HW.shape[-2:]
    if side > min(height, width):
        raise ValueError(f"a box of {side} px does not fit into a picture of {height} x {width} px")
    grey_HW = luma(image_3HW)
    change_HW = torch.zeros_like(grey_HW)
    change_HW[1:] += grey_HW.diff(dim=0).abs()
    change_HW[:, 1:] += grey_HW.diff(dim=1).abs()
    detail_hw = F.avg_pool2d(change_HW[None, None], side, stride=1)[0, 0]
    top, left = divmod(int(detail_hw.argmax()), detail_hw.shape[1])
    return Box(top, left, side, side)


@styled
def side_by_side(all_of_them: Mapping[str, Entrant], name: str, box: Box | None = None, zoom: int = 4) -> Figure:
    """The whole picture with the box drawn, then LQ, every method and the ground truth inside the box.

    Args:
        all_of_them: the methods; those that did not keep the picture, or tested another one of this name, are left out.
        name: SET/IMAGE, one of `pictures`.
        box: the part; without it the busiest square of three eighths of the side.
        zoom: pixels of the figure per pixel of the picture.

    Raises:
        ValueError: nobody kept the picture, the box lies outside, or `zoom` is below 1.
    """
    if zoom < 1:
        raise ValueError(f"zoom {zoom} is below 1")
    test_set, _, image = name.partition("/")
    made = {label: one.picture(test_set, image) for label, one in all_of_them.items()}
    found = {label: picture for label, picture in made.items() if picture is not None}
    if not found:
        known = ", ".join(pictures(all_of_them)[:5])
        raise ValueError(f"nobody kept a picture of {name}; raise evaluation.keep, or choose one of {known} ...")
    # The first restorer's pictures decide: others of the same name may be other parts of the photograph.
    runs_own = [all_of_them[label] for label in found if all_of_them[label].method != BICUBIC]
    reference = min(runs_own, key=lambda one: one.task != RESTORED, default=None)
    alike = {label: one for label, one in all_of_them.items() if not reference or not other_pictures(reference, one)}
    shown = {label: picture for label, picture in found.items() if label in alike}
    lq_3hw, hq_3HW = (kept_by_any(alike.values(), test_set, kind, image) for kind in ("lq", "hq"))
    whole_3HW = hq_3HW if hq_3HW is not None else list(shown.values())[-1]
    size = (whole_3HW.shape[-2], whole_3HW.shape[-1])
    box = box or busiest(whole_3HW, min(size) * 3 // 8)
    if min(box.top, box.left) < 0 or box.top + box.height > size[0] or box.left + box.width > size[1]:
        raise ValueError(f"{box} does not lie in the picture of {size[0]} x {size[1]} px")
    parts = {LQ: lq_3hw, **shown, GROUND_TRUTH: hq_3HW}
    panels = [Panel(label, box.cut(picture, size)) for label, picture in parts.items() if picture is not None]
    left_out = [label for label in found if label not in shown]
    note = f"; other pictures, left out: {', '.join(left_out)}" if left_out else ""
    return _draw(name, whole_3HW, box, panels, zoom, note)


def _draw(name: str, whole_3HW: Tensor, box: Box, panels: list[Panel], zoom: int, note: str) -> Figure:
    """As many panels in a row as fit, the whole picture first, all as wide as the box is at this zoom."""
    width, height = (side * zoom / DPI for side in (box.width, box.height))
    columns = max(1, min(len(panels) + 1, int(WIDTH / (width + 0.1))))
    rows = -(-(len(panels) + 1) // columns)
    figure, places = axes(rows, columns, columns * (width + 0.1), rows * (height + 0.3))
    for place in places:
        place.set_axis_off()
    draw_panel(places[0], Panel("whole picture", whole_3HW))
    corner = (box.left - 0.5, box.top - 0.5)
    places[0].add_patch(Rectangle(corner, box.width, box.height, fill=False, edgecolor=HIGHLIGHT, linewidth=1.8))
    places[0].set_axis_on()
    for place, panel in zip(places[1:], panels, strict=False):
        place.set_axis_on()
        draw_panel(place, panel)
    size = f"{name}, {whole_3HW.shape[-1]} x {whole_3HW.shape[-2]} px"
    part = f"each part is {box.width} x {box.height} px, enlarged {zoom} times"
    figure.supxlabel(f"{size}; {part}{note}", fontsize=8, color="#777777")
    return figure
