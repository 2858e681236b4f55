#!/usr/bin/env bash
# From an empty folder with a wheel and a folder of images to a trained backbone, a table, pages and an
# exported file, by commands of the README:
#   tests/first_hour.sh WHEEL IMAGES [FOLDER]
# Environment variables:
#   REUSE=1      take all packages but the wheel from this Python, without a download
#   EPOCHS=N     shorten the training
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: tests/first_hour.sh WHEEL IMAGES [FOLDER]" >&2
  exit 2
fi
README=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/README.md
WHEEL=$(realpath "$1")
IMAGES=$(realpath "$2")
FOLDER=${3:-$(mktemp -d)}
PACKAGES=$(python -c 'import torch, pathlib; print(pathlib.Path(torch.__file__).parents[1])')
COMMANDS=(
  'python -m venv .venv && source .venv/bin/activate'
  'pip install ssl_ext-*.whl'
  'ssl-ext train trimix --data data/mine'
  'ssl-ext evaluate work_dirs/trimix_mine.py work_dirs/trimix_mine'
  'ssl-ext report work_dirs/trimix_mine --out work_dirs/report'
  'ssl-ext explore work_dirs/trimix_mine'
  'ssl-ext export work_dirs/trimix_mine --to torchvision'
)
[ ${#COMMANDS[@]} -le 8 ]

unset PYTHONPATH
mkdir -p "$FOLDER/data"
cp "$WHEEL" "$FOLDER"
ln -s "$IMAGES" "$FOLDER/data/mine"
cd "$FOLDER"
for COMMAND in "${COMMANDS[@]}"; do
  # Without -q grep reads to the end, so that sed does not fail on a closed pipe.
  sed 's/  *# .*//' "$README" | grep -xF -- "$COMMAND" > /dev/null || {
    echo "not in README.md: $COMMAND" >&2
    exit 1
  }
  echo "== $COMMAND"
  case $COMMAND in
    "pip install"*)
      if [ -n "${REUSE:-}" ]; then
        # A path, whose own .pth files are not read, so that ssl_ext is the wheel's.
        echo "$PACKAGES" >"$(python -c 'import site; print(site.getsitepackages()[0])')/reused.pth"
        COMMAND+=" --no-deps --no-index"
      fi
      ;;
    "ssl-ext train"*) COMMAND+=${EPOCHS:+ --cfg-options train_cfg.max_epochs=$EPOCHS} ;;
  esac
  # The wildcard and && are the shell's.
  eval "$COMMAND"
done

python -c 'import pathlib, ssl_ext; assert pathlib.Path(ssl_ext.__file__).is_relative_to(pathlib.Path(".venv").resolve()), ssl_ext.__file__'
RUN=work_dirs/trimix_mine
ls $RUN/epoch_*.pth $RUN/evaluation/results.json work_dirs/report/report.html $RUN/explore.html $RUN/export/*_torchvision.pth
