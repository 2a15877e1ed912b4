#!/bin/bash
# Fetches the kernel of Debian 13 for arm64, which the tests compare with, and prints the path of its Image.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cache=${LICHEN_CACHE:-$top/target/cache}
image=$cache/vmlinuz-debian13

if [ ! -f "$image" ]; then
    . "$top/scripts/debian-suite.sh"
    mkdir -p "$cache"
    exec 9>"$cache/linux.lock"
    flock 9
fi
if [ ! -f "$image" ]; then
    echo "fetching Debian 13's arm64 kernel" >&2
    debian_suite "$cache/debian-trixie-arm64" trixie arm64
    package=$(apt-cache "${SUITE_OPTIONS[@]}" depends linux-image-cloud-arm64 | awk '/Depends: linux-image/ && !found { print $2; found = 1 }')
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && apt-get "${SUITE_OPTIONS[@]}" -qq download "$package" >&2)
    dpkg --fsys-tarfile "$work"/*.deb | tar -xOf - --wildcards './boot/vmlinuz-*' >"$image.new"
    mv "$image.new" "$image"
fi
echo "$image"
