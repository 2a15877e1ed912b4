# Reaches another suite or architecture of the Debian mirror that this machine is configured with, without changing
# the machine: a private sources file, private package lists, private caches. Source it, then
#
#     debian_suite DIR SUITE [ARCH]      # SUITE such as trixie or bookworm-backports; fills DIR, once a day at most
#     apt-get "${SUITE_OPTIONS[@]}" ...  # any apt command then sees only that suite
#
# The mirror's address comes from apt's own configuration, so none is written here.

# Prints the address of the Debian mirror in apt's configuration.
debian_mirror() {
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk -F'|' '$1 == "Debian" && $2 == "Debian" && !found { print $3; found = 1 }'
}

debian_suite() {
    local dir=$1 suite=$2 arch=${3:-$(dpkg --print-architecture)} mirror name signed=
    local keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$dir/lists/partial" "$dir/archives/partial"
    dir=$(cd "$dir" && pwd)
    SUITE_OPTIONS=(
        -o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=-
        -o "Dir::State::Lists=$dir/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
        -o "Dir::Cache::archives=$dir/archives"
        -o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o APT::Sandbox::User=root
        -o Acquire::Languages=none -o Acquire::Retries=3
    )
    if [ "$arch" != "$(dpkg --print-architecture)" ]; then
        : >"$dir/status"
        SUITE_OPTIONS+=(-o "Dir::State::status=$dir/status")
    fi
    [ -n "$(find "$dir/updated" -mmin -1440 2>/dev/null)" ] && return 0
    mirror=$(debian_mirror || true)
    if [ -z "$mirror" ]; then
        apt-get update -qq || true
        mirror=$(debian_mirror || true)
    fi
    [ -n "$mirror" ] || { echo "no Debian mirror in apt's configuration" >&2; return 1; }
    [ -f "$keys" ] && signed="[signed-by=$keys] "
    : >"$dir/sources.list"
    for name in $suite; do
        echo "deb $signed$mirror $name main" >>"$dir/sources.list"
    done
    # A list that cannot be fetched is an error, not a warning.
    apt-get "${SUITE_OPTIONS[@]}" -o APT::Update::Error-Mode=any update -qq || {
        echo "the package lists of Debian's $suite could not be fetched" >&2
        return 1
    }
    touch "$dir/updated"
}
