"""The plan of a study: `data/studies/NAME.yaml`, checked before anything is computed.

Knows arms, sets, seeds and claims as written. Knows nothing of weights, pictures or pages, and imports no torch, so
that mistakes are refused at once.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from lit_pure.config.compose import ConfigError, read
from lit_pure.config.experiment import BaselineName
from lit_pure.config.knobs import Problem, knob
from lit_pure.config.project import locate, names_in
from lit_pure.metrics.table import METRICS

FOLDER = "data/studies"
"""Folder of plans: NAME.yaml."""
ENTROPY = {
    "entropy-edges": "rank correlation of entropy and edges",
    "entropy-texture": "rank correlation of entropy and texture",
}
"""Measures of entropy maps, besides the metrics of pictures, with their labels."""
_CLAIM = re.compile(
    r"(?P<metric>[\w+-]+): (?P<better>\w+) better than (?P<than>\w+)"
    r"(?: by (?P<by>-?\d+(?:\.\d+)?))?(?: on (?P<set>[\w-]+))?"
)
_POOR = re.compile(r"([\w+-]+) [<>] (-?\d+(?:\.\d+)?)")

Method = Literal["restore", "reconstruct", BaselineName]
"""What an arm does with a picture: restore its LQ with a run, tokenize and decode its HQ with a run, or enlarge its LQ
with a baseline (`lit-pure baseline --list`)."""


@dataclass(frozen=True)
class Claim:
    """The claim that one mean is better than another, by at least some amount."""

    metric: str
    better: str
    than: str
    by: float = 0.0
    """In the metric's unit; a negative amount claims: worse by at most that."""
    on: str = ""
    """The set that it is about; empty: all sets."""


@dataclass
class SetConfig:
    """A set of pictures: photographs to degrade, or given pairs."""

    photos: str = ""
    """A folder of photographs, or `skimage`."""
    names: list[str] = knob([])
    """File names without extension to take; empty takes all."""
    preset: str = "realesrgan"
    """Degradation of the photographs."""
    size: int = knob(0, low=0)
    """Side of the central square of each photograph [px]; 0 takes the whole photograph."""
    lq: str = ""
    """A folder of given LQ pictures."""
    hq: str = ""
    """The folder of their HQ pictures."""
    shown: bool = False
    """Whether the page shows these pictures instead of counting them; they must be free to publish."""

    def problems(self) -> Iterator[Problem]:
        if bool(self.photos) == bool(self.lq) or bool(self.lq) != bool(self.hq):
            yield "photos", "or lq and hq: name a folder of photographs, or two folders of pairs"


@dataclass
class ArmConfig:
    """One of the compared methods."""

    what: str = ""
    """A short description."""
    row: str = ""
    """The published row that it corresponds to."""
    method: Method = "restore"
    run: str = ""
    """The run with the weights; empty: the study's."""
    settings: list[str] = knob([])
    """Changed settings of the run, such as sampling.k=1; they override the study's."""
    words: Literal["model", "given"] = "model"
    """Source of the words before the image: the model, or the estimator and the caption of the HQ picture."""
    codes: Literal["model", "given"] = "model"
    """Source of the picture's codes: the model, or the HQ picture: what no model could draw better."""
    sets: list[str] = knob([])
    """The sets that it is measured on; empty: all."""
    seeds: int = knob(0, low=0)
    """Number of the study's seeds to use; 0: all. One is enough for a deterministic arm."""

    @property
    def needs_run(self) -> bool:
        """Whether weights of a run are needed; a baseline brings its own."""
        return self.method in ("restore", "reconstruct")


@dataclass
class StudyConfig:
    """A study."""

    title: str = ""
    question: str = ""
    """The question, in a paragraph."""
    layout: str = ""
    """The layout of `report` with the published rows; empty: none."""
    run: str = ""
    """The run with the weights, for arms that name no run."""
    settings: list[str] = knob([])
    """Changed settings of the run, for all arms."""
    seeds: list[int] = knob([0, 1, 2], low=0)
    """Of sampling."""
    metrics: list[str] = knob(["psnr", "ssim", "niqe"])
    """Keys of metrics, `entropy-edges` and `entropy-texture`."""
    sets: dict[str, SetConfig] = field(default_factory=dict)
    arms: dict[str, ArmConfig] = field(default_factory=dict)
    claims: list[str] = knob([])
    """For example "psnr: top1 better than dynamic by 0.5 on bsds500"; the last two parts are optional."""
    source: str = ""
    """Origin of the claims."""
    findings: list[str] = knob([])
    """What the answers mean, and why a claim does not hold: written by hand once the figures exist."""
    remarks: list[str] = knob([])
    """What readers must know."""
    levels: list[str] = knob([])
    """Sets of the same photographs at degradations that grow: the page says how each arm holds up along them."""
    poor: list[str] = knob([])
    """Pictures to count at every level, for example "psnr < 20" and "niqe > 8"."""

    def problems(self) -> Iterator[Problem]:
        if unknown := [key for key in self.metrics if key not in METRICS and key not in ENTROPY]:
            yield "metrics", f"has no {unknown[0]}; there are {', '.join([*METRICS, *ENTROPY])}"
        if sets := [key for key in self.metrics if key in METRICS and METRICS[key].of_sets]:
            yield "metrics", f"{sets[0]} compares sets, not single pictures"
        for text in self.poor:
            key = text.partition(" ")[0]
            if not _POOR.fullmatch(text) or key not in self.metrics or key not in METRICS:
                yield "poor", f"{text!r}: write METRIC < NUMBER or METRIC > NUMBER, of {', '.join(self.metrics)}"
            elif ("<" in text) != METRICS[key].higher_is_better:
                yield "poor", f"{text!r}: these are the good pictures; turn it round"
        yield from self._wrong_levels()
        for text in self.claims:
            found = _CLAIM.fullmatch(text)
            if found is None:
                yield "claims", f"{text!r}: write METRIC: ARM better than ARM [by NUMBER] [on SET]"
                continue
            known = {"metric": self.metrics, "better": self.arms, "than": self.arms, "set": ["", *self.sets]}
            for part, names in known.items():
                if (found[part] or "") not in names:
                    yield "claims", f"{text!r}: there is no {part} {found[part]!r}; there are {', '.join(names)}"
        for name, arm in self.arms.items():
            if arm.words == arm.codes == "given":
                yield f"arms.{name}.codes", "= given leaves no words to give; set words: model"
            if wrong := [one for one in arm.sets if one not in self.sets]:
                yield f"arms.{name}.sets", f"has no {wrong[0]}; there are {', '.join(self.sets)}"
            if arm.needs_run and not (arm.run or self.run):
                yield f"arms.{name}.run", "is empty, and so is the study's: name a run"

    def poor_scores(self, metric: str) -> list[float]:
        """The scores beyond which a picture is poor in a metric."""
        return [float(found[2]) for text in self.poor if (found := _POOR.fullmatch(text)) and found[1] == metric]

    def _wrong_levels(self) -> Iterator[Problem]:
        if unknown := [name for name in self.levels if name not in self.sets]:
            yield "levels", f"has no {unknown[0]}; there are {', '.join(self.sets)}"
            return
        for name in self.levels:
            first, one = (self.sets[key] for key in (self.levels[0], name))
            if replace(one, preset="") != replace(first, preset="") or one.lq or one.shown:
                yield "levels", f"{self.levels[0]} and {name} differ in more than their presets, or are given or shown"

    def parsed_claims(self) -> list[Claim]:
        """The claims, parsed."""
        parts = [found.groupdict() for text in self.claims if (found := _CLAIM.fullmatch(text))]
        return [
            Claim(one["metric"], one["better"], one["than"], float(one["by"] or 0), one["set"] or "") for one in parts
        ]


def studies() -> list[str]:
    """The names of all plans."""
    return names_in(FOLDER)


def plan_of(name: str) -> StudyConfig:
    """The plan of a name. Raises ConfigError listing all mistakes in it."""
    path = locate(f"{FOLDER}/{name}.yaml")
    if not path.is_file():
        raise ConfigError(f"no study {name!r} (looked for {path}); there are {', '.join(studies()) or 'none'}")
    return read(StudyConfig, path)
