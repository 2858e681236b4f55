"""A console line for each epoch, or log interval of a run by iterations, and a progress bar."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop

from ssl_ext.console import LONGEST, WIDTH, clock, is_terminal, muted, screen
from ssl_ext.registry import HOOKS

from .monitoring import line_due

SLOW = 10.0  # seconds after which a first step is explained
PERCENT = "percent"
# Figures of a line, with names and meanings. Missing ones are left out; the last are the first to be left out
# of a line that would be too long.
FIGURES: dict[str, tuple[str, str, str]] = {
    "loss": (
        "loss",
        "#.4g",
        "the training loss, mean since the last line; it should fall, its scale depends on the method",
    ),
    "probe_top1": ("probe", PERCENT, "accuracy of a linear layer on the features of training images"),
    "accuracy": ("test", PERCENT, "accuracy on the images of the test split"),
    "knn_top1": (
        "kNN",
        PERCENT,
        "accuracy of the nearest training images' classes on validation (evaluate: test) images",
    ),
    "feature_std": (
        "feature std",
        ".3f",
        "spread of the features; if even {feature_std_uniform:.3f}, collapsed below a tenth of it",
    ),
}


@HOOKS.register_module()
class ConsoleHook(Hook):
    """Print one line for each epoch; by iterations, one for each log interval.

    A term is explained above the first line that it appears in. A terminal shows a progress bar too.
    Elsewhere, an epoch of more than a minute has a line each minute. A first step that takes more than ten
    seconds is explained.
    """

    # After the hooks that measure and log.
    priority = "VERY_LOW"

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.bar: Any = None
        self.timer: threading.Timer | None = None
        self.explained: set[str] = set()
        self.widths: dict[str, int] = {}
        self.has_batch = False
        self.steps = self.lines = 0  # since the line before: training steps, and updates of mean figures

    def before_train(self, runner) -> None:
        """Start the bar and the clock of the first step."""
        if not is_main_process():
            return
        self.by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
        self.last_line = time.monotonic()
        self.stack.enter_context(muted())
        if is_terminal():
            self.bar = screen.add_bar("first step", runner.max_iters)
            self.stack.callback(screen.remove_bar, self.bar)
        self.timer = threading.Timer(SLOW, self.explain_first_step, [runner])
        self.timer.daemon = True
        self.timer.start()
        self.stack.callback(self.timer.cancel)

    def release(self) -> None:
        """Remove the bar, however training ended."""
        self.stack.close()

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """The first batch is there."""
        self.has_batch = True

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Move the bar; print the line of a log interval by iterations, or in a long epoch."""
        if not is_main_process():
            return
        if self.timer:
            self.timer.cancel()
            self.timer = None
            self.start, self.first = time.monotonic(), runner.iter + 1
        self.taken = runner.iter + 1
        self.steps += 1
        due = line_due(self, runner, batch_idx)
        self.lines += due
        place = self._place(runner, batch_idx)
        if self.bar is not None:
            screen.move_bar(self.bar, self.taken, place, f"ETA {self._eta(runner)}")
        late = self.bar is None and time.monotonic() > self.last_line + LONGEST
        if due and (not self.by_epoch or late and batch_idx + 1 < len(runner.train_dataloader)):
            self._print(runner, place)

    def after_train_epoch(self, runner) -> None:
        """Print the line of the epoch, unless it was resumed after its last step."""
        if is_main_process() and self.by_epoch and self.steps:
            self._print(runner, _of("epoch", runner.epoch + 1, runner.max_epochs))

    def _place(self, runner, batch_idx: int) -> str:
        if not self.by_epoch:
            return _of("step", runner.iter + 1, runner.max_iters)
        step = _of("step", batch_idx + 1, len(runner.train_dataloader))
        return f"{_of('epoch', runner.epoch + 1, runner.max_epochs)}  {step}"

    def _eta(self, runner) -> str:
        """Remaining time, from the wall-clock time since the first step."""
        done, left = self.taken - self.first, runner.max_iters - self.taken
        return clock((time.monotonic() - self.start) / done * left) if done else "-:--"

    def _print(self, runner, place: str) -> None:
        found = {name: self._mean(runner, name, self.steps) for name in ("loss",)}
        found |= {name: self._mean(runner, name, self.lines) for name in ("probe_top1", "images_per_second")}
        rate = found.pop("images_per_second")
        found |= {name: runner.figures.get(name) for name in FIGURES if name not in found}
        cells = [self._cell(name, found[name]) for name in FIGURES]
        end = [*([f"{rate:,.0f} img/s"] if rate else []), f"ETA {self._eta(runner)}"]
        shown = [cell for cell in cells if cell]
        while len(line := "  ".join([place, *shown, *end])) > WIDTH and shown:
            shown.pop()
        for name, value in found.items():
            if value is not None and name not in self.explained:
                self.explained.add(name)
                screen.say(f"{FIGURES[name][0]}: {FIGURES[name][2].format(**runner.figures)}")
        screen.say(line)
        self.last_line, self.steps, self.lines = time.monotonic(), 0, 0
        runner.figures.clear()

    def _cell(self, name: str, value: float | None) -> str:
        """Name and value of a figure; blank, as wide as before, if it was not measured."""
        label, form, _ = FIGURES[name]
        if value is None:
            return " " * self.widths.get(name, 0)
        number = f"{100 * value:3.0f} %" if form == PERCENT else f"{value:{form}}".rstrip(".")
        text = f"{label} {number}"
        self.widths[name] = max(self.widths.get(name, 0), len(text))
        return text.ljust(self.widths[name])

    @staticmethod
    def _mean(runner, name: str, count: int) -> float | None:
        """Mean of the last ``count`` values of a training figure."""
        history = runner.message_hub.log_scalars.get(f"train/{name}")
        return float(history.mean(count)) if history is not None and count else None

    def explain_first_step(self, runner) -> None:
        """Say why the first step takes long."""
        config, size = runner.cfg, runner.train_dataloader.batch_sampler.batch_size
        if not self.has_batch:
            reason = f"{size} images are read and decoded; more train_dataloader.num_workers may help"
        elif config.get("compile"):
            reason = "torch.compile compiles the network once; the steps after it are fast"
        elif next(runner.model.parameters()).is_cuda:
            reason = "the GPU chooses its convolutions and records the step once; the steps after it are fast"
        else:
            reason = f"{size} images pass the network on the CPU; a smaller train_dataloader.batch_size helps"
        screen.say(f"The first step takes more than {SLOW:.0f} s: {reason}.")


def _of(words: str, number: int, total: int) -> str:
    """Number and total, in a fixed width."""
    return f"{words} {number:{len(str(total))}}/{total}"
