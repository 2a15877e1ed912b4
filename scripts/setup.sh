#!/bin/bash
# Prepares a Debian 12 (or later) amd64 machine for building, running and testing Lichen, as root. It adds only what
# is missing, says what that is, and does nothing on a second run.
set -Eeuo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
export DEBIAN_FRONTEND=noninteractive
. "$top/scripts/debian-suite.sh"
cache=${LICHEN_CACHE:-$top/target/cache}
kernel_target=aarch64-unknown-none-softfloat
rust_minimum=1.95

say() { echo "setup: $*"; }
fail() {
    echo "setup: $*" >&2
    exit 1
}
trap 'fail "line $LINENO failed: $BASH_COMMAND"' ERR
have() { command -v "$1" >/dev/null 2>&1; }
root_only() { [ "$(id -u)" = 0 ] || fail "must be root to install: $*"; }

# Installs Debian packages with whatever apt options stand before the names.
install_packages() {
    root_only "$*"
    apt-get -qq -y --no-install-recommends install "$@" >"$cache/apt.log" 2>&1 </dev/null || {
        tail -n 15 "$cache/apt.log" >&2
        return 1
    }
}

update_once() {
    [ -n "${updated:-}" ] || apt-get -qq update || say "apt-get update failed; going on with the lists there are"
    updated=1
}

# --- Debian packages: what has to be there, and the package that brings it
debian_tools() {
    local packages=() entry
    for entry in python3:python3 cc:gcc gdb-multiarch:gdb-multiarch flock:util-linux \
        fdtput:device-tree-compiler; do
        have "${entry%%:*}" || packages+=("${entry#*:}")
    done
    [ -e /usr/include/stdlib.h ] || packages+=(libc6-dev)
    [ -e /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
    [ ${#packages[@]} -gt 0 ] || return 0
    say "installing ${packages[*]}"
    update_once
    install_packages "${packages[@]}" || fail "Debian's packages could not be installed: ${packages[*]}"
}

# --- QEMU: 10 from the backports of Debian 12, else what the release itself has
qemu_version() { (qemu-system-aarch64 --version 2>/dev/null || true) | sed -n 's/.*version \([0-9]*\)\..*/\1/p'; }

qemu() {
    local version codename
    version=$(qemu_version)
    [ "${version:-0}" -lt 7 ] || {
        [ "$version" -ge 10 ] || say "QEMU $version is installed; the documented figures are from QEMU 10"
        return 0
    }
    update_once
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    if [ "$codename" = bookworm ] && debian_suite "$cache/debian-backports" "bookworm bookworm-backports"; then
        say "installing qemu-system-arm from bookworm-backports"
        install_packages "${SUITE_OPTIONS[@]}" -t bookworm-backports qemu-system-arm || true
    fi
    if [ -z "$(qemu_version)" ]; then
        say "installing qemu-system-arm from $codename; the documented figures are from QEMU 10"
        install_packages qemu-system-arm || fail "qemu-system-arm could not be installed"
    fi
}

# --- just: not in Debian 12, so from the Python package index, or built by cargo
just_tool() {
    have just && return 0
    root_only just
    local work
    work=$(mktemp -d)
    say "installing just into /usr/local/bin"
    if ! python3 -m pip --version >/dev/null 2>&1; then
        say "installing python3-pip"
        update_once
        install_packages python3-pip || true
    fi
    if timeout 180 python3 -m pip install -q --no-deps --target "$work" rust-just >"$cache/pip.log" 2>&1; then
        install -m 755 "$work/bin/just" /usr/local/bin/just
    elif apt-cache show just >/dev/null 2>&1; then
        install_packages just || true
    else
        say "pip could not fetch it: building it with cargo (minutes)"
        (. "$top/scripts/toolchain.sh" && cargo install -q --root /usr/local just) || true
    fi
    rm -rf "$work"
    have just || fail "just could not be installed; pip said: $(tail -n 1 "$cache/pip.log")"
}

# --- Rust by rustup: targets and components of its default toolchain, never a toolchain
rustup_command() {
    command -v rustup || { [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/rustup" ] && echo "${CARGO_HOME:-$HOME/.cargo}/bin/rustup"; }
}

rust_by_rustup() {
    local rustup version have_targets have_components name wanted=()
    rustup=$(rustup_command) || return 1
    version=$("${rustup%/*}/rustc" --version 2>/dev/null | awk '{ print $2 }')
    printf '%s\n' "$rust_minimum" "${version:-0}" | sort -VC || {
        say "rustup's default toolchain is ${version:-missing}, not $rust_minimum or later"
        return 1
    }
    have_targets=$("$rustup" target list --installed)
    have_components=$("$rustup" component list --installed)
    for name in $kernel_target aarch64-unknown-linux-musl; do
        grep -qx "$name" <<<"$have_targets" && continue
        say "adding rustup target $name"
        timeout 120 "$rustup" target add "$name" >"$cache/rustup.log" 2>&1 || return 1
    done
    for name in llvm-tools rustfmt clippy; do
        grep -q "^$name" <<<"$have_components" && continue
        say "adding rustup component $name"
        timeout 120 "$rustup" component add "$name" >"$cache/rustup.log" 2>&1 || return 1
    done
}

# --- Rust from Debian: the compiler of the security suite, and the standard library for the two targets built from
#     its sources and put beside the compiler's own
rust_by_debian() {
    local packages=() entry sysroot
    for entry in rustc:rustc-web cargo:cargo-web rustfmt:rustfmt-web ld.lld:lld \
        aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu; do
        [ -x "/usr/bin/${entry%%:*}" ] || packages+=("${entry#*:}")
    done
    [ -d /usr/aarch64-linux-gnu/include ] || packages+=(libc6-dev-arm64-cross)
    if [ ${#packages[@]} -gt 0 ]; then
        say "installing ${packages[*]}"
        update_once
        install_packages "${packages[@]}" || return 1
    fi
    printf '%s\n' "$rust_minimum" "$(/usr/bin/rustc --version | awk '{ print $2 }')" | sort -VC || {
        say "Debian's $(/usr/bin/rustc --version) is too old"
        return 1
    }
    sysroot=$(/usr/bin/rustc --print sysroot)
    if ! ls "$sysroot/lib/rustlib/$kernel_target/lib"/libcore-*.rlib >/dev/null 2>&1; then
        rust_sources || return 1
        say "building core and alloc for $kernel_target (a minute)"
        build_std $kernel_target core,alloc,compiler_builtins "$sysroot" || return 1
    fi
    if ! ls "$sysroot/lib/rustlib/aarch64-unknown-linux-gnu/lib"/libstd-*.rlib >/dev/null 2>&1; then
        rust_sources || return 1
        say "building std for aarch64-unknown-linux-gnu (a minute)"
        build_std aarch64-unknown-linux-gnu std,panic_abort "$sysroot" || return 1
    fi
}

rust_sources() {
    [ -d /usr/src/rustc-*/library ] 2>/dev/null || ls -d /usr/src/rustc-*/library >/dev/null 2>&1 || {
        say "installing rust-web-src"
        install_packages rust-web-src
    }
}

# build_std TARGET CRATES SYSROOT: the standard library's crates, built in an empty crate, as rlibs of the compiler.
build_std() {
    local target=$1 crates=$2 sysroot=$3 work features
    work=$(mktemp -d)
    mkdir -p "$work/src"
    mkdir -p "$work/.cargo"
    cat >"$work/Cargo.toml" <<'END'
[package]
name = "empty"
version = "0.0.0"
edition = "2021"

[profile.release]
panic = "abort"
END
    # What the standard library depends on lies beside its sources.
    cat >"$work/.cargo/config.toml" <<END
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "$(echo /usr/src/rustc-*/library/vendor)"
END
    printf '#![no_std]\n' >"$work/src/lib.rs"
    features=compiler-builtins-mem
    [ "$crates" != std,panic_abort ] || features=
    (
        cd "$work"
        export RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
        # Bitcode is what link-time optimisation works on.
        export RUSTFLAGS="-C embed-bitcode=yes"
        unset CARGO_TARGET_DIR
        /usr/bin/cargo build -q --release -Zbuild-std="$crates" -Zbuild-std-features="$features" --target "$target"
    ) >"$cache/build-std.log" 2>&1 || {
        tail -n 15 "$cache/build-std.log" >&2
        return 1
    }
    mkdir -p "$sysroot/lib/rustlib/$target/lib"
    find "$work/target/$target/release/deps" -name '*.rlib' ! -name 'libempty*' -exec cp -t "$sysroot/lib/rustlib/$target/lib" {} +
    rm -rf "$work"
}

rust() {
    if rustup_command >/dev/null; then
        rust_by_rustup && return 0
        say "rustup cannot supply what is missing ($(tail -n 1 "$cache/rustup.log" 2>/dev/null)); taking Debian's compiler"
    fi
    rust_by_debian || fail "no Rust of $rust_minimum or later with the target $kernel_target: neither rustup nor Debian supplies it"
}

have apt-get || fail "this script needs Debian's apt-get"
mkdir -p "$cache"
debian_tools
qemu
rust
just_tool
say "ready: $(qemu-system-aarch64 --version | head -n 1); $(just --version); $(. "$top/scripts/toolchain.sh" && rustc --version)"
