#!/bin/sh
# setup.sh [test]: make this checkout ready to run, and with "test" ready for the whole test suite.
# Installs what is missing of Debian's packages, makes .venv and puts the locked Python packages and Orlop into it.
# It can be repeated at any time: what is there already is left alone, and then it takes a moment only.
set -eu
cd "$(dirname "$0")/.."
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
purpose=${1:-run}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
library() { ldconfig -p 2>/dev/null | grep -q "^[[:space:]]*$1 "; }

# --- Debian packages -------------------------------------------------------------------------------------------------

good_python() { # an interpreter that Orlop can run on and that can make virtual environments
    "$1" -I -c 'import sys, ctypes, ensurepip, sqlite3, ssl, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${ORLOP_PYTHON:-} python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
        if have "$candidate" && good_python "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

missing_packages() {
    [ -n "$(find_python)" ] || printf 'python3 python3-venv '
    library libnftables.so.1 || printf 'libnftables1 '
    library libseccomp.so.2 || printf 'libseccomp2 '
    { have busybox && ! ldd "$(command -v busybox)" >/dev/null 2>&1; } || printf 'busybox-static '
    { have tini-static || have docker-init || have catatonit; } || printf 'tini '
    [ "$purpose" = test ] || return 0
    have ip || printf 'iproute2 '
    have nft || printf 'nftables '
    have iptables || printf 'iptables '
    have ps || printf 'procps '
    have ssh || printf 'openssh-client '
    have debootstrap || printf 'debootstrap '
    have modprobe || printf 'kmod '
    have docker-registry || printf 'docker-registry '
    have skopeo || printf 'skopeo '
    have podman || printf 'podman '
    have umoci || printf 'umoci '
    have buildah || printf 'buildah '
    have htpasswd || printf 'apache2-utils '
    have docker || printf '%s ' "$(docker_package)"
}

docker_package() { # the package that has the docker command: of its own from Debian 13 on
    if apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; else echo docker.io; fi
}

apt_install() {
    [ "$(id -u)" = 0 ] || die "these packages are missing and installing them needs root: $* (run it with sudo)"
    have apt-get || die "these packages are missing and there is no apt-get to install them: $*"
    say "installing $*"
    apt-get update >"$log" 2>&1 || { tail -n 5 "$log" >&2; die "apt-get update failed (is the network there?)"; }
    # docker.io is wanted for its client alone: its daemon must not be started here.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$log" "$policy"' EXIT
    fi
    # shellcheck disable=SC2068  # one word a package
    apt-get install -y --no-install-recommends $@ >"$log" 2>&1 ||
        { tail -n 15 "$log" >&2; die "apt-get could not install: $*"; }
}

# With "test" the name of docker's package depends on what apt knows, so a bare machine has to ask first.
if [ "$purpose" = test ] && ! have docker && ! apt-cache show docker.io >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get update >"$log" 2>&1 || { tail -n 5 "$log" >&2; die "apt-get update failed (is the network there?)"; }
fi
packages=$(missing_packages)
# shellcheck disable=SC2086  # one word a package
[ -z "$packages" ] || apt_install $packages
python=$(find_python)
[ -n "$python" ] || die "no Python 3.11 or newer with venv was found, not even after installing python3 and python3-venv"

# --- clients of registries, for tests, that the Go module proxy has and Debian has not -------------------------------

go_clients() {
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/orlop/go
    mkdir -p "$cache"
    while read -r name package version; do
        [ ! -x "$cache/$name" ] || [ "$(cat "$cache/$name.version" 2>/dev/null)" != "$package@$version" ] || continue
        say "building $name $version"
        if GOBIN=$cache go install -buildvcs=false "$package@$version" >"$log" 2>&1 </dev/null; then
            echo "$package@$version" >"$cache/$name.version"
        else
            tail -n 3 "$log" >&2
            say "$name could not be built: the tests that drive it are skipped"
        fi
    done <<EOF
crane github.com/google/go-containerregistry/cmd/crane v0.22.1
oras oras.land/oras/cmd/oras v1.3.6
regctl github.com/regclient/regclient/cmd/regctl v0.11.7
conformance github.com/opencontainers/distribution-spec/conformance v0.0.0-20260831232431-97274622c111
EOF
}
buildkit() { # it has no "go install": its module excludes others
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/orlop/go
    module=github.com/moby/buildkit@v0.34.2
    if [ -x "$cache/buildkitd" ] && [ "$(cat "$cache/buildkit.version" 2>/dev/null)" = "$module" ]; then return 0; fi
    say "building ${module##*/} (this takes two minutes once)"
    source=$(mktemp -d)
    found=$(go mod download -json "$module" 2>"$log" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
    if [ -n "$found" ] && cp -R "$found/." "$source" && chmod -R u+w "$source" &&
        (cd "$source" && go build -mod=mod -buildvcs=false -o "$cache/" ./cmd/buildkitd ./cmd/buildctl) \
            >"$log" 2>&1 </dev/null; then
        echo "$module" >"$cache/buildkit.version"
    else
        tail -n 3 "$log" >&2
        say "buildkitd could not be built: the tests beside it are skipped"
    fi
    rm -rf "$source"
}
have go || PATH=$PATH:/usr/local/go/bin
if [ "$purpose" = test ] && have go && [ -n "${HOME:-}" ]; then
    go_clients
    buildkit
fi

# --- Python packages -------------------------------------------------------------------------------------------------

mkdir -p .venv 2>/dev/null && [ -w .venv ] || die "$PWD/.venv cannot be written: run it as its owner, or with sudo"
if have flock; then # one set-up at a time
    exec 9>.venv/.setup-lock
    flock 9
fi
# Bytecode makes a start several times quicker. A user who is not root could not write it, and some settings forbid it.
compile_to_bytecode() { .venv/bin/python -m compileall -q -j 0 "$@" || say "warning: could not write bytecode"; }
stamp=.venv/.setup-stamp
wanted=$({ cat requirements.lock pyproject.toml scripts/setup.sh && pwd; } | sha256sum)
if .venv/bin/python -I -c 'import orlop' >/dev/null 2>&1 && [ -x .venv/bin/orlopd ] &&
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    compile_to_bytecode src
    exit 0
fi

if ! good_python .venv/bin/python; then
    say "making .venv with $python"
    "$python" -m venv --clear .venv || die "$python cannot make a virtual environment"
fi
uv=$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.lock)
pip() { .venv/bin/python -m pip --disable-pip-version-check -q "$@"; }
[ "uv==$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" = "$uv" ] || {
    say "installing the Python packages (the first time this takes a minute)"
    pip install --no-input "$uv" || die "pip could not install $uv (is the Python package index reachable?)"
}
export VIRTUAL_ENV="$PWD/.venv" UV_LINK_MODE=copy
.venv/bin/uv pip sync -q --require-hashes requirements.lock ||
    die "the packages of requirements.lock could not be installed (is the Python package index reachable?)"
.venv/bin/uv pip install -q --no-deps --editable . || die "Orlop itself could not be installed into .venv"
.venv/bin/python -I -c 'import orlop' || die "Orlop was installed but cannot be imported"
compile_to_bytecode src .venv/lib
printf '%s\n' "$wanted" >"$stamp"
say "ready: .venv/bin/orlop and .venv/bin/orlopd"
