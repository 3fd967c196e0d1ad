#!/usr/bin/env bash
# From nothing to candidates: makes .venv, installs from the lock and runs `towers demo` with whatever options follow.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment train
folder=$("$checkout/.venv/bin/python" -c 'import os, sys; print(os.path.relpath(sys.argv[1]))' "$checkout/runs/demo")
step "towers demo folder=$folder $*"
exec "$checkout/.venv/bin/towers" demo "folder=$folder" "$@"
