#!/usr/bin/env bash
# Set up .venv, then lint, type-check and test. Arguments go to pytest, e.g. tools/test.sh -m slow
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
setup_env test
cd "$ROOT"
echo "== ruff"
ruff check .
ruff format --check .
echo "== mypy and pytest"
# Beside the tests, because alone it would use one core only.
mypy &
types=$! status=0
# It ignores Ctrl-C.
trap 'kill "$types" 2>/dev/null || true' EXIT
# Two processes with a thread each; a file stays in one of them.
python -m pytest -n 2 --dist loadfile "$@" || status=$?
wait "$types" || { echo "mypy has found errors; see above"; exit 1; }
exit "$status"
