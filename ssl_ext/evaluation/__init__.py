"""Evaluation protocols and metrics, independent of methods, configs and checkpoints."""

from .balance import Balance, Weighting
from .clustering import cluster_protocol, fit_pca
from .conditions import Condition
from .feature_bank import FeatureBank, cache_key, cached_features, dataset_fingerprint, weights_fingerprint
from .features import batches, evaluation_mode, extract_features
from .finetune import train_classifier
from .knn import check_knn, choose_k, knn_classify, nearest_neighbours
from .linear import LinearProbe, check_probe, linear_probe, linear_probes
from .linear_augmented import augmented_linear_protocol
from .linear_head import LinearHead
from .linear_rows import ProbeData, most_together
from .metric_names import METRICS
from .metrics import accuracy, auc, auprc, calibration_error, evaluate_scores, top1
from .predictions import Predictions, Scored
from .protocols import Banks, Outcome, knn_protocol, linear_protocol, linear_protocols
from .quality import alignment, alpha_req, feature_std, lidar, quality_figures, rankme, uniformity
from .recipe import Recipe
from .results import ResultRow, file_hash, measure_cost, read_results, text_hash, write_results
from .splits import Splits, load_splits
from .stats import Stat
from .subsets import fraction_subset, hold_out, labels_per_class_subset, random_subset, short_classes
from .tables import aggregate, results_table, results_tables
from .tasks import TASKS, labelled_rows
from .unfinished import Unfinished

__all__ = [
    "METRICS",
    "TASKS",
    "Balance",
    "Banks",
    "Condition",
    "FeatureBank",
    "LinearHead",
    "LinearProbe",
    "Outcome",
    "Predictions",
    "ProbeData",
    "Recipe",
    "ResultRow",
    "Scored",
    "Splits",
    "Stat",
    "Unfinished",
    "Weighting",
    "accuracy",
    "aggregate",
    "alignment",
    "alpha_req",
    "auc",
    "auprc",
    "augmented_linear_protocol",
    "batches",
    "cache_key",
    "cached_features",
    "calibration_error",
    "check_knn",
    "check_probe",
    "choose_k",
    "cluster_protocol",
    "dataset_fingerprint",
    "evaluate_scores",
    "evaluation_mode",
    "extract_features",
    "feature_std",
    "file_hash",
    "fit_pca",
    "fraction_subset",
    "hold_out",
    "knn_classify",
    "knn_protocol",
    "labelled_rows",
    "labels_per_class_subset",
    "lidar",
    "linear_probe",
    "linear_probes",
    "linear_protocol",
    "linear_protocols",
    "load_splits",
    "measure_cost",
    "most_together",
    "nearest_neighbours",
    "quality_figures",
    "random_subset",
    "rankme",
    "read_results",
    "results_table",
    "results_tables",
    "short_classes",
    "text_hash",
    "top1",
    "train_classifier",
    "uniformity",
    "weights_fingerprint",
    "write_results",
]
