"""What ``benchmark.py scaling`` prints."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.table import Table

from .projection import Projection
from .scaling_measure import ALONE, APART, HALF, STRONG, WEAK, WORLD, Scaling
from .traffic import Collective, call_count, moved_bytes, norm_collectives, tally

MIB = 2**20
# Processes and share of the batch of each.
SHARES = {ALONE: (1, 1), APART: (2, 1), WEAK: (2, 1), STRONG: (2, 0.5), HALF: (1, 0.5)}


def table(title: str, first: str, *headings: str, caption: str | None = None) -> Table:
    """An empty table of numbers beside names."""
    made = Table(title=title, caption=caption)
    made.add_column(first)
    for heading in headings:
        made.add_column(heading, justify="right")
    return made


def time_table(scaling: Scaling, title: str) -> Table:
    """Time of a step in every arrangement, then the efficiencies."""
    rounds = len(scaling.seconds[ALONE])
    caption = (
        f"{rounds} interleaved rounds, {scaling.backend}, torch threads of a process: {scaling.threads}\n"
        f"peak resident memory of a process {scaling.peak_resident / MIB:,.0f} MiB"
    )
    if scaling.peak_device is not None:
        caption += f", peak device memory {scaling.peak_device / MIB:,.0f} MiB"
    made = table(title, "what", "batch", "median ms", "min … max", "images/s", caption=caption)
    for name, values in scaling.seconds.items():
        processes, share = SHARES[name]
        batch = int(share * scaling.batch_size)
        median = scaling.median(name)
        made.add_row(
            name,
            f"{processes} × {batch}",
            f"{median * 1e3:,.1f}",
            f"{min(values) * 1e3:,.1f} … {max(values) * 1e3:,.1f}",
            f"{processes * batch / median:,.0f}",
        )
    made.add_section()
    for name, (median, low, high) in scaling.efficiencies().items():
        made.add_row(f"efficiency, {name}", "", f"{median:.2f}", f"{low:.2f} … {high:.2f}", "")
    return made


def traffic_table(scaling: Scaling) -> Table:
    """What a step of two processes sends: predicted by part, and counted."""
    predicted = [*scaling.gradients, *scaling.losses]
    norms = norm_collectives(scaling.norms, WORLD)
    sent_too = scaling.backend == "nccl"
    if sent_too:
        predicted += norms
    same = "equal" if tally(predicted) == tally(scaling.counted) else "not equal"
    caption = f"prediction and count, by kind and size: {same}"
    made = table(f"collectives of a step, {WORLD} processes", "what", "calls", "MiB sent", caption=caption)

    def add(name: str, found: Sequence[Collective]) -> None:
        made.add_row(name, f"{call_count(found):g}", f"{moved_bytes(found, WORLD) / MIB:,.3f}")

    add("gradients", scaling.gradients)
    add("losses, queues and banks", scaling.losses)
    add("synchronised batch norms" + ("" if sent_too else " (on GPUs only)"), norms)
    made.add_section()
    add("predicted", predicted)
    add("counted", scaling.counted)
    return made


def prediction_table(scaling: Scaling) -> Table:
    """Measured time of the joined steps beside the predicted one."""
    link = scaling.link
    caption = (
        f"an all-reduce: {link.latency * 1e3:.2f} ms + bytes sent / {link.bandwidth / MIB:,.0f} MiB/s\n"
        "predicted: the time of two apart and of the collectives; hidden: behind the backward pass"
    )
    made = table(
        "prediction for two processes", "what", "predicted ms", "measured / predicted", caption=caption
    )
    for hidden, how in ((False, "nothing hidden"), (True, "gradients hidden")):
        for name, predicted in scaling.predictions(hidden=hidden).items():
            pairs = zip(scaling.seconds[name], predicted, strict=True)
            ratios = [measured / expected for measured, expected in pairs]
            made.add_row(
                f"{name}; {how}",
                f"{statistics.median(predicted) * 1e3:,.1f}",
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} … {max(ratios):.2f})",
            )
    return made


def projection_table(projections: Sequence[Projection], step: str) -> Table:
    """A step on many GPUs: what the GPU computes, and what it waits for."""
    headings = ("computing", "similarities", "gradients", "of it exposed", "losses", "batch norms", "step")
    made = table(
        "projection: ms on GPUs, each with the same batch",
        "GPUs",
        *headings,
        "efficiency",
        caption=f"assumed: {step} on one GPU; the machine as the options say",
    )
    for p in projections:
        parts = (p.alone, p.similarities, p.gradients, p.gradients_exposed, p.losses, p.norms, p.step)
        made.add_row(str(p.world), *(f"{part * 1e3:,.2f}" for part in parts), f"{p.efficiency:.2f}")
    return made
