"""How much memory is free is asked where the rows lie, and guessed where nothing tells."""

import builtins
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from posthoc_align import _memory
from posthoc_align._memory import available_memory


def on(kind, monkeypatch):
    """Something that is taken for a tensor on a device of that kind."""
    monkeypatch.setattr(_memory, "on_host", lambda X: False)
    return SimpleNamespace(device=torch.device(kind))


def test_the_host_has_some():
    assert available_memory(np.empty(0)) > 2**20


def test_cuda_is_asked_for_rows_on_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (17 + device.index, 2**40))
    assert available_memory(on("cuda:3", monkeypatch)) == 20


@pytest.mark.parametrize("kind", ["mps", "xpu", "meta"])
def test_cuda_is_not_asked_for_rows_elsewhere(kind, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: pytest.fail("CUDA was asked"))
    assert available_memory(on(kind, monkeypatch)) == _memory._MEMORY_UNKNOWN


def _no_table(monkeypatch):
    def missing(path, *given):
        raise FileNotFoundError(path)

    monkeypatch.setattr(builtins, "open", missing)


def test_without_a_table_of_memory_the_whole_of_it_counts(monkeypatch):
    _no_table(monkeypatch)
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}
    monkeypatch.setattr(os, "sysconf", sizes.get, raising=False)
    assert available_memory(np.empty(0)) == 4_096_000


def test_a_system_without_sysconf_gets_the_guess(monkeypatch):
    _no_table(monkeypatch)
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert available_memory(np.empty(0)) == _memory._MEMORY_UNKNOWN
