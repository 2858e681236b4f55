"""The recorded behaviour that later commits must keep, and the command that records it.

    python tests/contract/snapshot.py                         record everything
    python tests/contract/snapshot.py options digits          record two parts
    python tests/contract/snapshot.py algorithms:SwAV         record one entry of a part
    python tests/contract/snapshot.py names:model options:train

Run it only in a commit that changes an entry on purpose, and explain why in its message. The parts are
``names``, ``imports``, ``options``, ``configs``, ``algorithms`` (with one checkpoint each) and ``digits``.
"""

import argparse
import gzip
import json
import math
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[2]
RECORDED = Path(__file__).with_name("recorded")
PARTS = dict(
    names="names.json",
    imports="imports.json",
    options="options.json",
    configs="configs.json.gz",
    algorithms="algorithms.json.gz",
    digits="digits.json",
)


def read(part):
    """The recorded entries of a part, by name."""
    path = RECORDED / PARTS[part]
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def write(part, entries):
    """Record the entries of a part; equal entries give equal bytes."""
    path = RECORDED / PARTS[part]
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".gz":
        text = json.dumps(entries, sort_keys=True, separators=(",", ":"))
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        path.write_text(json.dumps(entries, sort_keys=True, indent=1) + "\n")


def plain(value):
    """Value after a round trip through JSON; unsupported types become their ``repr``."""
    return json.loads(json.dumps(value, default=repr))


def differences(recorded, present, *, where, additions=False, rtol=0.0, atol=0.0):
    """One sentence for each recorded value that is missing or differs.

    New keys are differences too, unless ``additions`` is true. Numbers may differ by
    ``atol + rtol * abs(recorded)``.
    """
    if isinstance(recorded, dict) and isinstance(present, dict):
        found = []
        for key, value in recorded.items():
            inner = f"{where}: {key}"
            if key not in present:
                found.append(f"{inner} is gone (recorded: {_short(value)}).")
            else:
                options = dict(additions=additions, rtol=rtol, atol=atol)
                found += differences(value, present[key], where=inner, **options)
        if not additions:
            found += [
                f"{where}: {key} is new ({_short(present[key])})." for key in present if key not in recorded
            ]
        return found
    if isinstance(recorded, list) and isinstance(present, list) and len(recorded) == len(present):
        pairs = zip(recorded, present, strict=True)
        options = dict(additions=additions, rtol=rtol, atol=atol)
        return [
            d for i, pair in enumerate(pairs) for d in differences(*pair, where=f"{where}: [{i}]", **options)
        ]
    if _same(recorded, present, rtol, atol):
        return []
    return [f"{where} was {_short(recorded)} and is now {_short(present)}."]


def _same(recorded, present, rtol, atol):
    if isinstance(recorded, float) and isinstance(present, (int, float)):
        if math.isnan(recorded):
            return math.isnan(present)
        return abs(recorded - present) <= atol + rtol * abs(recorded)
    # True == 1 in Python, but they differ in a config.
    return type(recorded) is type(present) and recorded == present


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART[:ENTRY]", default=list(PARTS))
    words = parser.parse_args().parts
    # Imported here, so that --help does not import torch.
    import contract_interface
    import contract_runs

    collectors = contract_interface.PARTS | contract_runs.PARTS
    os.chdir(ROOT)
    for word in words:
        part, _, entry = word.partition(":")
        if part not in PARTS:
            sys.exit(f"'{part}' is not a part; the parts are {', '.join(PARTS)}.")
        recorded = read(part) if (RECORDED / PARTS[part]).is_file() else {}
        present = collectors[part](recorded, [entry] if entry else None)
        if entry and entry not in present:
            print(f"{word}: there is no such entry now; it is removed from the snapshot.")
        kept = {key: value for key, value in recorded.items() if entry and key != entry}
        entries = kept | ({entry: present[entry]} if entry in present else {} if entry else present)
        write(part, entries)
        changed = sum(recorded.get(key) != value for key, value in entries.items())
        removed = len(recorded.keys() - entries.keys())
        print(f"{word}: {len(entries)} entries, {changed} new or changed, {removed} removed.")


if __name__ == "__main__":
    # The collectors import this module by name.
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    main()
