import json
import runpy
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "benchmark.py"


@pytest.fixture
def run_tool(monkeypatch, tmp_path, capsys):
    """Run tools/benchmark.py; returns its output and the figures that it wrote."""

    def run(*arguments):
        file = tmp_path / "figures" / f"{arguments[0]}.json"
        monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments), "--json", str(file)])
        monkeypatch.setenv("COLUMNS", "160")
        runpy.run_path(str(TOOL), run_name="__main__")
        return capsys.readouterr().out, json.loads(file.read_text())

    return run


@pytest.fixture
def tool_error(run_tool, capsys):
    """Run tools/benchmark.py with bad arguments; returns the error message."""

    def run(*arguments):
        with pytest.raises(SystemExit) as error:
            run_tool(*arguments)
        assert error.value.code == 2
        return capsys.readouterr().err

    return run


@pytest.fixture
def tiny_simsiam(tiny_config):
    """Config of SimSiam with a very small network."""
    neck = tiny_config.model.neck
    predictor = dict(neck, in_channels=neck.out_channels, num_layers=2)
    tiny_config.model.update(type="SimSiam", predictor=predictor, head=dict(type="CosineRegressionHead"))
    return tiny_config
