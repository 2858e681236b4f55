"""Operations of training steps with their Python numbers and persistent tensors."""

import difflib
from collections import Counter

import torch

from ssl_ext.capture import HostAccess
from ssl_ext.capture.host_access import caller

# These move no data.
VIEWS = {
    *("alias", "as_strided", "chunk", "detach", "diagonal", "expand", "narrow", "permute", "reshape"),
    *("_reshape_alias", "select", "slice", "split", "split_with_sizes", "squeeze", "t", "transpose"),
    *("unbind", "unfold", "_unsafe_view", "unsqueeze", "view", "view_as_complex", "view_as_real"),
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
    *("_record_function_enter_new", "_record_function_exit"),
}


class Watch(HostAccess):
    """Recorder that runs every step in Python and stores its operations."""

    made = []
    names = {}  # persistent tensors by address

    def __init__(self, sibling=None):
        super().__init__()
        self.steps = []  # for each step: name, arguments and caller of every operation
        Watch.made.append(self)

    def record(self, step):
        self.step = step
        return self.replay()

    def replay(self):
        self.steps.append([])
        with self:
            return self.step()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.split("::")[-1]
        if name not in VIEWS:
            self.steps[-1].append((name, tuple(_constants([args, kwargs or {}])), caller() or " in backward"))
        return super().__torch_dispatch__(func, types, args, kwargs)


def _constants(value):
    """Python numbers and names of persistent tensors in nested arguments; 'tensor' for all others."""
    if torch.is_tensor(value):
        yield Watch.names.get(value.data_ptr(), "tensor") if value.numel() else "tensor"
    elif isinstance(value, dict):
        yield from _constants(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _constants(part)
    elif isinstance(value, int | float):
        yield repr(value)  # NaN equals itself


def frozen_values(first, second):
    """Callers of operations that differ between two steps: a replay would repeat the first one's."""
    found = Counter()
    match = difflib.SequenceMatcher(None, [x[0] for x in first], [x[0] for x in second], autojunk=False)
    for tag, i1, i2, j1, j2 in match.get_opcodes():
        pairs = zip(first[i1:i2], second[j1:j2], strict=False)
        if tag == "equal":
            found.update(f"{a[0]}{a[2]}" for a, b in pairs if a[1] != b[1])
        else:
            found.update(f"{x[0]}{x[2]}" for x in first[i1:i2] + second[j1:j2])
    return set(found)
