# Shared by the fetch scripts: where downloads live, how progress is told, and how
# two runs at once do not tread on each other. Sourced, never run.

# Downloads only, never results: deleting this directory costs time, nothing else.
K2P_CACHE=${K2P_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kafka2prom}
export K2P_CACHE

say() { printf '==> %s\n' "$*" >&2; }

# Exit code of a fetch script that cannot work on this machine, as against one
# that failed: the caller skips the tests that need the part.
readonly MISSING=3

missing() {
    printf '    missing: %s\n' "$*" >&2
    exit "$MISSING"
}

need() { # COMMAND HOW-TO-GET-IT
    command -v "$1" >/dev/null 2>&1 || missing "$1 ($2)"
}

# fetch_once NAME STAMP FUNCTION: calls FUNCTION with an empty directory, which
# becomes $K2P_CACHE/NAME only when FUNCTION succeeded. STAMP names the recipe:
# another recipe is fetched anew. Under a lock, so that a second run waits.
fetch_once() {
    local name=$1 stamp=$2 recipe=$3 dir=$K2P_CACHE/$1 new=$K2P_CACHE/.$1.new
    is_cached "$dir" "$stamp" && return 0
    mkdir -p "$K2P_CACHE"
    exec 9>"$K2P_CACHE/.$name.lock"
    flock 9
    if ! is_cached "$dir" "$stamp"; then
        rm -rf "$new"
        mkdir -p "$new"
        "$recipe" "$new"
        printf '%s\n' "$stamp" >"$new/.complete"
        rm -rf "$dir"
        mv "$new" "$dir"
    fi
    exec 9>&-
}

is_cached() { # DIR STAMP
    local found
    [ -f "$1/.complete" ] && read -r found <"$1/.complete" && [ "$found" = "$2" ]
}
