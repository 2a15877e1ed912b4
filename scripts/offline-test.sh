#!/bin/bash
# What fetches says so when it cannot, fails, and leaves nothing in the cache that a later run would take for whole.
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# A package manager that knows a mirror and reaches nothing.
mkdir "$work/bin"
cat >"$work/bin/apt-get" <<'END'
#!/bin/sh
[ "$1" != indextargets ] || { echo 'Debian|Debian|file:/nonexistent'; exit 0; }
echo 'E: no network' >&2
exit 100
END
chmod 755 "$work/bin/apt-get"

# refuse NAME MESSAGE LEFTOVER COMMAND...: it fails with MESSAGE and leaves nothing whose name matches LEFTOVER.
refuse() {
    local name=$1 message=$2 leftover=$3 status=0
    shift 3
    PATH=$work/bin:$PATH LICHEN_CACHE=$work/cache "$@" >"$work/output" 2>&1 </dev/null || status=$?
    if [ "$status" != 0 ] && grep -q "$message" "$work/output" && [ -z "$(find "$work" -name "$leftover")" ]; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAILED $name: status $status, left $(find "$work" -name "$leftover"), and said:"
        tail -n 5 "$work/output" | sed 's/^/    /'
    fi
}

refuse lists-cannot-be-fetched "lists of Debian's trixie could not be fetched" '*.cpio*' \
    "$top/initramfs/build.sh" --output "$work/initramfs.cpio"
refuse linux-cannot-be-fetched "lists of Debian's trixie could not be fetched" 'vmlinuz*' "$top/scripts/fetch-linux.sh"
# With lists that were fetched today.
mkdir -p "$work/cache/debian-trixie-arm64"
touch "$work/cache/debian-trixie-arm64/updated"
refuse packages-cannot-be-fetched "packages could not be fetched" 'root-*' "$top/initramfs/build.sh" --output "$work/initramfs.cpio"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
