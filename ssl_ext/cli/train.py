"""Pretrain a model on the CPU, on one GPU, or under torchrun (tools/dist_train.sh)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ssl_ext.config.locate import base_of
from ssl_ext.errors import UserError
from ssl_ext.files import file_fault

from .arguments import CONFIG_HELP, add_options, add_weight_options, check_paths

SWITCHES = ("amp", "deterministic", "compile", "auto_scale_lr")
OF_ONE_TRAINING = ("data", "epochs", "work_dir", "resume", "init", "overwrite", "seed", "options")


def training_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The arguments of a training."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("config", help=f"{CONFIG_HELP}; with --data also a method, such as trimix")
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="train on these images: a folder (with or without class folders), a .npz or a .csv file; the "
        "config for them is written",
    )
    parser.add_argument(
        "--data-options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of these images in the config, such as intensity=percentile, crop=pad, label=grade, "
        "task=ordinal",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="number of epochs; the learning-rate schedules end with it (from the config)",
    )
    parser.add_argument("--work-dir", help="folder of the run (work_dirs/<config name>)")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        default=False,
        metavar="auto|PATH",
        help="resume from the newest checkpoint in the work dir, or from PATH",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run in the work dir")
    parser.add_argument("--init", metavar="PATH", help="initial weights")
    add_weight_options(parser, "--init weights")
    parser.add_argument("--amp", action="store_true", help="mixed precision (on a GPU, or a CPU with AMX)")
    parser.add_argument("--seed", type=int, help="random seed (from the config)")
    parser.add_argument("--deterministic", action="store_true", help="deterministic kernels")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile backbones and, on a GPU, colour jitter (torch.compile)",
    )
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate to the images per step (auto_scale_lr.base_batch_size of the config)",
    )
    add_options(parser)
    return parser


def main(words: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """Parse and run; ``words`` default to the command line."""
    args = vars(training_parser(prog).parse_args(words))
    resume = args["resume"]
    # A resumed run does not read its initial weights again.
    checked = {**args, "init": None} if resume == "auto" else args
    data, data_options = args.pop("data"), args.pop("data_options")
    if data_options and not data:
        raise UserError("--data-options need images: --data PATH.")
    if data:
        checked = {**checked, "config": None}
        base_of(args["config"])
    check_paths(checked)
    if resume and resume != "auto" and (fault := file_fault(resume)):
        raise UserError(f"--resume '{resume}' {fault}; give a checkpoint, or 'auto' for the newest one.")

    from ssl_ext.apis import parse_options, pretrain

    args["options"] = parse_options(args["options"])
    if data:
        from ssl_ext.config.own_config import own_config

        args["config"] = own_config(
            args["config"], data, args["work_dir"], parse_options(data_options, "--data-options"),
            epochs=args["epochs"], resume=resume, overwrite=args["overwrite"],
        )  # fmt: skip
    pretrain(args.pop("config"), **args)


def shared_switches(words: Sequence[str]) -> dict[str, bool]:
    """Check the arguments that a table gives to all its trainings, before any of them starts.

    Returns:
        Those that change the config of each (:func:`ssl_ext.config.training.training_config`).

    Raises:
        UserError: An argument that differs between the trainings.
        SystemExit: An unknown argument or a wrong value.
    """
    parser = training_parser("arguments of every training, after '--'")
    given = vars(parser.parse_args(["CONFIG", *words]))
    for name in OF_ONE_TRAINING:
        if given[name] != parser.get_default(name):
            option = "cfg-options" if name == "options" else name.replace("_", "-")
            before = " as --cfg-options train_cfg.max_epochs=N" if name == "epochs" else ""
            raise UserError(
                f"--{option} after '--' would be that of every training: give it before '--'{before}."
            )
    return {name: given[name] for name in SWITCHES}
