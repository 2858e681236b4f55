# Sourced by quickstart.sh and test.sh: a virtual environment in .venv with the project installed.
# usage: source tools/setup_env.sh [EXTRA]. PYTHON chooses the interpreter (python3).
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv

setup_env() {
  local extra=${1:-} target=. stamp
  [ -n "$extra" ] && target=".[$extra]"
  if [ ! -x "$VENV/bin/python" ]; then
    echo "== creating a virtual environment in $VENV"
    "${PYTHON:-python3}" -c 'import sys; assert sys.version_info >= (3, 10), "Python 3.10 or newer is needed, this is " + sys.version'
    "${PYTHON:-python3}" -m venv "$VENV"
  fi
  # Install again only if setup.py or constraints.txt has changed.
  stamp=$VENV/.installed-${extra:-base}
  if ! cat "$ROOT/setup.py" "$ROOT/constraints.txt" | cmp -s - "$stamp"; then
    echo "== installing ssl-ext${extra:+ with the extra '$extra'} (PyTorch is large: some minutes the first time)"
    (cd "$ROOT" && "$VENV/bin/python" -m pip install --disable-pip-version-check -q -c constraints.txt -e "$target")
    cat "$ROOT/setup.py" "$ROOT/constraints.txt" >"$stamp"
  fi
  export PATH="$VENV/bin:$PATH"
}
