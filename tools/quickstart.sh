#!/usr/bin/env bash
# Set up .venv, pretrain TriMix on scikit-learn's digits (bundled, no download), evaluate, draw.
# A second call does not repeat the installation or the training.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
setup_env
cd "$ROOT"

CONFIG=configs/trimix/trimix-t0.1_resnet18-w16_1xb64-adam-100e_digits.py
RUN=work_dirs/quickstart${SEED:+-seed$SEED}
CHECKPOINT=$RUN/epoch_100.pth
FIGURES=$RUN/figures

echo "== pretraining TriMix on 1,078 images of digits ($CONFIG)"
python tools/train.py "$CONFIG" --work-dir "$RUN" --resume auto ${SEED:+--seed "$SEED"}

echo "== evaluating: kNN, linear on all labels, linear on 10 labels per class (5 draws), baselines"
python tools/evaluate.py "$CONFIG" "$CHECKPOINT" --protocols knn linear --labels-per-class 10 \
  --draws 5 --baselines pixels untrained supervised ${SEED:+--seed "$SEED"} --out "$RUN/evaluation"

echo "== drawing"
python tools/visualize.py views "$CONFIG" --out "$FIGURES"
python tools/visualize.py curves "$RUN" --out "$FIGURES"
python tools/visualize.py matrices "$CONFIG" "$CHECKPOINT" --out "$FIGURES"
python tools/visualize.py embed "$CONFIG" "$CHECKPOINT" --out "$FIGURES"
python tools/visualize.py scores "$RUN/evaluation/results.json" --out "$FIGURES"
python tools/report.py "$RUN" --out "$RUN/report" >"$RUN/report.txt"

cat <<TEXT

Done. The results are in $ROOT/$RUN:
  epoch_100.pth              the pretrained model
  evaluation/results.json    every score with its settings
  report/report.html         tables, curves and figures on one page
  figures/                   views, loss curves, TriMix matrices, embedding, scores (PNG and PDF)
  run.json, *.py             seed, versions and the full config
Loss curves in a browser: .venv/bin/tensorboard --logdir $RUN
TEXT
