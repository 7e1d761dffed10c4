"""Captions from LLaVA, or another transformers model that answers a question about a picture.

Knows where weights come from (a folder, or the Hugging Face hub), how to ask, and how to read the answer. Knows nothing
of other files.

Suffixes: B pictures, T tokens; 3 RGB, H height, W width.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

Dtype = Literal["auto", "float32", "bfloat16"]
"""`auto` is float32 on a CPU, elsewhere the dtype of the published weights."""

FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
"""Which files of a repository are downloaded: no pickles, and no weights twice."""


def weights_folder(model: str, revision: str | None = None) -> Path:
    """`model` itself where it is a folder; else its folder in the hub's cache, downloaded where it is missing.

    Raises:
        ValueError: neither exists, and the download fails; gives a remedy.
    """
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=FILES))
    except (OSError, ValueError) as error:
        command = shlex.join(["hf", "download", model, *(["--revision", revision] if revision else [])])
        raise ValueError(
            f"{model} is not a folder and cannot be downloaded ({_first_line(error)}); run `{command}` "
            "on a machine with a network, or give a folder with --model, or use --source pixels"
        ) from error


class Llava:
    """Asks a model the same question about each picture; the likeliest words are the caption (no sampling).

    In float32 a caption does not depend on the batch; in coarser dtypes rounding may change a word.

    Raises:
        ValueError: the folder contains no such model, or weights are missing.
    """

    def __init__(self, folder: Path, prompt: str, max_tokens: int, device: torch.device, dtype: Dtype = "auto") -> None:
        """`max_tokens` cuts long answers."""
        import transformers

        library: Any = transformers  # only partly annotated
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()
        as_published = dtype == "auto" and device.type != "cpu"
        number: Any = "auto" if as_published else torch.bfloat16 if dtype == "bfloat16" else torch.float32
        try:
            self.processor: Any = library.AutoProcessor.from_pretrained(folder)
            loader = library.AutoModelForImageTextToText
            model, report = loader.from_pretrained(folder, dtype=number, output_loading_info=True)
            self.model: Any = model.to(device).eval()
            self.question = self._question(prompt)
            self.processor.tokenizer.padding_side = "left"  # answers begin where questions end
            if self.processor.tokenizer.pad_token is None:
                self.processor.tokenizer.pad_token = self.processor.tokenizer.eos_token
            self._inputs([torch.zeros(3, 8, 8, dtype=torch.uint8)])
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise ValueError(f"{folder}: not enough memory; use --dtype bfloat16, or a smaller --model") from error
        except Exception as error:  # readers of broken folders raise nearly anything
            reason = f"{type(error).__name__}: {_first_line(error)}"
            raise ValueError(
                f"{folder}: cannot be loaded ({reason}); give a folder with a transformers LLaVA"
            ) from error
        if missing := sorted(report["missing_keys"]):
            raise ValueError(f"{folder}: {len(missing)} weights are missing, such as {missing[0]}; download it again")
        self.max_tokens = max_tokens

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Tensor]) -> list[str]:
        """The answers, without the question.

        Args:
            pictures: each `(3, H, W)` RGB uint8, of any size.

        Raises:
            ValueError: not enough memory.
        """
        tokenizer = self.processor.tokenizer
        inputs = self._inputs(pictures).to(self.model.device, self.model.dtype)
        pad, most = tokenizer.pad_token_id, self.max_tokens
        try:
            ids_BT = self.model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=most, pad_token_id=pad)
        except (MemoryError, torch.OutOfMemoryError) as error:
            many = f"{len(pictures)} pictures at once"
            raise ValueError(f"not enough memory for {many}; give a smaller --batch") from error
        answers_BT = ids_BT[:, inputs["input_ids"].shape[1] :]
        answers: list[str] = tokenizer.batch_decode(answers_BT, skip_special_tokens=True)
        return answers

    def _inputs(self, pictures: Sequence[Tensor]) -> Any:
        """What the model takes."""
        bos = self.processor.tokenizer.bos_token
        return self.processor(
            images=[Image.fromarray(picture_3HW.permute(1, 2, 0).contiguous().numpy()) for picture_3HW in pictures],
            text=[self.question] * len(pictures),
            padding=True,
            return_tensors="pt",
            # a template that already contains the first token must not get it twice
            add_special_tokens=not (bos and self.question.startswith(bos)),
        )

    def _question(self, prompt: str) -> str:
        """The question in the model's chat template; without one, in LLaVA 1.5's training format."""
        if not getattr(self.processor, "chat_template", None):
            return f"USER: <image>\n{prompt} ASSISTANT:"
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        conversation = [{"role": "user", "content": content}]
        question: str = self.processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        return question


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
