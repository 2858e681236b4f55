"""Operations of training steps with their Python numbers and persistent tensors."""

import difflib
from collections import Counter
from contextlib import nullcontext

import torch

from ssl_ext.capture import HostAccess, Replayed, Tape, replayed
from ssl_ext.capture.host_access import caller
from ssl_ext.engine import step

# These move no data.
VIEWS = {
    *("alias", "as_strided", "chunk", "detach", "diagonal", "expand", "narrow", "permute", "reshape"),
    *("_reshape_alias", "select", "slice", "split", "split_with_sizes", "squeeze", "t", "transpose"),
    *("unbind", "unfold", "_unsafe_view", "unsqueeze", "view", "view_as_complex", "view_as_real"),
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
    *("_record_function_enter_new", "_record_function_exit"),
}


class Watch(HostAccess):
    """Stores the operations of a step: name, arguments and caller of each."""

    def __init__(self, names):
        super().__init__()
        self.operations = []
        self.names = names  # of persistent tensors, by address

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.split("::")[-1]
        if name not in VIEWS:
            constants = tuple(self._constants([args, kwargs or {}]))
            self.operations.append((name, constants, caller() or " in backward"))
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _constants(self, value):
        """Python numbers and names of persistent tensors in nested arguments; 'tensor' for all others."""
        if torch.is_tensor(value):
            yield self.names.get(value.data_ptr(), "tensor") if value.numel() else "tensor"
        elif isinstance(value, dict):
            yield from self._constants(list(value.values()))
        elif isinstance(value, list | tuple):
            for part in value:
                yield from self._constants(part)
        elif isinstance(value, int | float):
            yield repr(value)  # NaN equals itself


class WatchedRun:
    """Operations of the last two steps in Python before the recording, for every variant of a run's step.

    ``replays`` counts the replayed steps.
    """

    def __init__(self, monkeypatch):
        self.steps, self.replays = {}, 0
        call = Replayed.__call__

        def see(replayed_step, key=None):
            self.key = key
            self.replays += key in replayed_step.records
            last_but_one = replayed_step.steps[key] == replayed.WARM_UP - 2
            with self._watch() if last_but_one else nullcontext():
                return call(replayed_step, key)

        def recorder_for(runner):
            state = runner.model.state_dict(keep_vars=True)
            self.names = {tensor.data_ptr(): name for name, tensor in state.items() if tensor.numel()}
            return Tape, True

        monkeypatch.setattr(Replayed, "__call__", see)
        monkeypatch.setattr(replayed, "HostAccess", self._watch)
        monkeypatch.setattr(step, "recorder_for", recorder_for)

    def _watch(self):
        watch = Watch(self.names)
        self.steps.setdefault(self.key, []).append(watch.operations)
        return watch

    def frozen_values(self):
        """Callers of operations that differ between the two steps: a replay would repeat the last one's."""
        pairs = [steps for steps in self.steps.values() if len(steps) > 1]
        assert pairs
        return {name for one, two in pairs for name in _different(one, two)}

    def most_operations(self):
        return max(len(operations) for steps in self.steps.values() for operations in steps)


def _different(first, second):
    found = Counter()
    match = difflib.SequenceMatcher(None, [x[0] for x in first], [x[0] for x in second], autojunk=False)
    for tag, i1, i2, j1, j2 in match.get_opcodes():
        pairs = zip(first[i1:i2], second[j1:j2], strict=False)
        if tag == "equal":
            found.update(f"{a[0]}{a[2]}" for a, b in pairs if a[1] != b[1])
        else:
            found.update(f"{x[0]}{x[2]}" for x in first[i1:i2] + second[j1:j2])
    return set(found)
