#!/usr/bin/env bash
# From nothing to candidates: makes .venv, installs from the lock and runs `towers demo` with whatever options follow.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment ""
step "towers demo folder=$checkout/runs/demo $*"
exec "$checkout/.venv/bin/towers" demo "folder=$checkout/runs/demo" "$@"
