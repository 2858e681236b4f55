"""Evaluation of frozen features, once for all methods; tensors, data sets and modules only."""

from .feature_bank import FeatureBank, cache_key, cached_features, dataset_fingerprint, weights_fingerprint
from .features import batches, evaluation_mode, extract_features
from .knn import choose_k, knn_classify
from .linear import LinearProbe, linear_probe
from .linear_head import LinearHead
from .metrics import accuracy, auc, evaluate_scores, top1
from .protocols import Banks, Outcome, knn_protocol, linear_protocol
from .quality import feature_std, rankme
from .results import (
    ResultRow,
    aggregate,
    file_hash,
    measure_cost,
    results_table,
    text_hash,
    write_results,
)
from .splits import Splits, load_splits
from .subsets import hold_out, labels_per_class_subset
from .supervised import train_from_scratch
from .tasks import TASKS, labelled_rows

__all__ = [
    "TASKS",
    "Banks",
    "FeatureBank",
    "LinearHead",
    "LinearProbe",
    "Outcome",
    "ResultRow",
    "Splits",
    "accuracy",
    "aggregate",
    "auc",
    "batches",
    "cache_key",
    "cached_features",
    "choose_k",
    "dataset_fingerprint",
    "evaluate_scores",
    "evaluation_mode",
    "extract_features",
    "feature_std",
    "file_hash",
    "hold_out",
    "knn_classify",
    "knn_protocol",
    "labelled_rows",
    "labels_per_class_subset",
    "linear_probe",
    "linear_protocol",
    "load_splits",
    "measure_cost",
    "rankme",
    "results_table",
    "text_hash",
    "top1",
    "train_from_scratch",
    "weights_fingerprint",
    "write_results",
]
