"""A network of a baseline: weights from a package, computed by ncnn on the CPU.

Knows ncnn, and that a package's weights are the expected ones. Knows nothing of photographs, parts or scales.

Suffixes: 3 RGB, h w source [px], H W enlarged [px].
"""

import numpy as np
import torch
from torch import Tensor

from lit_pure.baselines.table import INSTALL, Weights
from lit_pure.files.atomic import sha256


class Net:
    """Enlarges a picture; the same bytes for any number of threads."""

    def __init__(self, weights: Weights, threads: int) -> None:
        """Raises ConfigError where the packages are missing, ValueError where the weights are other ones."""
        import ncnn

        graph = weights.graph()
        numbers = graph.with_suffix(".bin")
        if not (graph.is_file() and numbers.is_file()) or sha256(numbers) != weights.sha256:
            raise ValueError(f"{numbers} is not the file of {weights.package} that is known here; {INSTALL}")
        self._mat, self._net = ncnn.Mat, ncnn.Net()
        options = self._net.opt
        options.num_threads, options.use_vulkan_compute = threads, False
        # Off where a processor could compute in 16 bits: otherwise pictures would depend on the processor.
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        if self._net.load_param(str(graph)) or self._net.load_model(str(numbers)):
            raise ValueError(f"{graph} cannot be read by ncnn; {INSTALL}")
        [self._entry], [self._exit] = self._net.input_names(), self._net.output_names()

    def __call__(self, image_3hw: Tensor) -> Tensor:
        """The enlarged picture (3, H, W) in [0, 1], of a picture in [0, 1]. Raises MemoryError."""
        source = image_3hw.cpu().contiguous().numpy()  # a Mat borrows its memory: it must outlive the pass
        with self._net.create_extractor() as extractor:
            extractor.input(self._entry, self._mat(source))
            status, made = extractor.extract(self._exit)
            if status:  # ncnn allocates as it goes, and gives no other reason
                raise MemoryError
            return torch.from_numpy(np.array(made)).clamp(0, 1)
