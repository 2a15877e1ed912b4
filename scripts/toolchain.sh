# Chooses the Rust toolchain and sets what the builds need. Source it; it fails when no toolchain fits.
#
# The first of rustup's toolchain and Debian's (/usr/bin) that has the kernel's target is taken. Sets RUST_SYSROOT,
# KERNEL_TARGET, USERTEST_TARGET and OBJCOPY, puts cargo on PATH, and exports what cargo needs beyond .cargo/config.toml.

KERNEL_TARGET=aarch64-unknown-none-softfloat
RUST_MINIMUM=1.95

# Succeeds when the toolchain in folder $1 is new enough and has target $2.
toolchain_has() {
    local version
    [ -x "$1/rustc" ] && [ -x "$1/cargo" ] || return 1
    version=$("$1/rustc" --version 2>/dev/null | awk '{ print $2 }')
    printf '%s\n' "$RUST_MINIMUM" "${version%%-*}" | sort -VC || return 1
    [ -d "$("$1/rustc" --print sysroot)/lib/rustlib/$2/lib" ]
}

# Prints the folders that may hold a toolchain, the preferred one first.
toolchain_folders() {
    local cargo
    cargo=$(command -v cargo) && dirname "$cargo"
    echo "${CARGO_HOME:-$HOME/.cargo}/bin"
    echo /usr/bin
}

choose_toolchain() {
    local folder host
    while read -r folder; do
        toolchain_has "$folder" "$KERNEL_TARGET" || continue
        RUST_SYSROOT=$("$folder/rustc" --print sysroot)
        host=$("$folder/rustc" -vV | awk '/^host:/ { print $2 }')
        if [ "$folder" = /usr/bin ]; then
            # Debian's compiler brings neither rust-lld nor musl.
            export RUSTC=/usr/bin/rustc
            export CARGO_TARGET_AARCH64_UNKNOWN_NONE_SOFTFLOAT_LINKER=ld.lld
            export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
            export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
            USERTEST_TARGET=aarch64-unknown-linux-gnu
            OBJCOPY=aarch64-linux-gnu-objcopy
        else
            USERTEST_TARGET=aarch64-unknown-linux-musl
            OBJCOPY=$RUST_SYSROOT/lib/rustlib/$host/bin/llvm-objcopy
            [ -x "$OBJCOPY" ] || OBJCOPY=$RUST_SYSROOT/lib/rustlib/$host/bin/rust-objcopy
        fi
        command -v "$OBJCOPY" >/dev/null || OBJCOPY=$(command -v aarch64-linux-gnu-objcopy || command -v llvm-objcopy) || return 1
        export PATH="$folder:$PATH"
        return 0
    done < <(toolchain_folders)
    return 1
}

choose_toolchain || {
    echo "no Rust toolchain $RUST_MINIMUM or newer with the target $KERNEL_TARGET: run scripts/setup.sh" >&2
    exit 1
}
