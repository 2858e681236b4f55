#!/usr/bin/env bash
# Pretrain configs of one data set, evaluate each with few labels, and write one table and its figures:
#   bash tools/label_budgets.sh OUT CONFIG [CONFIG ...]
# Environment variables:
#   DATA_ROOT    folder of the data set                        (as in the configs)
#   EPOCHS       number of pretraining epochs                  (as in the configs)
#   BUDGETS      numbers of labels                             (100 250 1000)
#   SEEDS        seeds of the label draws and their training   (0 1 2)
#   RECIPE       of the classifiers, such as thesis            (what the configs say)
#   WHICH        epoch of the table: last, or best on validation  (last)
#   REFERENCES   configs/papers: show published figures in brackets  (none)
#   OPTIONS      key=value pairs for every config              (none)
# After an interruption the same command resumes; finished epochs and evaluations are not repeated.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: tools/label_budgets.sh OUT CONFIG [CONFIG ...]" >&2
  exit 2
fi
OUT=$1
shift
TOOLS=$(dirname "${BASH_SOURCE[0]}")
PYTHON=${PYTHON:-python}
# Word splitting is intended.
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
# The supervised network does not depend on the views, so it is evaluated once.
BASELINES=(--baselines supervised)
for CONFIG in "$@"; do
  NAME=$(basename "$CONFIG" .py)
  RUN=$OUT/$NAME
  echo "== pretraining $NAME"
  "$PYTHON" "$TOOLS"/train.py "$CONFIG" --work-dir "$RUN" --resume auto ${EPOCHS:+--epochs "$EPOCHS"} "${EVERY[@]}"
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

echo "== silhouettes of the classes"
"$PYTHON" "$TOOLS"/report.py "$OUT" --out "$OUT/clusters" --metric silhouette_pca2 explained_pca2 silhouette_pca50 explained_pca50
echo "== accuracy and AUC by number of labels"
"$PYTHON" "$TOOLS"/report.py "$OUT" --out "$OUT/report" --layout budgets --which "${WHICH:-last}" ${REFERENCES:+--references "$REFERENCES"}
