"""From a low-quality picture to its restoration: perceive, understand, restore.

Knows the way through the frozen parts: enlarge -> codes -> prompt -> answer -> codes -> picture -> colours, for squares
of the model's size and, by overlapping squares, for photographs of any size. Knows nothing of training, files or run
folders.

Shape legend: B pictures, s side of the model's square [px], h w grid of codes, or source [px], H W restored
picture [px], l what a tile shows of it [px].
"""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from torch import Tensor

from lit_pure.config.experiment import ColorFix, RestoringConfig
from lit_pure.config.pure import RestorerConfig, SamplingConfig
from lit_pure.families.pure.sampling.decode import Decoded, decode
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sampling.passes import Progress
from lit_pure.families.pure.sequence.assemble import AnswerWords, Assembler
from lit_pure.families.pure.sequence.template import read_answer
from lit_pure.families.pure.weights import load_restorer, save_restorer
from lit_pure.images.colorfix import fix_colors
from lit_pure.images.geometry import enlarge_part, pad_to_square, resize, unpad
from lit_pure.images.tiles import Cover, Tile, batches
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.precision import prepare
from lit_pure.models.vq import VQTokenizer
from lit_pure.restoring.photo import GrowingPhoto, Ledger, PhotoProgress, Restoration, RestoredPhoto


def image_number(name: str) -> int:
    """A number that names an image for the sampling noise: the same name gives the same noise everywhere."""
    return zlib.crc32(name.encode())


class Restorer(ModelHubMixin):
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
        self.restoring = restoring or RestoringConfig()

    def to(self, device: torch.device) -> "Restorer":
        """Move backbone and tokenizer."""
        self.backbone.to(device)
        self.tokenizer.to(device)
        return self

    def restore(self, lq_B3hw: Tensor, names: Sequence[str], progress: Progress | None = None) -> list[Restoration]:
        """Restore a batch of squares of side `size / scale` (any size is stretched to the square)."""
        enlarged_B3ss = resize(lq_B3hw, self.size, self.size)
        return self._restorations(enlarged_B3ss, self.answer(enlarged_B3ss, names, progress), self.restoring.color_fix)

    def restore_photo(
        self,
        photo_3hw: Tensor,
        name: str,
        scale: int | None = None,
        color_fix: ColorFix | None = None,
        progress: PhotoProgress | None = None,
        told: Callable[[Tile], AnswerWords] | None = None,
    ) -> RestoredPhoto:
        """Restore one photograph of any size, enlarged `scale` times, by overlapping squares.

        Memory is bounded by `restoring.batch` squares, one row of them, and the result in 8 bits. What fits into one
        square draws the noise of `name`; of several squares each draws its own.

        Args:
            photo_3hw: in [0, 1].
            name: decides the noise.
            scale: at least 1; without it the one that the model was trained for.
            color_fix: without it that of the configuration.
            progress: told how many tokens there are, and how many were just made.
            told: gives the words of each square, which the model then need not find.

        Raises ValueError where `scale` is below 1, MemoryError where the result does not fit.
        """
        photo_3hw = photo_3hw.to(next(self.backbone.parameters()).device)
        scale = self.scale if scale is None else scale
        if scale < 1:
            raise ValueError(f"scale {scale} is below 1; a photograph is enlarged 1, 2, 3 ... times")
        fix, overlap = color_fix or self.restoring.color_fix, int(self.size * self.restoring.overlap)
        rows, columns = (Cover(side * scale, self.size, overlap) for side in photo_3hw.shape[-2:])
        count, shown = len(rows.starts) * len(columns.starts), (rows.extent, columns.extent)
        growing = GrowingPhoto(rows, columns, self.tokenizer.downsample)
        ledger = Ledger(count, self._image_tokens, progress)
        for tiles in batches(rows, columns, self.restoring.batch):
            squares_B3ss = torch.stack([self._square(photo_3hw, scale, tile) for tile in tiles])
            names = [name if count == 1 else f"{name}/{tile.number}" for tile in tiles]
            words = [told(tile) for tile in tiles] if told else None
            decoded = self.answer(squares_B3ss, names, ledger.made, words)
            growing.add(tiles, self._restorations(squares_B3ss, decoded, fix, shown))
            ledger.close(decoded, len(tiles))
        return growing.finish(ledger)

    def _square(self, photo_3hw: Tensor, scale: int, tile: Tile) -> Tensor:
        """The square (3, s, s) of the enlarged photograph at a tile; its last row and column go on beyond its end."""
        return pad_to_square(enlarge_part(photo_3hw, scale, tile.top, tile.left, self.size, self.size), self.size)

    def answer(
        self,
        enlarged_B3ss: Tensor,
        names: Sequence[str],
        progress: Progress | None = None,
        words: Sequence[AnswerWords] | None = None,
    ) -> Decoded:
        """What the model writes to a batch of enlarged squares, after `words` where these are given."""
        codes_Bhw = self.tokenizer.encode(enlarged_B3ss)
        prompts = [self.assembler.prompt(codes_hw) for codes_hw in codes_Bhw]
        grammar = Grammar.of(self.assembler, *codes_Bhw.shape[1:])
        numbers = [image_number(name) for name in names]
        was_training = self.backbone.training
        self.backbone.eval()
        texts = [self.assembler.text(one) for one in words] if words else None
        decoded = decode(self.backbone, prompts, grammar, self.sampling, numbers, codes_Bhw, progress, texts=texts)
        self.backbone.train(was_training)
        return decoded

    def _restorations(
        self, enlarged_B3ss: Tensor, decoded: Decoded, fix: ColorFix, shown: tuple[int, int] | None = None
    ) -> list[Restoration]:
        """Answers as pictures and words; of pictures and maps what is `shown` (height, width) [px], without padding."""
        height, width = shown or (self.size, self.size)
        made_B3ss = self.tokenizer.decode(decoded.codes_Bhw)
        # Cut first: what pads a small picture must have no say in its colours.
        fixed_B3ll = fix_colors(unpad(made_B3ss, height, width), unpad(enlarged_B3ss, height, width), fix)
        rows, columns = (-(-side // self.tokenizer.downsample) for side in (height, width))
        speed = decoded.tokens / decoded.seconds
        results = []
        for row, ids in enumerate(decoded.text):
            text = self.assembler.vocabulary.decode(ids)
            answer = read_answer(self.assembler.mode, text)
            entropy_hw, k_hw = (grid_Bhw[row, :rows, :columns] for grid_Bhw in (decoded.entropy_Bhw, decoded.k_Bhw))
            results.append(Restoration(fixed_B3ll[row], text.strip(), *answer, entropy_hw, k_hw, speed))
        return results

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

    @property
    def _image_tokens(self) -> int:
        """Tokens of a square's answer besides its text."""
        cells = self.size // self.tokenizer.downsample
        return Grammar.of(self.assembler, cells, cells).image_length


def bicubic(lq_B3hw: Tensor, size: int) -> Tensor:
    """What every restoration is compared to: bicubic enlargement to `size` x `size`."""
    with torch.no_grad():
        return resize(lq_B3hw, size, size)
