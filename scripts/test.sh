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
.venv/bin/lint-imports
step "codespell"
"$python" -m codespell_lib
step "benchmarks/report.py --check"
"$python" -m benchmarks.report --check
step "pytest"
OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 "$python" -m pytest --numprocesses auto

outside="$(mktemp -d)"
trap 'rm -rf "$outside"' EXIT
step "wheel: building"
"$python" -m build --wheel --outdir "$outside/dist" "$checkout" >"$outside/build.log" 2>&1 || { cat "$outside/build.log" && exit 1; }
step "wheel: installing into an empty environment"
make_environment "$outside/environment"
install_into "$outside/environment/bin/python" "$outside"/dist/*.whl
step "wheel: towers demo, then the README's Python example"
"$python" -m tests.readme.blocks python >"$outside/example.py"
cd "$outside"
"$outside/environment/bin/towers" demo epochs=1
"$outside/environment/bin/python" example.py
step "all checks passed"
