"""How a photograph was degraded: every drawn number, the picture after each step, and the estimator's scores.

Knows `Degradation` and how to describe it. `degradation.pipeline` applies the steps.

Suffixes: 3 RGB, H W sides of a picture [px].
"""

import math

import pandas as pd
from matplotlib.figure import Figure

from lit_pure.config.dem import LEVELS
from lit_pure.degradation.kernels import DELTA, Kernel
from lit_pure.degradation.numbers import Degradation, Noise, Resize
from lit_pure.degradation.pipeline import stages
from lit_pure.images.labels import GROUND_TRUTH
from lit_pure.notebook.style import COLORS, INK, WIDTH, Panel, draw_panel, make_axes, picture_grid, styled
from lit_pure.notebook.subject import Subject

LEFT_OUT = "none"
TITLE_LENGTH = 30
"""Letters that fit above a picture."""
SHADES = ("#eef3f7", "#d3dfe9", "#adc3d5")
"""Background of small, medium and large scores."""


def describe_steps(drawn: Degradation) -> dict[str, str]:
    """Each step of `degradation.pipeline.stages` with its numbers, in the order of the steps."""
    final = [("final size", f"to the LQ size, {drawn.final_mode}"), ("final sinc", _describe_kernel(drawn.sinc))]
    last = [("JPEG 2", _describe_quality(drawn.quality2))]
    return {
        "sharpen": "unsharp mask" if drawn.sharpen else LEFT_OUT,
        "blur 1": _describe_kernel(drawn.blur1),
        "resize 1": _describe_resize(drawn.resize1, "HQ size"),
        "noise 1": _describe_noise(drawn.noise1),
        "JPEG 1": _describe_quality(drawn.quality1),
        "blur 2": _describe_kernel(drawn.blur2),
        "resize 2": _describe_resize(drawn.resize2, "LQ size"),
        "noise 2": _describe_noise(drawn.noise2),
        **dict([*final, *last] if drawn.sinc_first else [*last, *final]),
    }


def table(subject: Subject) -> pd.DataFrame:
    """Every step with its numbers; a single line if the LQ picture was given."""
    words = (
        describe_steps(subject.degradation) if subject.degradation else {"given": "the LQ picture was not made here"}
    )
    found = pd.DataFrame.from_dict(words, orient="index", columns=["drawn"])
    found.index.name = "step"
    return found


def pictures_after_steps(subject: Subject) -> Figure:
    """The picture after every step that was applied, each at its own size; only the LQ picture if it was given."""
    if subject.degradation is None or subject.hq_3HW is None:
        return picture_grid([Panel("LQ, as given", subject.lq_3hw)], 1)
    words = describe_steps(subject.degradation)
    panels = [Panel(GROUND_TRUTH, subject.hq_3HW, f"{subject.hq_3HW.shape[2]} x {subject.hq_3HW.shape[1]} px")]
    for step, image_3yx in stages(subject.hq_3HW, subject.degradation, subject.scale):
        if step in words and words[step] != LEFT_OUT:
            title = f"{len(panels)}. {step}\n{_shorten(words[step])}"
            panels.append(Panel(title, image_3yx, _describe_size(image_3yx.shape)))
    panels.append(Panel("LQ\nrounded to 8 bits", subject.lq_3hw, _describe_size(subject.lq_3hw.shape)))
    return picture_grid(panels, 5, f"{subject.name}: how it was degraded")


@styled
def estimator_scores(subject: Subject) -> Figure:
    """The estimator's two scores on their scales, with their levels; a note if the run has no estimator."""
    estimate = subject.estimate
    figure, [ax] = make_axes(1, 1, WIDTH * 0.62, 1.9)
    if estimate is None:
        note = f"{subject.run.label} was made without a degradation estimator"
        draw_panel(ax, Panel("", None, note))
        return figure
    ax.set_title(f"degradation estimator {estimate.source}", fontweight="bold")
    rows = zip(("blur", "noise"), estimate.scores, estimate.thresholds, estimate.levels, strict=True)
    for row, (_, score, bounds, level) in enumerate(rows):
        edges = [0.0, *bounds, 1.0]
        for shade, name, left, right in zip(SHADES, LEVELS, edges, edges[1:], strict=False):
            ax.barh(row, right - left, left=left, color=shade, height=0.62)
            if right - left > 0.08:
                ax.text((left + right) / 2, row, name, ha="center", va="center", fontsize=8, color="#5f7485")
        ax.plot([score], [row], "D", color=COLORS[1], markersize=8, clip_on=False, zorder=3)
        ax.text(1.02, row, f"{score:.3f}: {level}", va="center", color=INK)
    ax.set(xlim=(0, 1), ylim=(1.6, -0.6), xlabel="score (higher is worse; no physical unit)")
    ax.set_yticks([0, 1], ["blur", "noise"])
    ax.grid(False)
    ax.spines[["left"]].set_visible(False)
    return figure


def _describe_kernel(kernel: Kernel) -> str:
    if kernel == DELTA or kernel.shape == "delta":
        return LEFT_OUT
    if kernel.shape == "sinc":
        return f"sinc to {kernel.omega / math.pi:.2f} pi rad/px, {kernel.size} px"
    words = f"{kernel.shape.replace('_', ' ')}, sigma {kernel.sigma_x:.2f}"
    if kernel.sigma_x != kernel.sigma_y:
        words += f" x {kernel.sigma_y:.2f} px at {math.degrees(kernel.theta):.0f} deg"
    else:
        words += " px"
    if kernel.beta != 1:
        words += f", beta {kernel.beta:.2f}"
    return f"{words}, {kernel.size} px"


def _describe_resize(resize: Resize | None, to: str) -> str:
    return LEFT_OUT if resize is None else f"{resize.factor:.2f} of the {to}, {resize.mode}"


def _describe_noise(noise: Noise) -> str:
    if noise.strength <= 0:
        return LEFT_OUT
    size = f"sigma {noise.strength:.1f} of 255" if noise.kind == "gaussian" else f"scale {noise.strength:.2f}"
    return f"{noise.kind}, {size}, {'grey' if noise.gray else 'coloured'}"


def _describe_quality(quality: float | None) -> str:
    return LEFT_OUT if quality is None else f"quality {quality:.0f}"


def _shorten(words: str) -> str:
    """As much of the description as fits above a picture; the table has all of it."""
    while len(words) > TITLE_LENGTH and "," in words:
        words = words.rsplit(",", 1)[0]
    return words


def _describe_size(shape: tuple[int, ...]) -> str:
    return f"{shape[2]} x {shape[1]} px"
