"""Work spread over forked processes of one thread each gives the same as in one, and fails as loudly."""

import os
import signal
from concurrent.futures import BrokenExecutor

import pytest
import torch
from test_sampling import PROMPTS, SETTINGS

from rlrf4rec import workers
from rlrf4rec.sampling.sampler import Sampler, sample_texts
from rlrf4rec.sampling.shared_attention import NAME


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    """This process has so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_from_one_thread_each_and_the_number_is_given_back(threads):
    def step(number):
        return number, torch.get_num_threads(), os.getpid()

    made = list(workers.spread(step, list(range(7))))
    assert [number for number, _, _ in made] == list(range(7))
    assert {each for _, each, _ in made} == {1}
    assert torch.get_num_threads() == threads
    processes = {process for _, _, process in made}
    assert len(processes) == min(threads, os.cpu_count())
    assert (os.getpid() in processes) == (len(processes) == 1)


def test_nothing_to_do_is_done():
    assert list(workers.spread(lambda batch: batch, [])) == []


def test_where_a_fork_is_not_safe_processes_begin_anew(monkeypatch):
    monkeypatch.setattr(workers, "METHOD", "spawn")
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    monkeypatch.setattr("torch.set_num_threads", lambda number: None)
    assert list(workers.spread(abs, [-3, 2, -1])) == [3, 2, 1]


def test_a_worker_sees_no_gpu_of_its_parent(monkeypatch):
    """One that did would ask it for its random generator, which fails in a fork."""
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    monkeypatch.setattr("torch.set_num_threads", lambda number: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert list(workers.spread(lambda number: torch.cuda.is_available(), [1, 2, 3])) == [False] * 3
    assert torch.cuda.is_available()


def test_an_error_of_a_batch_ends_the_work_with_its_words(threads):
    def step(number):
        if number == 2:
            raise ValueError("batch 2 is bad")
        return number

    with pytest.raises(ValueError, match=r"^batch 2 is bad$"):
        list(workers.spread(step, list(range(4))))


def test_a_killed_worker_is_told(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    monkeypatch.setattr("torch.set_num_threads", lambda number: None)
    with pytest.raises(BrokenExecutor, match="a worker process was killed"):
        list(workers.spread(lambda number: os.kill(os.getpid(), signal.SIGKILL), [0, 1]))


def test_texts_are_the_same_with_any_number_of_threads(llama):
    before = torch.get_num_threads()
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        sampler = Sampler(llama(NAME), PROMPTS, SETTINGS, 3, 7, 2, frozenset(), f"threads {count}")
        found.append(sample_texts(sampler, 1, "test"))
        assert sampler.fresh == 12
    torch.set_num_threads(before)
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])
