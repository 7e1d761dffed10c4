"""The order of samples is a function of (seed, epoch), for any number of processes and any start."""

from itertools import islice

import pytest

from lit_pure.datasets.order import Epochs, InOrder, Key, Stream


def take(count: int, stream: Stream) -> list[Key]:
    return list(islice(stream, count))


def test_every_epoch_has_every_sample_once_in_an_order_of_its_own() -> None:
    keys = take(30, Stream(10, seed=3))
    epochs = [[index for _, index in keys[start : start + 10]] for start in (0, 10, 20)]
    assert [epoch for epoch, _ in keys] == [0] * 10 + [1] * 10 + [2] * 10
    assert all(sorted(order) == list(range(10)) for order in epochs) and len(set(map(tuple, epochs))) == 3
    assert take(30, Stream(10, seed=3)) == keys != take(30, Stream(10, seed=4))


def test_a_stream_can_start_at_any_sample() -> None:
    keys = take(40, Stream(7, seed=0))
    for start in (1, 6, 7, 20):
        assert take(40 - start, Stream(7, seed=0, start=start)) == keys[start:]


@pytest.mark.parametrize(("length", "world"), [(10, 2), (10, 3), (2, 5)])
def test_a_training_step_takes_the_same_samples_on_any_number_of_processes(length: int, world: int) -> None:
    alone = take(12 * world, Stream(length, seed=3, start=4))
    ranks = [take(12, Stream(length, seed=3, start=4, rank=rank, world=world)) for rank in range(world)]
    assert [ranks[place % world][place // world] for place in range(12 * world)] == alone


@pytest.mark.parametrize(("length", "world", "start"), [(10, 1, 0), (10, 1, 4), (10, 2, 6), (10, 3, 0), (2, 5, 0)])
def test_epochs_are_the_stream_cut_where_its_epochs_end(length: int, world: int, start: int) -> None:
    position, dealt = start, []
    epochs = [Epochs(Stream(length, 3, 0, rank, world), lambda: position) for rank in range(world)]
    for _ in range(3):
        ranks = [list(each) for each in epochs]
        assert len({len(part) for part in ranks}) == 1, "all take as many steps"
        dealt += [ranks[place % world][place // world] for place in range(len(ranks[0]) * world)]
        position = start + len(dealt)
        assert position % length < world, "an epoch ended"
    assert dealt == take(len(dealt), Stream(length, 3, start))
    assert len(Epochs(Stream(length, 3, 0, 0, world), lambda: 0)) == -(-length // world)


@pytest.mark.parametrize(("length", "world"), [(10, 1), (10, 2), (10, 3), (2, 5)])
def test_in_order_all_processes_take_equally_many_steps(length: int, world: int) -> None:
    parts = [list(InOrder(length, rank, world)) for rank in range(world)]
    assert [len(part) for part in parts] == [-(-length // world)] * world == [len(InOrder(length, 0, world))] * world
    dealt = [parts[place % world][place // world] for place in range(len(parts[0]) * world)]
    assert dealt[:length] == [(0, index) for index in range(length)]
    assert dealt[length:] == [(0, index % length) for index in range(length, len(dealt))]


def test_orders_refuse_empty_sets_and_impossible_starts_and_ranks() -> None:
    for order in (Stream(1, seed=0), InOrder(1)):
        assert next(iter(order)) == (0, 0)
    with pytest.raises(ValueError, match="0 crops"):
        Stream(0, seed=0)
    with pytest.raises(ValueError, match="sample -1"):
        Stream(4, seed=0, start=-1)
    with pytest.raises(ValueError, match="rank 2"):
        InOrder(4, rank=2, world=2)
