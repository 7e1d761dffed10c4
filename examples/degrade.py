"""Make LQ pictures from HQ ones as training does, and measure what is lost."""

import torch
from skimage.data import astronaut, chelsea
from torchvision.utils import save_image

from lit_pure import degrade, evaluate

hq_B3HW = torch.stack([torch.from_numpy(photo[:256, 100:356]) for photo in (astronaut(), chelsea())]).movedim(-1, 1)
lq_B3hw = degrade(hq_B3HW, "seesr", scale=4, seed=7)
save_image(lq_B3hw, "lq.png")

enlarged_B3HW = torch.nn.functional.interpolate(lq_B3hw, scale_factor=4, mode="bicubic").clamp(0, 1)
for metric, scores_B in evaluate(enlarged_B3HW, hq_B3HW, ["psnr", "ssim", "niqe"]).items():
    print(metric, scores_B.tolist())
