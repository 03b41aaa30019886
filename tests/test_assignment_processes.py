"""One network trained by two processes on the CPU: the same as by one; errors, checkpoints, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from assignment_networks import chosen, tagged

from jettagger.assignment.several_processes import check_processes
from jettagger.assignment.training import prepare_training, train_prepared
from jettagger.errors import ConfigError, InvalidValues, ProviderError

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")
pytest.importorskip("numba")


def prepared(path: Path, **changes: Any) -> Any:
    options = chosen(**{"epochs": 2, "batch_size": 40, "optimizer": "SGD", "kl_loss_scale": 0.5, **changes})
    return prepare_training(options, tagged(path, 100))


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["LayerNorm", "BatchNorm", "MaskedBatchNorm"])
def test_two_processes_train_the_network_of_one(tmp_path: Path, normalization: str) -> None:
    data = prepared(
        tmp_path / "tagged.h5", classification_loss_scale=0.0, learning_rate=0.05, normalization=normalization
    )
    one = train_prepared(data)
    seen: list[Any] = []
    calls = iter([False, True])
    two = train_prepared(data, processes=2, follow=seen.append, until=lambda: next(calls))
    assert tuple(seen) == two.history
    states = one.network.state_dict(), two.network.state_dict()
    start = data.network().state_dict()
    assert max(float((states[0][name] - start[name]).abs().max()) for name in start) > 1e-3
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-5, msg=name)
    for epoch, other in zip(one.history, two.history, strict=True):
        assert other.train == pytest.approx(epoch.train, rel=1e-5)
        assert other.validation == pytest.approx(epoch.validation, rel=1e-5)


@pytest.mark.slow
def test_an_error_of_a_process_is_that_of_the_training(tmp_path: Path) -> None:
    data = prepared(tmp_path / "tagged.h5", learning_rate=1e30, learning_rate_warmup_epochs=0.0)
    with pytest.raises(InvalidValues, match=r"step 2 \(epoch 1"):
        train_prepared(data, processes=2)


def test_processes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ProviderError, match=r"99 GPUs are asked for, torch .* finds .* here"):
        check_processes(99, "cuda")
    with pytest.raises(ConfigError, match="processes is 0"):
        check_processes(0, "cpu")
    with pytest.raises(ConfigError, match="got the device 'mps'"):
        check_processes(2, "mps")
    check_processes(1, "mps")
