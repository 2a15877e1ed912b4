#!/bin/bash
# Assembles target/initramfs.cpio: Debian arm64 packages (packages.list), the files of overlay/, and usertest.
#
#     initramfs/build.sh [--usertest FILE] [--output FILE]
#
# The machine's own packages are not touched: apt works with lists, caches and architecture of its own, and nothing
# of the packages is run. Downloads and the unpacked tree stay in $LICHEN_CACHE (default target/cache), so a second
# run needs no network and takes a second.
set -euo pipefail
# A failure counts in $(...) too.
shopt -s inherit_errexit
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
cache=${LICHEN_CACHE:-$top/target/cache}
output=$top/target/initramfs.cpio
usertest=
suite=trixie

while [ $# -gt 0 ]; do
    case $1 in
        --usertest) usertest=$2; shift 2 ;;
        --output) output=$2; shift 2 ;;
        *) sed -n '2,4p' "$0" >&2; exit 2 ;;
    esac
done

. "$top/scripts/debian-suite.sh"

# What no program here reads: documentation, translations, character set tables, init and package manager leftovers.
strip_tree() {
    (
        cd "$1"
        rm -rf usr/share/{doc,man,info,locale,i18n,lintian,bug,bash-completion,zsh,pixmaps,menu,common-licenses,doc-base,perl5,gcc,gdb}
        rm -rf usr/lib/*/gconv usr/lib/*/perl-base usr/lib/{systemd,tmpfiles.d,sysusers.d,init,valgrind} usr/libexec/coreutils
        rm -rf usr/lib/*/{engines-3,libssl.so.*,libreadline.so.*,libhistory.so.*,libnss_{hesiod,compat}.so.*,libmemusage.so,liblastlog2*}
        rm -f usr/lib/*/{libformw,libmenuw,libpanelw,libBrokenLocale,libc_malloc_debug,libpcprofile,libdrop_ambient}.so*
        rm -f usr/bin/{vdir,dir,hwlatdetect,*bug,pstree.x11,lslogins,su,cyclicdeadline,deadline_test,queuelat,oslat,pip_stress}
        rm -f usr/bin/{pmqtest,svsematest,ssdd,sigwaittest,determine_maximum_mpps.sh} etc/pam.d/*
        rm -f usr/sbin/{hwlatdetect,blkzone,chmem,zramctl,wipefs,sulogin,runuser,rtcwake,readprofile,ldattach,swaplabel,get_cyclictest_snapshot}
        rm -f usr/sbin/{getty,agetty,isosize,fstrim,blkdiscard,fsfreeze}
        find usr/share -type d -empty -delete
    )
}

# Prints the folder with the packages unpacked, fetching them first where that has not been done.
base_tree() {
    local stamp tree wanted excluded
    stamp=$(cat "$here/packages.list" "$here/build.sh" | sha256sum | cut -c1-16)
    tree=$cache/root-$stamp
    mkdir -p "$cache"
    (
        flock 9
        [ -d "$tree" ] && exit 0
        wanted=$(sed -n 's/^\([a-z0-9][^ #]*\).*/\1/p' "$here/packages.list")
        excluded=$(sed -n 's/^-\([a-z0-9][^ #]*\).*/\1/p' "$here/packages.list")
        echo "initramfs: fetching Debian arm64 packages ($suite)" >&2
        debian_suite "$cache/debian-$suite-arm64" "$suite" arm64
        # shellcheck disable=SC2086 # a list of names
        apt-get "${SUITE_OPTIONS[@]}" -qq -y --no-install-recommends --download-only install $wanted >&2 || {
            echo "initramfs: Debian's arm64 packages could not be fetched" >&2
            exit 1
        }
        # Trees of former lists go; one that was made today may be another checkout's.
        find "$cache" -maxdepth 1 -name 'root-*' \( -name '*.new' -o -cmin +1440 \) ! -name root.lock -exec rm -rf {} +
        mkdir -p "$tree.new/usr"/{bin,sbin,lib}
        for name in bin sbin lib; do ln -s "usr/$name" "$tree.new/$name"; done
        for package in "$cache/debian-$suite-arm64/archives"/*.deb; do
            name=$(basename "${package%%_*}")
            grep -qx "$name" <<<"$excluded" || dpkg -x "$package" "$tree.new"
        done
        strip_tree "$tree.new"
        mv "$tree.new" "$tree"
    ) 9>"$cache/root.lock"
    echo "$tree"
}

# Commands that busybox supplies when no package does.
busybox_links=(
    /bin/{vi,nc,ping,wget,hostname,ip,ifconfig,poweroff,reboot,halt,cttyhack,xxd,hexdump,time,strings,bc,clear,reset,cpio}
    /bin/{unzip,bunzip2,xz,ed,patch,telnet,tftp,which,usleep,ts,tree,vmstat,devmem,microcom,resize,su,mount,umount,blkid}
    /sbin/{mkfs.ext2,fsck,syslogd,klogd,sysctl,modprobe,insmod,rmmod,lsmod,udhcpc,route,arp}
)

tree=$(base_tree)
arguments=(--tree "$tree" --tree "$here/overlay" --node /dev/console=c,5,1,600 --node /dev/null=c,1,3,666)
for directory in proc sys dev/pts dev/shm run mnt home/user var/log var/tmp; do
    arguments+=(--directory "/$directory=755")
done
arguments+=(--directory /root=700 --directory /tmp=1777 --directory /var/tmp=1777)
for link in "${busybox_links[@]}"; do
    arguments+=(--link "$link=/usr/bin/busybox")
done
arguments+=(--link "/bin/sh=bash" --link "/bin/awk=mawk" --link "/etc/mtab=/proc/mounts" --link "/var/run=/run")
[ -z "$usertest" ] || arguments+=(--file "/usr/bin/usertest=$usertest")
mkdir -p "$(dirname "$output")"
python3 "$here/mkcpio.py" --output "$output" "${arguments[@]}"
echo "initramfs: $output, $(($(stat -c %s "$output") / 1024)) KiB"
