"""Entropy top-k on any logits, and how settings of sampling change what a restorer draws."""

import torch
from skimage.data import chelsea

from lit_pure import Restorer, degrade, entropy_top_k

sure, unsure = torch.linspace(0, 40, 8), torch.linspace(0, 1, 8)
kept = entropy_top_k(torch.stack([sure, unsure]), k_min=1, k_max=8, mu=1.0)
print("tokens to draw from:", kept.isfinite().sum(-1).tolist(), kept.softmax(-1).multinomial(1).tolist())

[lq_3hw] = degrade(chelsea()[60:188, 100:228])
for setting in ("sampling.seed=1", "sampling.seed=2", "sampling.top_k=fixed sampling.k=1"):
    restored = Restorer.from_pretrained("pure/nano_photo", setting.split())(lq_3hw)
    restored.save(f"{setting.replace(' ', '_')}.png")
    print(setting, f"mean entropy {restored.maps['entropy'].values_hw.mean():.2f} nats")
