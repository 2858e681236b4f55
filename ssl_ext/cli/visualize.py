"""Draw the figures of a config, a run or a checkpoint, each as PNG and PDF."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ssl_ext.names import DRAWN_POLICIES, LAMS, PROJECTIONS, SWEEP_STYLES, X_AXES

from .arguments import add_options, check_paths

POSITIONAL = ("config", "checkpoint", "checkpoints", "runs", "results", "sources", "folder")


def _parser(prog: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, function: str, words: str, *positional: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=words, description=words.capitalize() + ".")
        sub.set_defaults(function=function)
        for argument in positional:
            sub.add_argument(argument)
        sub.add_argument("--out", default="figures", metavar="DIR", help="output folder (figures)")
        sub.add_argument("--name", default=name, help=f"file name without suffix ({name})")
        if "config" in positional:
            add_options(sub)
        return sub

    def titled(sub: argparse.ArgumentParser, things: str) -> None:
        sub.add_argument(
            "--titles", nargs="+", metavar="TITLE", help=f"titles of the {things}, in their order"
        )

    views = command("views", "views_figure", "training images and their views", "config")
    views.add_argument("--images", type=int, default=8, help="number of images (8)")
    views.add_argument("--seed", type=int, default=0, help="seed of images and views")

    curves = command("curves", "curves_figure", "logged figures of runs over iterations, epochs or hours")
    curves.add_argument(
        "runs", nargs="+", metavar="RUN", help="work directory of a run, or a RESULTS.json with trainings"
    )
    titled(curves, "runs")
    curves.add_argument("--keys", nargs="+", metavar="NAME", help="logged names (the loss and its terms)")
    curves.add_argument(
        "--smoothing", type=float, default=0.6, help="weight of a moving average, in [0, 1) (0.6)"
    )
    curves.add_argument("--x", default="iteration", choices=X_AXES, help="horizontal axis (iteration)")
    curves.add_argument(
        "--where", nargs="+", default=[], metavar="KEY=VALUE",
        help="select trainings of RESULTS.json: method, protocol, budget, fraction, mode, ...",
    )  # fmt: skip

    matrices = command(
        "matrices",
        "matrices_figure",
        "TriMix's targets for mixed images, similarities and their softmax",
        "config",
        "checkpoint",
    )
    matrices.add_argument("--batch", type=int, default=10, help="number of images (10)")
    matrices.add_argument("--lam", type=float, default=0.7, help="share of the first image (0.7)")
    matrices.add_argument("--seed", type=int, default=0, help="seed of the images")
    matrices.add_argument("--split", default="test", help="split of evaluation_dataset (test)")

    scores = command("scores", "scores_figure", "bar chart of the accuracies of evaluations")
    scores.add_argument("results", nargs="+", metavar="RESULTS.json", help="written by tools/evaluate.py")
    titled(scores, "files")
    scores.add_argument("--which", choices=("last", "best"), default="last", help="epoch (last)")

    predictions = command(
        "predictions",
        "predictions_figure",
        "ROC, precision-recall and reliability of one measurement",
        "results",
    )
    predictions.add_argument("--which", choices=("last", "best"), default="last", help="epoch (last)")
    predictions.add_argument(
        "--where", nargs="+", default=[], metavar="KEY=VALUE",
        help="select a measurement: method, protocol, labels_per_class, budget, fraction, mode, ...",
    )  # fmt: skip

    embed = command("embed", "embedding_figure", "features in two dimensions, coloured by class", "config")
    embed.add_argument(
        "checkpoints", nargs="+", metavar="CHECKPOINT", help="checkpoints or work dirs, one panel each"
    )
    titled(embed, "checkpoints")
    embed.add_argument(
        "--method", choices=PROJECTIONS, default="pca", help="pca, tsne (of PCA-50) or umap (pca)"
    )
    embed.add_argument(
        "--perplexity",
        type=float,
        nargs="+",
        default=[30.0],
        metavar="P",
        help="perplexities of t-SNE (30)",
    )
    embed.add_argument("--points", type=int, default=2000, help="maximum number of images (2000)")
    embed.add_argument("--split", help="split of evaluation_dataset (test)")
    embed.add_argument(
        "--exclude-class",
        nargs="+",
        default=[],
        metavar="CLASS",
        help="names or numbers of classes to exclude",
    )
    embed.add_argument("--seed", type=int, default=0, help="seed of images, t-SNE and UMAP")

    confusion = command("confusion", "confusion_figure", "confusion matrix of an evaluation")
    confusion.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="RESULTS.json, or CONFIG and CHECKPOINT"
    )
    confusion.add_argument("--protocol", help="protocol of the measurement; for a checkpoint knn or linear")
    confusion.add_argument("--which", choices=("last", "best"), default="last", help="epoch (last)")
    confusion.add_argument(
        "--seed", type=int, help="a single seed (default: sum over all seeds; for a checkpoint 0)"
    )
    confusion.add_argument(
        "--where", nargs="+", default=[], metavar="KEY=VALUE",
        help="select a row of RESULTS.json: method, labels_per_class, budget, fraction, mode, ...",
    )  # fmt: skip
    add_options(confusion)

    detections = command(
        "detections",
        "detections_figure",
        "annotated and detected boxes",
        "config",
        "checkpoint",
    )
    detections.add_argument("--images", type=int, default=4, help="number of images (4)")
    detections.add_argument(
        "--threshold", type=float, default=0.5, help="lowest score of the detections drawn (0.5)"
    )
    detections.add_argument("--seed", type=int, default=0, help="seed of the images")

    mixing = command(
        "mixing", "mixing_figure", "two images mixed by policies or learned blocks over λ", "config"
    )
    mixing.add_argument(
        "--policies",
        nargs="+",
        metavar="NAME",
        help=f"policies from {', '.join(DRAWN_POLICIES)} (default: all, or none with --trained)",
    )
    mixing.add_argument(
        "--trained",
        nargs="+",
        default=[],
        metavar="CHECKPOINT",
        help="checkpoints of AMix or AutoMix, one row each",
    )
    titled(mixing, "checkpoints")
    mixing.add_argument(
        "--lams", type=float, nargs="+", default=LAMS, metavar="λ", help="shares of the first image"
    )
    mixing.add_argument(
        "--weights", metavar="CHECKPOINT", help="weights of the network that gives the saliency (random)"
    )
    mixing.add_argument("--seed", type=int, default=0, help="seed of images and policies")

    grid = command("grid", "grid_figure", "accuracy over one or two settings of a sweep", "folder")
    grid.add_argument("--x", metavar="KEY", help="swept key on the horizontal axis (the first)")
    grid.add_argument("--y", metavar="KEY", help="swept key with a line for each value (the second)")
    grid.add_argument("--protocol", help="protocol of the sweep (the first)")
    grid.add_argument(
        "--style", choices=SWEEP_STYLES, default="lines", help="lines, or a map with coloured cells (lines)"
    )
    grid.add_argument(
        "--where", nargs="+", default=[], metavar="KEY=VALUE", help="draw the points with this value"
    )
    return parser


def main(words: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """Parse and run; ``words`` default to the command line."""
    args = vars(_parser(prog).parse_args(words))
    del args["command"]
    sources = args.get("sources", [])
    kinds = ("config", "checkpoint") if len(sources) > 1 else ("results",)
    check_paths({**args, **dict(zip(kinds, sources, strict=False))})

    from ssl_ext.apis import figures, parse_options
    from ssl_ext.files import check_writable
    from ssl_ext.visualization import save_figure

    from .console import PlainConsole

    name, out, function = args.pop("name"), args.pop("out"), getattr(figures, args.pop("function"))
    if "options" in args:
        args["options"] = parse_options(args["options"])
    given = [args.pop(key) for key in POSITIONAL if key in args]
    path = Path(out) / name
    check_writable(path.parent, "--out", "Figures")
    PlainConsole().wrote(*save_figure(function(*given, **args), path))
