"""PURE's restorer: perceive, understand, restore.

Knows the way of a square through the frozen parts: codes -> prompt -> answer -> codes -> picture -> colours.
Photographs of any size are `restoring/tiled.py`'s. Knows nothing of training, files or run folders.

Shape legend: B pictures, s side of the model's square [px], h w grid of codes or source [px], l what a tile shows [px].
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from torch import Tensor, nn

from lit_pure.config.experiment import ColorFix, RestoringConfig, RestoringExperiment
from lit_pure.config.pure import PureExperiment, RestorerConfig, SamplingConfig
from lit_pure.families.pure.given_codes import GivenCodes
from lit_pure.families.pure.prior import LQPrior
from lit_pure.families.pure.said import maps_of_answer, words_of_answer, words_of_photo
from lit_pure.families.pure.sampling.decode import Decoded, decode, undrawn
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sequence.assemble import AnswerWords, Assembler
from lit_pure.families.pure.sequence.layout import image_length
from lit_pure.families.pure.weights import load_restorer, save_restorer
from lit_pure.files.names import number_of
from lit_pure.images.tiles import Tile
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.precision import prepare
from lit_pure.models.vq import VQTokenizer
from lit_pure.restoring import tiled
from lit_pure.restoring.contract import (
    CellMap,
    Clock,
    CodeRestorer,
    CodeSquare,
    Progress,
    Restoration,
    TileWords,
    Words,
)
from lit_pure.restoring.photo import PhotoProgress, RestoredPhoto
from lit_pure.restoring.rendering import fix_squares

Given = AnswerWords | GivenCodes
"""What the model does not make itself for a square: its words, or its codes."""


class Restorer(CodeRestorer, ModelHubMixin):
    """Restores pictures with a backbone and a frozen tokenizer.

    `save_pretrained(folder)`, `from_pretrained(folder or hub repository)` and `push_to_hub(repository)` are those of
    huggingface_hub; `from_pretrained` raises ValueError naming what is wrong with a folder.
    """

    def __init__(
        self,
        tokenizer: VQTokenizer,
        backbone: NextTokenBackbone,
        assembler: Assembler,
        sampling: SamplingConfig,
        size: int,
        scale: int,
        restoring: RestoringConfig | None = None,
    ) -> None:
        """`size`: side of the model's square [px]; `scale`: how many times a side is enlarged."""
        if tokenizer.config.codes != assembler.vocabulary.codes:
            raise ValueError(
                f"the tokenizer has {tokenizer.config.codes} codes and the vocabulary {assembler.vocabulary.codes}; "
                "choose another needs.tokenizer, or make a vocabulary with `lit-pure vocabulary`"
            )
        self.tokenizer, self.backbone, self.assembler = tokenizer, backbone, assembler
        self.sampling, self.size, self.scale = sampling, size, scale
        self.prior = LQPrior(tokenizer, assembler.vocabulary) if backbone.config.lq_prior else None
        if sampling.prior and not self.prior:
            raise ValueError(
                f"sampling.prior = {sampling.prior} adds to the weight of the backbone's prior, and this backbone has "
                "none: set it to 0, or train with backbone.lq_prior above 0, as pure/nano_photo does"
            )
        self.restoring = restoring or RestoringConfig()
        if self.restoring.fidelity and not tokenizer.sees_photo:
            raise ValueError(
                f"restoring.fidelity = {self.restoring.fidelity} needs a tokenizer whose decoder sees the photograph, "
                "such as tokenizer/nano_photo; this one takes codes alone: set it to 0, or train with another tokenizer"
            )

    def parts(self) -> Mapping[str, nn.Module]:
        return {"backbone": self.backbone, "tokenizer": self.tokenizer}

    @property
    def expected_tokens(self) -> int:
        """Tokens of a square's picture; how long its text will be nobody knows before."""
        cells = self.size // self.tokenizer.downsample
        return image_length(cells, cells)

    @property
    def together(self) -> int:
        """With windows, two squares have rows enough for a pass, and a diagonal of eight has work for four cores."""
        return 2 if self.sampling.engine == "jacobi" else super().together

    @property
    def cell(self) -> int:
        return self.tokenizer.downsample

    @property
    def context(self) -> int | None:
        return self.tokenizer.context

    @property
    def sees_source(self) -> bool:
        return self.tokenizer.sees_photo

    def with_settings(self, settings: RestoringExperiment) -> Self:
        assert isinstance(settings, PureExperiment)
        other = super().with_settings(settings)
        other.sampling = settings.sampling
        return other

    def settings(self) -> dict[str, Any]:
        sharpen = self.tokenizer.config.decoder.sharpen
        return {"sampling": self.sampling.identity(), **({"sharpen": sharpen} if sharpen else {})}

    def computing(self) -> dict[str, str]:
        weight = self.backbone.head.weight
        return {
            "engine": self.sampling.engine,
            "dtype": str(weight.dtype).removeprefix("torch."),
            "quantize": self.sampling.quantize,
            "attention": self.backbone.attention(weight.device, weight.dtype).name,
        }

    def restore_squares(
        self,
        enlarged_B3ss: Tensor,
        names: Sequence[str],
        *,
        color_fix: ColorFix,
        shown: tuple[int, int] | None = None,
        given: Sequence[Given] | None = None,
        progress: Progress | None = None,
        clock: Clock | None = None,
    ) -> list[Restoration]:
        """As the contract says. Words are `text`, `blur`, `noise` and `caption`; maps are `entropy` and `k`."""
        codes_Bhw = self.tokenizer.encode(enlarged_B3ss)
        if clock:
            clock("encode")
        decoded = self.answer(codes_Bhw, names, progress, given)
        if clock:
            clock("text", decoded.text_seconds)
            clock("codes")
        return self.restorations(enlarged_B3ss, decoded, color_fix, shown, clock)

    def restorations(
        self,
        enlarged_B3ss: Tensor,
        decoded: Decoded,
        color_fix: ColorFix,
        shown: tuple[int, int] | None = None,
        clock: Clock | None = None,
    ) -> list[Restoration]:
        """The answers of a batch as pictures, words and maps; arguments are those of `restore_squares`."""
        made_B3ss = self.render_codes(decoded.codes_Bhw, enlarged_B3ss)
        if clock:
            clock("decode")
        fixed_B3ll = fix_squares(made_B3ss, enlarged_B3ss, shown or (self.size, self.size), color_fix, self.restoring)
        return [self._restoration(row, fixed_3ll, decoded) for row, fixed_3ll in enumerate(fixed_B3ll)]

    def draw_codes(
        self,
        enlarged_B3ss: Tensor,
        names: Sequence[str],
        known_Bhw: Tensor,
        *,
        given: Sequence[Given] | None = None,
        progress: Progress | None = None,
    ) -> list[CodeSquare]:
        """As the contract says; the model reads known codes as if it had drawn them. Words and maps as of squares."""
        decoded = self.answer(self.tokenizer.encode(enlarged_B3ss), names, progress, given, known_Bhw)
        count, (height, width) = len(names), known_Bhw.shape[1:]
        drawn_B = (known_Bhw < 0).sum((1, 2)).tolist()
        forced = image_length(height, width) - height * width
        return [
            CodeSquare(
                codes_hw,
                decoded.seconds / count,
                words_of_answer(self.assembler, decoded.text[row]),
                self._maps(decoded, row, height, width),
                len(decoded.text[row]) + forced + drawn_B[row] if decoded.tokens else 0,
            )
            for row, codes_hw in enumerate(decoded.codes_Bhw)
        ]

    def render_codes(self, codes_Bhw: Tensor, enlarged_B3HW: Tensor) -> Tensor:
        """The tokenizer's picture; its decoder takes from the enlarged source as much as `restoring.fidelity` says."""
        return self.tokenizer.decode(codes_Bhw, enlarged_B3HW, self.restoring.fidelity)

    def restore_photo(
        self,
        photo_3hw: Tensor,
        name: str,
        scale: int | None = None,
        color_fix: ColorFix | None = None,
        progress: PhotoProgress | None = None,
        given: Callable[[Tile], Given] | None = None,
    ) -> RestoredPhoto:
        """Restore one photograph of any size; arguments and errors are those of `tiled.restore_photo`."""
        return tiled.restore_photo(self, photo_3hw, name, scale, color_fix, progress, given)

    def answer(
        self,
        codes_Bhw: Tensor,
        names: Sequence[str],
        progress: Progress | None = None,
        given: Sequence[Given] | None = None,
        known_Bhw: Tensor | None = None,
    ) -> Decoded:
        """What the model writes to a batch of LQ codes, after the words in `given`, around the codes in `known_Bhw`.

        With `sampling.codes: lq`, or codes in `given`, it writes nothing: these are the answer.
        """
        if self.sampling.codes == "lq":
            return undrawn(codes_Bhw)
        if given and isinstance(given[0], GivenCodes):
            return undrawn(torch.stack([one.codes_hw for one in given if isinstance(one, GivenCodes)]))
        prompts = [self.assembler.prompt(codes_hw) for codes_hw in codes_Bhw]
        grammar = Grammar.of(self.assembler, *codes_Bhw.shape[1:])
        numbers = [number_of(name) for name in names]
        was_training = self.backbone.training
        self.backbone.eval()
        texts = [self.assembler.text(words) for words in given if isinstance(words, AnswerWords)] if given else None
        how = (self.backbone, prompts, grammar, self.sampling, numbers, codes_Bhw, progress)
        decoded = decode(*how, texts=texts, known_Bhw=known_Bhw, prior=self.prior)
        self.backbone.train(was_training)
        return decoded

    def words_of(self, tiles: Sequence[TileWords], height: int, width: int) -> Words:
        return words_of_photo(tiles, height, width)

    def _restoration(self, row: int, image_3ll: Tensor, decoded: Decoded) -> Restoration:
        """One answer as picture, words and maps, these without what is padding."""
        squares = len(decoded.text)
        image_tokens = (decoded.tokens - sum(map(len, decoded.text))) // squares
        rows, columns = (-(-side // self.cell) for side in image_3ll.shape[-2:])
        return Restoration(
            image_3ll,
            decoded.seconds / squares,
            words_of_answer(self.assembler, decoded.text[row]),
            self._maps(decoded, row, rows, columns),
            len(decoded.text[row]) + image_tokens,
            decoded.passes,
        )

    def _maps(self, decoded: Decoded, row: int, height: int, width: int) -> dict[str, CellMap]:
        return maps_of_answer(decoded, row, (height, width), self.cell, self.tokenizer.config.codes)

    def save_to(self, folder: Path) -> None:
        self.save_pretrained(folder)

    def _save_pretrained(self, save_directory: Path) -> None:
        own = self.assembler
        words = (own.mode, own.max_caption, own.text_length)
        settings = RestorerConfig(*words, self.size, self.scale, self.sampling, self.restoring)
        save_restorer(save_directory, settings, self.tokenizer, self.backbone, own.vocabulary)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **model_kwargs: Any,
    ) -> "Restorer":
        """`sampling` and `restoring` may be given; else they are those that were saved."""
        if unknown := sorted(model_kwargs.keys() - {"sampling", "restoring"}):
            raise ValueError(f"from_pretrained takes sampling and restoring, not {', '.join(unknown)}")
        folder = Path(model_id)
        if not folder.is_dir():
            downloaded = snapshot_download(
                model_id,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
            )
            folder = Path(downloaded)
        settings, tokenizer, backbone, vocabulary = load_restorer(folder)
        words = (settings.max_caption, settings.text_length)
        assembler = Assembler(vocabulary, settings.guidance_mode, tokenizer.downsample, *words)
        sampling = model_kwargs.get("sampling", settings.sampling)
        restoring = model_kwargs.get("restoring", settings.restoring)
        prepare(backbone, sampling)
        return cls(tokenizer, backbone, assembler, sampling, settings.size, settings.scale, restoring)
