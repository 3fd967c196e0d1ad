#!/usr/bin/env bash
# Every check and test, then the wheel: built, installed into an empty environment and used as the README says.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment dev
cd "$checkout"
step "ruff format --check"
"$python" -m ruff format --quiet --check
step "ruff check"
"$python" -m ruff check --quiet
step "mypy"
"$python" -m mypy
step "lint-imports"
.venv/bin/lint-imports --no-logo
step "codespell"
"$python" -m codespell_lib
bash scripts/audit.sh
step "benchmarks/report.py --check"
"$python" -m benchmarks.report --check
step "pytest"
OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 "$python" -m pytest --numprocesses auto

outside="$(mktemp -d)"
trap 'rm -rf "$outside"' EXIT
step "wheel: building"
rm -rf build # what an earlier build left there would be packed again
"$python" -m build --wheel --outdir "$outside/dist" "$checkout" >"$outside/build.log" 2>&1 || { cat "$outside/build.log" && exit 1; }
step "wheel: installing into an empty environment"
make_environment "$outside/environment"
for wheel in "$outside"/dist/*.whl; do install_into "$outside/environment/bin/python" "$wheel[train]"; done
step "wheel: the bundled log, a small log of one's own, then the README's Python"
"$python" -m tests.readme.blocks python >"$outside/readme.py"
"$python" -m tests.small "$outside/runs/demo" >"$outside/commands"
cd "$outside"
"$outside/environment/bin/towers" prepare data=kuairand dataset=runs/kuairand/dataset
while read -ra words; do
    "$outside/environment/bin/towers" "${words[@]}"
done <"$outside/commands"
cp runs/demo/views.parquet runs/demo/videos.parquet . # the log that the README's Python prepares
"$outside/environment/bin/python" readme.py
step "wheel: serving from an environment without torch"
make_environment "$outside/serving"
for wheel in "$outside"/dist/*.whl; do "$outside/serving/bin/python" -m pip install --quiet "$wheel[serve,redis]"; done
if "$outside/serving/bin/python" -c 'import torch' 2>/dev/null; then
    printf 'error: [serve] brought torch\n' >&2
    exit 1
fi
"$outside/serving/bin/towers" recommend bundle=runs/own/bundle "user=$("$outside/serving/bin/python" -c \
    'from towers import Retriever; print(Retriever.open("runs/own/bundle").bundle.users.known[0])')"
"$outside/serving/bin/python" "$checkout/tests/small_service.py" runs/own/bundle
step "all checks passed"
