# Sourced by run.sh and test.sh: makes .venv in the checkout and installs from the lock. Defines $checkout and $python.

checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
python="$checkout/.venv/bin/python"
export PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_CONSTRAINT="$checkout/requirements.lock" # an environment variable reaches build environments too, -c does not

step() {
    printf -- '--- %s\n' "$*"
}

# The first Python of this machine that is new enough.
find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.14; do
        if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    printf 'error: towers needs Python 3.11 or newer; found %s. Install one, or name it: PYTHON=/path/to/python3.11 bash %s\n' \
        "$("${PYTHON:-python3}" --version 2>/dev/null || printf 'no %s' "${PYTHON:-python3}")" "$0" >&2
    return 1
}

# make_environment FOLDER: a virtual environment with pip in it.
make_environment() {
    local machine_python
    machine_python="$(find_python)" || return 1
    if ! "$machine_python" -m venv --clear "$1"; then
        printf 'error: %s cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv\n' "$machine_python" >&2
        return 1
    fi
}

# install_into PYTHON WHAT…: what trains; torch first and by itself, since later resolution must not choose another build.
install_into() {
    local target="$1"
    shift
    "$target" -m pip install --quiet "$(grep '^torch==' "$checkout/requirements.lock")"
    "$target" -m pip install --quiet "$@"
}

# prepare_environment EXTRA: .venv holds the checkout with that extra (train or dev); does nothing when it already does.
prepare_environment() {
    local extra="$1" wanted stamp="$checkout/.venv/.installed-$1"
    wanted="$(cat "$checkout/requirements.lock" "$checkout/pyproject.toml" | cksum) in $checkout"
    if [[ -f "$stamp" && "$(cat "$stamp")" == "$wanted" ]] && "$python" -c 'import towers' 2>/dev/null; then
        step "environment: $checkout/.venv is up to date"
        return
    fi
    if ! "$python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        step "environment: making $checkout/.venv"
        make_environment "$checkout/.venv"
    fi
    step "environment: installing from requirements.lock (the first time this takes minutes)"
    install_into "$python" --editable "$checkout[$extra]"
    printf '%s' "$wanted" >"$checkout/.venv/.installed-train"
    [[ "$extra" != dev ]] || printf '%s' "$wanted" >"$stamp"
}
