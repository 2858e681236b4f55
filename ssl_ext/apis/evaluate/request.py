"""The request of an evaluation: protocols, labels, baselines and seeds, checked before any work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ssl_ext.errors import UserError, did_you_mean
from ssl_ext.evaluation import Balance
from ssl_ext.names import BASELINES, BUDGETS, FRACTIONS, MODES, PROTOCOLS, RECIPES, UNITS

MAX_DRAWS = 1000


@dataclass(frozen=True)
class Request:
    """The arguments of ``evaluate`` without repetitions; ``method`` names the checkpoint's algorithm.

    ``balance`` is that of ``config.evaluation``.

    Raises:
        UserError: An unknown name, a number out of range, or options that no protocol uses.
    """

    method: str | None
    protocols: Sequence[str]
    labels_per_class: Sequence[int]
    budgets: Sequence[int | str]
    fractions: Sequence[float]
    transfer_to: Sequence[Config | str | os.PathLike]
    modes: Sequence[str]
    draws: int
    baselines: Sequence[str]
    seeds: Sequence[int]
    by: str = UNITS[0]
    recipes: Sequence[str] = ()
    balance: Balance | None = None

    def __post_init__(self) -> None:
        lists = ("protocols", "labels_per_class", "budgets", "fractions", "modes", "baselines", "seeds")
        for name in (*lists, "recipes"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        known = dict(protocols=PROTOCOLS, baselines=BASELINES, modes=MODES, recipes=RECIPES)
        for what, allowed in known.items():
            if wrong := [str(name) for name in getattr(self, what) if name not in allowed]:
                near = did_you_mean(wrong[0], allowed)
                named = near or f"; allowed are {', '.join(allowed)}."
                raise UserError(f"{what}: {', '.join(wrong)} unknown{named}")
        if self.by not in UNITS:
            raise UserError(f"by: {self.by!r} unknown; allowed are {', '.join(UNITS)}.")
        self._check_numbers()
        self._check_unused()

    def _check_numbers(self) -> None:
        if not 1 <= self.draws <= MAX_DRAWS or any(n < 1 for n in self.labels_per_class):
            raise UserError(
                f"draws={self.draws}, labels_per_class={list(self.labels_per_class)}: all must be at least "
                f"1, and draws at most {MAX_DRAWS}."
            )
        if wrong := [n for n in self.budgets if n != "all" and (isinstance(n, str) or n < 1)]:
            raise UserError(f"budgets: {wrong[0]!r} is neither a number of labels nor 'all'.")
        if outside := [f for f in self.fractions if not 0 < f <= 1]:
            raise UserError(f"fractions: {outside[0]} is not a share above 0, up to 1 (all labels).")
        if not self.modes:
            raise UserError(f"modes: give at least one of {', '.join(MODES)}.")
        if not self.seeds or not all(0 <= seed < 2**32 for seed in self.seeds):
            raise UserError(f"seeds={list(self.seeds)}: one or more numbers from 0 to 2**32 - 1 are needed.")

    def _check_unused(self) -> None:
        readers = (("budgets", "budget"), ("fractions", "semi"), ("transfer_to", "transfer"))
        for option, protocol in readers:
            if getattr(self, option) and protocol not in self.protocols:
                switch = f"--{option.replace('_', '-')}"
                raise UserError(f"{switch} is for the protocol {protocol}: add it to --protocols.")
        if self.by_group and not (self.labels_per_class or {"budget", "semi"} & set(self.protocols)):
            raise UserError(
                "--by group is for numbers of labels: give --labels-per-class, or the protocol budget or "
                "semi."
            )
        if "transfer" in self.protocols and not self.transfer_to:
            raise UserError(
                "The protocol transfer needs --transfer-to CONFIG, a config with evaluation_dataset."
            )
        if not self.protocols and not self.labels_per_class:
            raise UserError("Nothing to evaluate: give --protocols or --labels-per-class.")
        trained = {"finetune", "semi", "budget", "transfer", "supervised"}
        if "supervised" in self.baselines and not (self.labels_per_class or trained & set(self.protocols)):
            raise UserError(
                "The baseline supervised uses the labels of other measurements: give --labels-per-class, "
                f"or one of the protocols {', '.join(sorted(trained))}."
            )

    @property
    def by_group(self) -> bool:
        """True if numbers of labels count groups."""
        return self.by == "group"

    @property
    def targets(self) -> dict[str, Config | str | os.PathLike]:
        """The configs of ``transfer_to`` under the names of their data sets.

        Raises:
            UserError: Two configs have the same name.
        """
        targets: dict[str, Config | str | os.PathLike] = {}
        for source in self.transfer_to:
            if isinstance(source, Config) and not source.filename:
                name = str(source.evaluation_dataset.type)
            else:
                name = Path(source.filename if isinstance(source, Config) else source).stem
            if name in targets:
                raise UserError(f"--transfer-to has two configs called {name}: rename one.")
            targets[name] = source
        return targets

    @property
    def asked_budgets(self) -> Sequence[int | str]:
        """Numbers of labels drawn at random; :data:`BUDGETS` if no number of labels is given."""
        if "budget" not in self.protocols:
            return ()
        return self.budgets or (() if self.labels_per_class else BUDGETS)

    @property
    def asked_fractions(self) -> Sequence[float]:
        """Shares of each class's labels."""
        return (self.fractions or FRACTIONS) if "semi" in self.protocols else ()
