#!/usr/bin/env bash
# Pretrain configs of one data set, evaluate each with few labels, and put them into one table and its figures:
#   bash tools/label_budgets.sh OUT CONFIG [CONFIG ...]
# These may be set in front of it:
#   DATA_ROOT    folder of the data set                        (what the configs say)
#   EPOCHS       of the pretrainings                           (what the configs say)
#   BUDGETS      numbers of labels                             (100 250 1000)
#   SEEDS        of the drawn labels and what they train       (0 1 2)
#   RECIPE       of the classifiers, such as thesis            (what the configs say)
#   REFERENCES   configs/papers: show published figures in brackets  (none)
#   OPTIONS      key=value pairs for every config              (none)
# Called again after an interruption it goes on: epochs and evaluations that are finished stay.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: tools/label_budgets.sh OUT CONFIG [CONFIG ...]" >&2
  exit 2
fi
OUT=$1
shift
TOOLS=$(dirname "${BASH_SOURCE[0]}")
PYTHON=${PYTHON:-python}
# Lists of words, to be split.
# shellcheck disable=SC2206
{
  BUDGETS=(${BUDGETS:-100 250 1000})
  SEEDS=(${SEEDS:-0 1 2})
  EVERY=(${OPTIONS:-})
  RECIPE=(${RECIPE:+--recipe $RECIPE})
}
if [ -n "${DATA_ROOT:-}" ]; then
  EVERY+=("train_dataloader.dataset.data_root=$DATA_ROOT" "evaluation_dataset.data_root=$DATA_ROOT")
fi
[ ${#EVERY[@]} -eq 0 ] || EVERY=(--cfg-options "${EVERY[@]}")

FIRST=$1
CHECKPOINTS=()
# The supervised network is the same for every sequence of views: once.
BASELINES=(--baselines supervised)
for CONFIG in "$@"; do
  NAME=$(basename "$CONFIG" .py)
  RUN=$OUT/$NAME
  echo "== pretraining $NAME"
  TRAINING=("${EVERY[@]}")
  if [ -n "${EPOCHS:-}" ]; then
    [ ${#TRAINING[@]} -gt 0 ] || TRAINING=(--cfg-options)
    TRAINING+=("train_cfg.max_epochs=$EPOCHS")
  fi
  "$PYTHON" "$TOOLS"/train.py "$CONFIG" --work-dir "$RUN" --resume auto "${TRAINING[@]}"
  CHECKPOINT=$(cat "$RUN/last_checkpoint")
  CHECKPOINTS+=("$CHECKPOINT")

  EVALUATION=("$TOOLS"/evaluate.py "$CONFIG" "$CHECKPOINT" --protocols budget cluster --budgets "${BUDGETS[@]}"
    --modes frozen unfrozen --seeds "${SEEDS[@]}" --draws 1 "${BASELINES[@]}" "${RECIPE[@]}" --out "$RUN/evaluation" "${EVERY[@]}")
  if [ "$(cat "$RUN/evaluation/finished" 2>/dev/null)" = "${EVALUATION[*]}" ]; then
    echo "== evaluated already: $NAME"
  else
    echo "== evaluating $NAME with ${BUDGETS[*]} labels"
    "$PYTHON" "${EVALUATION[@]}"
    echo "${EVALUATION[*]}" >"$RUN/evaluation/finished"
  fi
  BASELINES=()
done

echo "== drawing"
"$PYTHON" "$TOOLS"/visualize.py embed "$FIRST" "${CHECKPOINTS[@]}" --out "$OUT/figures" --name pca "${EVERY[@]}"
"$PYTHON" "$TOOLS"/visualize.py embed "$FIRST" "${CHECKPOINTS[@]}" --method tsne --out "$OUT/figures" --name tsne "${EVERY[@]}"

echo "== clusters of the classes, without labels"
"$PYTHON" "$TOOLS"/report.py "$OUT" --out "$OUT/clusters" --metric silhouette_pca2 explained_pca2 silhouette_pca50 explained_pca50
echo "== accuracy and AUC by the number of labels"
"$PYTHON" "$TOOLS"/report.py "$OUT" --out "$OUT/report" --layout budgets ${REFERENCES:+--references "$REFERENCES"}
