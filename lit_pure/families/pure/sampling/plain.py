"""The plain engine: one pass of the backbone for each cell, in raster order.

Knows the order of the cells, and feeds a forced newline together with the code before it. Reads nothing back from the
device, so the host runs ahead. Knows nothing of prompts, text or pictures.

Shape legend: B images, C cells, N codes.
"""

import torch

from lit_pure.families.pure.sampling.passes import DrawnCodes, ImagePasses, Progress


def decode_plain(passes: ImagePasses, progress: Progress | None) -> DrawnCodes:
    """Decode all cells of each picture, (B, C); the caches already hold prompt and text."""
    grammar, batch = passes.grammar, passes.batch
    ids_BT = torch.tensor(grammar.opening, device=passes.device).expand(batch, -1)
    newline_B1 = torch.full((batch, 1), grammar.newline, device=passes.device)
    draws: list[DrawnCodes] = []
    for row in range(grammar.height):
        noise_BwN = passes.noise.row(row)
        for column in range(grammar.width):
            draws.append(passes(ids_BT, noise_BwN[:, column : column + 1]))
            passes.commit(ids_BT.shape[1], ids_BT.shape[1])
            ids_BT = passes.code_ids_N[draws[-1].codes_BP]
            last = column == grammar.width - 1
            if last:
                ids_BT = torch.cat([ids_BT, newline_B1], dim=1)
            if progress is not None:
                progress(batch * (1 + last))
    return DrawnCodes(
        torch.cat([drawn.codes_BP for drawn in draws], dim=1),
        torch.cat([drawn.entropy_BP for drawn in draws], dim=1),
        torch.cat([drawn.k_BP for drawn in draws], dim=1),
        torch.cat([drawn.logits_BPN for drawn in draws if drawn.logits_BPN is not None], dim=1)
        if passes.keep_logits
        else None,
    )
