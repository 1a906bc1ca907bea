# Shared by the fetch scripts: where downloads live, how progress is told, and how
# two runs at once do not tread on each other. Sourced, never run.

# Downloads only, never results: deleting this directory costs time, nothing else.
K2P_CACHE=${K2P_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/kafka2prom}
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

# --- Go, for the tools and clients that are written in it ---------------------------

# Where it is missing or old: a module like others. Its sum is pinned here.
go_version=1.24.6
go_sum=e7f0fd16d1b06c716162a0938744bb7ebf7edbc3248d42432271a1b5c1fde1ce

# Prints the directory of a Go that is new enough.
go_here() {
    local minor
    command -v go >/dev/null 2>&1 || return 1
    minor=$(go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge 24 ] || return 1
    dirname "$(command -v go)"
}

fetch_go() {
    local dir=$1 name=golang.org/toolchain@v0.0.1-go$go_version.linux-amd64
    [ "$(uname -sm)" = 'Linux x86_64' ] || missing 'Go 1.24 or newer: https://go.dev'
    need curl 'apt-get install curl'
    need python3 'apt-get install python3'
    say "fetching Go $go_version (83 MB)"
    curl -fsSL --retry 3 -o "$dir/go.zip" "https://proxy.golang.org/${name/@/\/@v\/}.zip"
    echo "$go_sum  $dir/go.zip" | sha256sum --check --quiet >&2
    python3 -m zipfile -e "$dir/go.zip" "$dir"
    mv "$dir/$name" "$dir/go"
    chmod -R u+x "$dir/go/bin" "$dir/go/pkg/tool"
    rm -rf "$dir/go.zip" "$dir/golang.org"
}

# go_bin DIR: prints the directory of a Go that is new enough, fetched into DIR if need be.
go_bin() {
    go_here && return 0
    fetch_go "$1"
    printf '%s\n' "$1/go/bin"
}

# with_go DIR BIN ARGUMENT...: runs Go with all that it keeps in DIR.
with_go() {
    local dir=$1 bin=$2
    shift 2
    GOFLAGS=-modcacherw GOTOOLCHAIN=local PATH=$bin:$PATH GOMODCACHE=$dir/mod GOCACHE=$dir/cache "$bin/go" "$@" >&2
}
