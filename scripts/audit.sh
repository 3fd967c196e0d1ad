#!/usr/bin/env bash
# Asks the advisory service OSV about every package of requirements.lock, with pip-audit. Fails where one has a known
# vulnerability. Where the service cannot be reached, says so and succeeds: nothing then was checked.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

service="${OSV_URL:-https://api.osv.dev/v1/query}"
outside="$(mktemp -d)"
trap 'rm -rf "$outside"' EXIT

skip() {
    step "audit: SKIPPED, no package was checked: $1"
    exit 0
}

# Any answer will do, also a refusal.
reach='import sys, urllib.error, urllib.request as r
try: r.urlopen(sys.argv[1], timeout=5)
except urllib.error.HTTPError: pass
except OSError as error: sys.exit(str(error))'
why="$("$(find_python)" -c "$reach" "$service" 2>&1)" || skip "$service cannot be reached (${why##*$'\n'})"

audit="$(command -v pip-audit || true)"
if [[ -z "$audit" ]]; then
    step "audit: installing pip-audit into an environment of its own"
    make_environment "$outside/environment"
    env --unset=PIP_CONSTRAINT "$outside/environment/bin/python" -m pip install --quiet pip-audit
    audit="$outside/environment/bin/pip-audit"
fi

step "audit: requirements.lock at $service"
outcome=0
"$audit" --requirement "$checkout/requirements.lock" --no-deps --disable-pip --vulnerability-service osv \
    --osv-url "$service" --progress-spinner off --desc off >"$outside/found" 2>"$outside/log" || outcome=$?
last="$(tail -n 1 "$outside/log")"
if [[ "$last" == Found* ]]; then
    cat "$outside/found"
    printf 'error: %s\n' "$last" >&2
    exit 1
fi
((outcome == 0)) || skip "$last" # the service went away meanwhile
printf '%s\n' "$last"
