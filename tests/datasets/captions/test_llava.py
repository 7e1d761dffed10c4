"""The real classes of transformers, tiny, with random weights: answers are those of a loop over the likeliest word."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from lit_pure.datasets.captions.llava import Llava, weights_folder

CPU = torch.device("cpu")
TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}{{ message['role'] | upper }}: "
    "{% for item in message['content'] %}{{ '<image>' if item['type'] == 'image' else item['text'] }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
PATCH = 8
SIDE = 16


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as words, and a first token that is added to every text."""
    names = ["<pad>", "<s>", "</s>", "<image>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, additional_special_tokens=["<image>"], **special)


def save_tiny_llava(folder: Path, template: str | None = None, following: bool = False) -> Path:
    """A LLaVA 1.5 of 2 layers and its processor, or with `following` a LLaVA-NeXT; seed 0."""
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = CLIPVisionConfig(image_size=SIDE, patch_size=PATCH, **sizes)
    text = LlamaConfig(vocab_size=260, bos_token_id=1, eos_token_id=2, pad_token_id=0, **sizes)
    config: Any = {"vision_config": vision, "text_config": text, "image_token_index": 3}
    pixels: Any = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    common: Any = {"patch_size": PATCH, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    torch.manual_seed(0)
    if following:
        grid = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
        model: Any = LlavaNextForConditionalGeneration(LlavaNextConfig(image_grid_pinpoints=grid, **config))
        image_processor: Any = LlavaNextImageProcessor(image_grid_pinpoints=grid, **pixels)
        processor: Any = LlavaNextProcessor(image_processor, tiny_tokenizer(), chat_template=template, **common)
    else:
        model = LlavaForConditionalGeneration(LlavaConfig(**config))
        processor = LlavaProcessor(CLIPImageProcessor(**pixels), tiny_tokenizer(), chat_template=template, **common)
    with torch.no_grad():
        for parameter in model.parameters():  # larger than usual: answers shall differ from picture to picture
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def pictures(*sizes: tuple[int, int]) -> list[Tensor]:
    """Noise, seed 1."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]


SIZES = ((20, 30), (64, 16), (16, 64), (33, 33), (16, 17))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def llava(folder: Path) -> Llava:
    return Llava(folder, "What is it?", 12, CPU)


def likeliest(llava: Llava, picture_3HW: Tensor, question: str) -> str:
    """By hand: one word after the other, each from a pass over the whole sequence, without a cache."""
    processor, model = llava.processor, llava.model
    inputs = processor(images=[picture_3HW], text=[question], return_tensors="pt")
    ids_BT, questions = inputs["input_ids"], inputs["input_ids"].shape[1]
    with torch.no_grad():
        while ids_BT.shape[1] < questions + llava.max_tokens and ids_BT[0, -1] != 2:
            logits = model(input_ids=ids_BT, pixel_values=inputs["pixel_values"]).logits[:, -1:]
            ids_BT = torch.cat([ids_BT, logits.argmax(-1)], 1)
    text: str = processor.tokenizer.decode(ids_BT[0, questions:], skip_special_tokens=True)
    return text


def test_answers_are_the_likeliest_words_after_the_question(llava: Llava) -> None:
    photos = pictures(*SIZES)
    answers = llava(photos)
    assert answers == [likeliest(llava, photo, "USER: <image>\nWhat is it? ASSISTANT:") for photo in photos]
    assert len(set(answers)) == len(answers) and not any("ASSISTANT" in answer for answer in answers)


@pytest.mark.parametrize("following", [False, True], ids=["llava", "llava-next"])
def test_answers_in_a_batch_are_those_of_each_photo_alone(following: bool, tmp_path: Path) -> None:
    """LLaVA-NeXT spends more tokens on some shapes than on others, so that questions are padded."""
    llava = Llava(save_tiny_llava(tmp_path, following=following), "What is it?", 12, CPU)
    photos = pictures(*SIZES)
    lengths = {int(llava._inputs([photo])["input_ids"].shape[1]) for photo in photos}
    assert (len(lengths) > 1) is following
    assert llava(photos) == [llava([photo])[0] for photo in photos]


def test_the_template_of_a_model_is_used(tmp_path: Path) -> None:
    llava = Llava(save_tiny_llava(tmp_path, TEMPLATE), "What is it?", 12, CPU)
    assert llava.question == "<s>USER: <image>What is it? ASSISTANT:"
    ids_T = llava._inputs(pictures((16, 16)))["input_ids"][0].tolist()
    assert ids_T.count(1) == 1 and ids_T[0] == 1  # the first token is not doubled
    assert ids_T.count(3) == (SIDE // PATCH) ** 2


def test_a_checkpoint_s_own_sampling_settings_are_ignored(llava: Llava, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    loaded = LlavaForConditionalGeneration.from_pretrained(folder)
    loaded.generation_config.update(do_sample=True, temperature=5.0)
    loaded.save_pretrained(tmp_path)
    sampling = Llava(tmp_path, "What is it?", 12, CPU)
    assert sampling.model.generation_config.do_sample
    assert sampling(pictures(*SIZES)) == llava(pictures(*SIZES))


def test_long_answers_are_cut(llava: Llava, folder: Path) -> None:
    photos = pictures(*SIZES)
    cut = Llava(folder, "What is it?", 3, CPU)
    ids = [llava.processor.tokenizer.encode(text, add_special_tokens=False) for text in cut(photos)]
    assert all(len(words) <= 3 * 3 for words in ids)  # a byte that is no character is told as three
    assert cut(photos) != llava(photos)


def test_llava_computes_in_float32_unless_bfloat16_is_asked_for(folder: Path, tmp_path: Path) -> None:
    LlavaForConditionalGeneration.from_pretrained(folder).half().save_pretrained(tmp_path)
    for path in folder.glob("*.json"):
        if path.name != "config.json":
            shutil.copy(path, tmp_path)
    assert Llava(tmp_path, "What?", 3, CPU).model.dtype == torch.float32
    assert Llava(tmp_path, "What?", 3, CPU, "bfloat16").model.dtype == torch.bfloat16
    assert len(Llava(tmp_path, "What?", 3, CPU, "bfloat16")(pictures(*SIZES))) == len(SIZES)


def test_llava_without_enough_memory_for_a_batch_names_the_remedy(
    llava: Llava, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**inputs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(llava.model, "generate", full)
    with pytest.raises(ValueError, match="2 pictures at once; give a smaller --batch"):
        llava(pictures((16, 16), (16, 16)))


def test_a_model_beyond_memory_names_the_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: torch.nn.Module, device: torch.device) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(LlavaForConditionalGeneration, "to", full)
    with pytest.raises(ValueError, match="not enough memory; use --dtype bfloat16"):
        Llava(folder, "What?", 3, CPU)


def test_missing_weights_of_llava_are_refused(folder: Path, tmp_path: Path) -> None:
    """transformers fills them with random numbers and only warns."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in weights if "projector" in name)
    kept = {name: value for name, value in weights.items() if name != gone}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="1 weights are missing, such as .*projector.*; download it again"):
        Llava(tmp_path, "What?", 3, CPU)


@pytest.mark.parametrize("damage", ["truncated", "absent", "no processor", "words only"])
def test_folders_that_hold_no_llava_are_refused(damage: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "model.safetensors"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "absent":
        weights.unlink()
    elif damage == "no processor":
        (tmp_path / "processor_config.json").unlink()
    else:
        LlamaForCausalLM(LlavaConfig.from_pretrained(folder).text_config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="cannot be loaded .*; give a folder with a transformers LLaVA") as caught:
        Llava(tmp_path, "What?", 3, CPU)
    assert str(caught.value).startswith(f"{tmp_path}: ") and "\n" not in str(caught.value)


def test_a_folder_of_llava_weights_is_taken_as_it_is(folder: Path) -> None:
    assert weights_folder(str(folder)) == folder
