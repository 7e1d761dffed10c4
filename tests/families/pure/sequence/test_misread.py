"""HQ codes that are read wrong: as many as asked for, like the true ones, and nothing else."""

import numpy as np
import torch

from lit_pure.families.pure.sequence.assemble import IGNORE, Assembler, Sample
from lit_pure.families.pure.sequence.misread import Misreading
from lit_pure.models.near_codes import NEAR
from tests.families.pure.test_restorer import VOCABULARY

CODES = VOCABULARY.codes


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, row]) for row in range(count)]


def sequences(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    grids = [torch.randint(CODES, (2, 16, 16), generator=drawn) for _ in range(count)]
    assembler = Assembler(VOCABULARY, "none", 8, 20)
    return assembler.batch([Sample(lq, hq) for lq, hq in grids], [False] * count)


def vectors() -> torch.Tensor:
    drawn = torch.randn(CODES, 4, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(drawn, dim=-1)


def test_only_codes_of_the_answer_change_and_labels_stay() -> None:
    ids_BT, labels_BT = sequences(4)
    kept_BT = labels_BT.clone()
    read_BT = Misreading(vectors(), VOCABULARY, 1.0)(ids_BT, labels_BT, rngs(4))
    changed_BT = read_BT != ids_BT
    assert changed_BT.any() and torch.equal(labels_BT, kept_BT)
    is_code_V = VOCABULARY.id_codes_V >= 0
    assert (labels_BT[changed_BT] != IGNORE).all(), "the prompt is read as it is"
    assert is_code_V[ids_BT[changed_BT]].all() and is_code_V[read_BT[changed_BT]].all()


def test_the_share_is_drawn_up_to_the_largest_one() -> None:
    """Its mean is half of it: 200 samples of 256 codes; three standard errors."""
    ids_BT, labels_BT = sequences(200)
    read_BT = Misreading(vectors(), VOCABULARY, 0.6)(ids_BT, labels_BT, rngs(200))
    share_B = (read_BT != ids_BT).sum(1) / 256
    assert abs(float(share_B.mean()) - 0.3) < 3 * 0.6 / 12**0.5 / 200**0.5 + 0.005
    assert float(share_B.max()) < 0.72 and float(share_B.std()) > 0.1


def test_a_wrong_code_is_one_of_those_most_like_the_true_one() -> None:
    vectors_NC = vectors()
    ids_BT, labels_BT = sequences(2)
    misreading = Misreading(vectors_NC, VOCABULARY, 1.0)
    read_BT = misreading(ids_BT, labels_BT, rngs(2))
    where = read_BT != ids_BT
    true_N, wrong_N = (VOCABULARY.id_codes_V[each[where]] for each in (ids_BT, read_BT))
    cosines_NN = vectors_NC @ vectors_NC.T
    rank_N = (cosines_NN[true_N] > cosines_NN[true_N, wrong_N][:, None]).sum(1)
    assert int(rank_N.max()) <= min(NEAR, CODES - 1) and int(rank_N.min()) >= 1, "the true one is before all others"


def test_draws_are_those_of_each_sample() -> None:
    ids_BT, labels_BT = sequences(3)
    misreading = Misreading(vectors(), VOCABULARY, 0.5)
    together = misreading(ids_BT, labels_BT, rngs(3))
    alone = misreading(ids_BT[1:2], labels_BT[1:2], rngs(3)[1:2])
    assert torch.equal(together[1:2], alone)
