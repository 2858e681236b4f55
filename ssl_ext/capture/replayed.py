"""A step that is recorded after a few runs in Python and then replayed."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

from .host_access import HostAccess
from .recorders import CaptureError, Graph, Recorder

# Steps in Python before recording, in which optimiser states, cuDNN choices and compiled code are created.
WARM_UP = 3
# Each recording holds memory for its intermediate results.
MOST_RECORDINGS = 16


class Replayed:
    """Call ``step`` in Python ``WARM_UP`` times for each key, then record it, then replay it.

    The last step in Python is checked for operations that need the host; if there is one, the step is never
    recorded.

    Args:
        step: Reads and writes tensors with fixed addresses; replays overwrite its result.
        recorder: Class of the recordings; None: the step always runs in Python.
        refuse: Called once with the reason if the step cannot be recorded; may raise.
    """

    def __init__(
        self,
        step: Callable[[], Any],
        recorder: type[Recorder] | None,
        refuse: Callable[[str], None],
    ) -> None:
        self.step, self.recorder, self.refuse = step, recorder, refuse
        self.records: dict[Hashable, tuple[Recorder, Any]] = {}
        self.steps: Counter[Hashable] = Counter()

    def __call__(self, key: Hashable = None) -> Any:
        """Run the step; ``key`` identifies its branches, shapes and Python numbers."""
        if self.recorder is None:
            return self.step()
        if key in self.records:
            record, result = self.records[key]
            record.replay()
            return result
        self.steps[key] += 1
        full = len(self.records) >= MOST_RECORDINGS
        if full and self.steps[key] == WARM_UP:
            warnings.warn(
                f"{MOST_RECORDINGS} variants of the step are recorded; the variant {key} runs eagerly, which "
                "is slower.",
                stacklevel=2,
            )
        if full or self.steps[key] < WARM_UP:
            return self.step()
        if self.steps[key] == WARM_UP:
            with HostAccess() as access:
                result = self.step()
            if access.found:
                self.stay_in_python(access.found[0])
            return result
        record = self.recorder(next((made for made, _ in self.records.values()), None))
        try:
            result = record.record(self.step)
        except CaptureError as error:
            self.stay_in_python(str(error))
            if not isinstance(record, Graph):
                raise  # a tape has already run part of the step
            return self.step()
        self.records[key] = record, result
        return result

    def restart(self) -> None:
        """Forget the recordings, because the addresses of the step's tensors have changed."""
        self.records.clear()
        self.steps.clear()

    def stay_in_python(self, reason: str) -> None:
        """Never record again; ``refuse`` is called."""
        self.recorder = None
        self.records.clear()
        self.refuse(reason)
