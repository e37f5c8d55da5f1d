import threading
import time

import pytest
import torch

from clickflow.scoring.parallel import in_order


def test_results_come_in_the_order_of_the_items_whoever_is_faster():
    def work(item):
        time.sleep(0.02 if item % 5 == 0 else 0)
        return item * item

    assert list(in_order(range(30), work, num_threads=3)) == [(item, item * item) for item in range(30)]


def test_few_items_are_read_ahead():
    read = []

    def items():
        for item in range(100):
            read.append(item)
            yield item

    results = in_order(items(), lambda item: item, num_threads=2)
    next(results)
    assert len(read) <= 6
    results.close()
    assert len(read) <= 6


def test_an_error_is_raised_at_its_items_turn_and_ends_the_threads():
    def work(item):
        if item == 3:
            raise ValueError("three")
        return item

    done = []
    with pytest.raises(ValueError, match="three"):
        done.extend(item for item, _ in in_order(range(9), work, num_threads=2))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("score")]


def test_torchs_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    list(in_order(range(3), lambda item: item, num_threads=2))
    assert torch.get_num_threads() == before
