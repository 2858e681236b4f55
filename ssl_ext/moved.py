"""Aliases for moved modules: importing the old path gives the module at the new path."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "ssl_ext.apis.build": "ssl_ext.apis",
    "ssl_ext.apis.checkpoint_config": "ssl_ext.config.stored",
    "ssl_ext.apis.config_checks": "ssl_ext.config.kinds",
    "ssl_ext.apis.data_checks": "ssl_ext.config.training",
    "ssl_ext.apis.memory_options": "ssl_ext.config.training",
    "ssl_ext.apis.evaluation_network": "ssl_ext.config.networks",
    "ssl_ext.apis.evaluation_data": "ssl_ext.apis.evaluate.data",
    "ssl_ext.apis.evaluation_protocols": "ssl_ext.apis.evaluate.protocols",
    "ssl_ext.apis.evaluation_rows": "ssl_ext.apis.evaluate.rows",
    "ssl_ext.apis.evaluation_settings": "ssl_ext.apis.evaluate.request",
    "ssl_ext.apis.report_rows": "ssl_ext.apis.report.rows",
    "ssl_ext.apis.sweep_grid": "ssl_ext.apis.sweep.grid",
    "ssl_ext.apis.sweep_report": "ssl_ext.apis.sweep.points",
    "ssl_ext.apis.visualize": "ssl_ext.apis.figures",
    "ssl_ext.apis.visualize_confusion": "ssl_ext.apis.figures.confusion",
    "ssl_ext.apis.visualize_detections": "ssl_ext.apis.figures.detections",
    "ssl_ext.apis.visualize_embeddings": "ssl_ext.apis.figures.embeddings",
    "ssl_ext.apis.visualize_mixing": "ssl_ext.apis.figures.mixing",
    "ssl_ext.apis.visualize_sweep": "ssl_ext.apis.figures.sweep",
    "ssl_ext.launch": "ssl_ext.cli.launch",
    "ssl_ext.engine.weight_files": "ssl_ext.engine.weights.files",
    "ssl_ext.engine.layouts": "ssl_ext.engine.weights.layouts",
    "ssl_ext.engine.checkpoint": "ssl_ext.engine.weights.checkpoint",
    "ssl_ext.models.heads.barlow_twins_head": "ssl_ext.models.selfsup.barlow_twins",
    "ssl_ext.models.heads.mix_block_head": "ssl_ext.models.heads.amix_heads",
    "ssl_ext.models.heads.moco_variant_heads": "ssl_ext.models.selfsup.moco_variants",
    "ssl_ext.models.heads.odc_head": "ssl_ext.models.selfsup.odc",
    "ssl_ext.models.heads.pirl_head": "ssl_ext.models.selfsup.pirl",
    "ssl_ext.models.heads.swav_head": "ssl_ext.models.selfsup.swav",
    "ssl_ext.models.heads.trimix_head": "ssl_ext.models.selfsup.trimix_head",
    "ssl_ext.models.heads.vicreg_head": "ssl_ext.models.selfsup.vicreg",
    "ssl_ext.reporting.budgets": "ssl_ext.apis.report.budgets",
    "ssl_ext.reporting.comparison": "ssl_ext.apis.report.comparison",
    "ssl_ext.reporting.page": "ssl_ext.apis.report.page",
    "ssl_ext.reporting.references": "ssl_ext.apis.report.references",
    "ssl_ext.reporting.text": "ssl_ext.apis.report.text",
    "ssl_ext.reporting": "ssl_ext.apis.report",
}


class MovedModules(MetaPathFinder, Loader):
    """Import finder for the old paths in :data:`MOVED`."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """A spec for a moved module, else None."""
        return ModuleSpec(name, self) if name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Replace the old name in ``sys.modules`` by the module at the new path."""
        sys.modules[module.__name__] = import_module(MOVED[module.__name__])


def install() -> None:
    """Make the old paths importable; a second call changes nothing."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, MovedModules())
