"""The history of a training: losses, learning rates and measures as JSON, pictures, TensorBoard."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.plots.style import LINES, canvas, drawing, save_figure
from jettagger.training.history import Epoch, Follow
from jettagger.training.loop import LoopSettings, learning_rate

__all__ = ["TrainingHistory", "tensorboard"]


@dataclass(frozen=True)
class TrainingHistory(Brief):
    """The epochs of a training.

    Parameters
    ----------
    epochs : tuple of Epoch
    rates : tuple of float
        Learning rate of each epoch; of its first step, if it changes with the steps.
    monitor : str
        What decides about the best epoch; empty: the loss.
    """

    epochs: tuple[Epoch, ...]
    rates: tuple[float, ...]
    monitor: str = ""

    @classmethod
    def of(cls, epochs: Sequence[Epoch], settings: LoopSettings, monitor: str = "") -> TrainingHistory:
        """That of a training with these settings."""
        rates = [learning_rate(settings, epochs[:number]) for number in range(len(epochs))]
        return cls(tuple(epochs), tuple(rates), monitor)

    @property
    def best(self) -> int:
        """Number of the epoch whose weights are kept; 0: those before the training."""
        return max((epoch.number for epoch in self.epochs if epoch.best), default=0)

    def content(self) -> dict[str, Any]:
        """For ``history.json``: lists ``loss``, ``val_loss`` and ``lr`` as of Keras, what is kept, and measures."""
        measures: dict[str, list[float | None]] = {
            name: [_finite(epoch.measures[name]) for epoch in self.epochs] for name in self._measures()
        }
        return {
            "loss": [epoch.train for epoch in self.epochs],
            "val_loss": [epoch.validation for epoch in self.epochs],
            "lr": list(self.rates),
            "val_loss_before": self.epochs[0].start if self.epochs else None,
            "best_epoch": self.best,
            **({"monitor": self.monitor or "loss"} if self.monitor or measures else {}),
            **({"measures": measures} if measures else {}),
        }

    def _measures(self) -> list[str]:
        return list(self.epochs[0].measures) if self.epochs else []

    def write(self, folder: Path, *, plots: bool = True, name: str = "history") -> None:
        """Write ``history.json``, and the pictures ``history.pdf`` and ``history_zoomed.pdf``.

        Parameters
        ----------
        folder : pathlib.Path
        plots : bool
            Whether the pictures are drawn; needs the extra ``plot``.
        name : str
            Of the files, without their ends.

        Raises
        ------
        MissingExtra
            If the extra ``plot`` is not installed.
        """
        text = json.dumps(self.content(), indent=1, allow_nan=False)
        (folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
        if plots:
            save_figure(self.figure(), folder / f"{name}.pdf")
            save_figure(self.figure(zoomed=True), folder / f"{name}_zoomed.pdf")

    def zoom(self) -> tuple[float, float]:
        """The range of the losses in the last three quarters of the epochs, with margins of 5 %."""
        last = self.epochs[len(self.epochs) // 4 :]
        values = [value for epoch in last for value in (epoch.train, epoch.validation)]
        low, high = min(values), max(values)
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        return low - margin, high + margin

    def changes(self) -> list[int]:
        """Epochs from which on the learning rate is another; none if it changes in half of them or more."""
        changed = [epoch.number for place, epoch in enumerate(self.epochs[1:], 1)
                   if not math.isclose(self.rates[place], self.rates[place - 1])]  # fmt: skip
        return changed if len(changed) < len(self.epochs) / 2 else []

    def figure(self, *, zoomed: bool = False) -> Any:
        """The losses against the epoch, the kept epoch, and changes of the learning rate.

        Parameters
        ----------
        zoomed : bool
            Whether only the range of the last three quarters is shown.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        MissingExtra
            If the extra ``plot`` is not installed.
        """
        with drawing():
            shares = self._shares()
            figure, panels = canvas(2, height_ratios=(3, 2), sharex=True) if shares else canvas()
            axes = panels[0, 0]
            numbers = [epoch.number for epoch in self.epochs]
            for place, (label, values) in enumerate(
                {
                    "training": [epoch.train for epoch in self.epochs],
                    "validation": [epoch.validation for epoch in self.epochs],
                }.items()
            ):
                colour, style = LINES[place]
                axes.plot(numbers, values, color=colour, linestyle=style, label=label)
            if self.best:
                kept = self.epochs[self.best - 1].validation
                axes.plot([self.best], [kept], "o", color=LINES[1][0], markersize=8, label="kept")
            if shares:
                self._draw_shares(panels[1, 0], shares)
            for place, number in enumerate(self.changes()):
                name = None if place else "learning rate changes"
                axes.axvline(number - 0.5, color="grey", linestyle="--", linewidth=1, label=name)
            if zoomed and self.epochs:
                axes.set_ylim(*self.zoom())
            panels[-1, 0].set_xlabel("Epoch")
            axes.set_ylabel("Loss")
            axes.legend(frameon=False)
        return figure

    def _shares(self) -> list[str]:
        """Measures that share an axis with the criterion: all are fractions, or it is alone."""
        names = self._measures()
        fractions = [
            name
            for name in names
            if all(0 <= epoch.measures[name] <= 1 or math.isnan(epoch.measures[name]) for epoch in self.epochs)
        ]
        if self.monitor in names and self.monitor not in fractions:
            return [self.monitor]
        return sorted(fractions, key=lambda name: name != self.monitor)[: len(LINES)]

    def _draw_shares(self, axes: Any, names: Sequence[str]) -> None:
        numbers = [epoch.number for epoch in self.epochs]
        for (colour, style), name in zip(LINES, names, strict=False):
            values = [epoch.measures[name] for epoch in self.epochs]
            axes.plot(numbers, values, color=colour, linestyle=style, label=name)
        if self.best and self.monitor in names:
            kept = self.epochs[self.best - 1].measures[self.monitor]
            axes.plot([self.best], [kept], "o", color=LINES[0][0], markersize=8)
        axes.set_ylabel("Validation")
        axes.legend(frameon=False, fontsize="x-small", ncols=2)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def tensorboard(folder: Path, settings: LoopSettings) -> Follow | None:
    """Write losses, learning rates and measures for TensorBoard after each epoch, if it is installed.

    Parameters
    ----------
    folder : pathlib.Path
    settings : LoopSettings

    Returns
    -------
    callable or None
        For ``follow`` of `jettagger.training.train_network`.
    """
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))
    past: list[Epoch] = []

    def follow(epoch: Epoch) -> None:
        rate = learning_rate(settings, past)
        past.append(epoch)
        writer.add_scalar("loss/training", epoch.train, epoch.number)
        writer.add_scalar("loss/validation", epoch.validation, epoch.number)
        writer.add_scalar("learning_rate", rate, epoch.number)
        for name, value in epoch.measures.items():
            writer.add_scalar(f"measures/{name}", value, epoch.number)
        writer.flush()

    return follow


guard(globals())
