"""The reference of `bench decode`: a plain loop over transformers' Chameleon, which decodes as the published code.

Knows transformers' model and the order of the published logit processors. Shares only the weights with our backbone.
It makes two forward passes per token with a growing cache, applies head and masks over the whole vocabulary, and draws
with multinomial.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import ChameleonConfig, ChameleonForConditionalGeneration, DynamicCache

from lit_pure.config.pure import SamplingConfig
from lit_pure.convert.chameleon import SIZES, SMALLEST_VQ, to_chameleon
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sampling.passes import Progress
from lit_pure.models.next_token import NextTokenBackbone


def make_chameleon(backbone: NextTokenBackbone) -> ChameleonForConditionalGeneration:
    """transformers' model with our weights, which are not copied, except the norms, which it keeps once per head."""
    config = backbone.config
    sizes = {theirs: getattr(config, ours) for ours, theirs in SIZES.items()}
    sizes |= {"num_key_value_heads": config.heads, "vocab_size": backbone.embed.num_embeddings}
    rules = {"rms_norm_eps": config.norm_eps, "rope_theta": config.rope_theta, "max_position_embeddings": 16384}
    # With its real map, it would overwrite the logits of all image tokens; its picture tokenizer is never called.
    unused = {"vocabulary_map": {}, "vq_config": SMALLEST_VQ, "pad_token_id": None, "bos_token_id": None}
    theirs = ChameleonConfig.from_dict({**sizes, **rules, **unused, "eos_token_id": None})
    with torch.device("meta"):
        model = ChameleonForConditionalGeneration(theirs)
    del model.model.vqmodel
    model.model.rotary_emb = type(model.model.rotary_emb)(theirs).to(backbone.head.weight.device)
    state = to_chameleon(backbone.state_dict(), config.layers, norm_rows=config.heads)
    model.load_state_dict(state, assign=True)
    return model.train(False)


@dataclass
class ReferenceLoop:
    """One picture, token by token."""

    model: ChameleonForConditionalGeneration
    grammar: Grammar
    config: SamplingConfig

    @torch.inference_mode()
    def __call__(self, prompt: Tensor, progress: Progress | None = None) -> tuple[Tensor, int]:
        """Codes (h, w), and the number of forward passes without that of the prompt."""
        grammar, device = self.grammar, prompt.device
        generator = torch.Generator(device).manual_seed(self.config.seed)
        opening = torch.tensor([grammar.opening], device=device)
        conditional, unconditional = DynamicCache(), DynamicCache()
        logits = self._logits(torch.cat([prompt[None], opening], dim=1), conditional)
        bare = self._logits(opening, unconditional)
        tokens: list[Tensor] = []
        forwards, length = 0, grammar.height * (grammar.width + 1)
        while True:
            token = self._choose(logits, bare, len(tokens), generator)
            tokens.append(token)
            if progress is not None:
                progress(1)
            if len(tokens) == length:
                break
            logits, bare = self._logits(token, conditional), self._logits(token, unconditional)
            forwards += 2
        ids_hw = torch.cat(tokens).view(grammar.height, grammar.width + 1)[:, :-1]
        codes_V = torch.full((logits.shape[-1],), -1, device=device)
        codes_V[grammar.code_ids_N.to(device)] = torch.arange(len(grammar.code_ids_N), device=device)
        return codes_V[ids_hw], forwards

    def _logits(self, ids_1T: Tensor, cache: DynamicCache) -> Tensor:
        """Logits (1, V) of the last position, over the whole vocabulary."""
        return self.model(input_ids=ids_1T, past_key_values=cache, use_cache=True).logits[:, -1].float()

    def _choose(self, conditional_1V: Tensor, bare_1V: Tensor, position: int, generator: torch.Generator) -> Tensor:
        """The next id (1, 1): guidance, mask, entropy, top-k, temperature, multinomial."""
        scores = bare_1V + self.config.guidance * (conditional_1V - bare_1V)
        legal = torch.full_like(scores, -torch.inf)
        newline = (position + 1) % (self.grammar.width + 1) == 0
        legal[:, self.grammar.newline if newline else self.grammar.code_ids_N.to(scores.device)] = 0
        scores = scores + legal
        p = scores.softmax(-1)
        entropy = float(-(p * (p + 1e-10).log()).sum())
        kept = torch.topk(scores, min(self._k(entropy), scores.shape[-1]))
        scores = scores.masked_fill(scores < kept.values[:, -1:], -torch.inf)
        return torch.multinomial((scores / self.config.temperature).softmax(-1), 1, generator=generator)

    def _k(self, entropy: float) -> int:
        if self.config.top_k == "fixed":
            return self.config.k
        share = float(torch.sigmoid(torch.tensor(min(max(entropy, 0.0), 10.0) - self.config.mu)))
        return round(self.config.k_min + (self.config.k_max - self.config.k_min) * share)
