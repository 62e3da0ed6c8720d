#!/usr/bin/env bash
# vm.sh [OPTION]... -- COMMAND...
# Runs COMMAND as root in a VM: Debian's stock kernel, cgroup v2 alone, no network but loopback.
# The current directory and its .venv are there at the same paths; nothing written in the VM reaches the host.
# Exit status: the command's; 124 time is up; 137 power was cut; 125 the tool itself failed (one line on stderr).
#   --copy DIR          take DIR along as well (repeatable)
#   --time SECONDS      kill the VM after this long, boot included (600)
#   --mem MiB           memory of the VM (2048)
#   --kernel cloud|full linux-image-cloud-amd64 (default) or linux-image-amd64
#   --packages 'A B'    more Debian packages in its root file system (each set makes an image of its own)
#   --power-cut SECONDS run on a disk that is kept, and cut the power this long after the command started
#   --again             boot with the disk that the last --power-cut or --again in this directory kept
# Environment: VM_CACHE (all that it makes; remove it to start afresh), VM_DEBUG=1 (kernel messages on stderr),
#   VM_ROOTFLAGS (ext4 mount options of the root, say noauto_da_alloc), VM_ACCEL (QEMU's accelerator: emulation works
#   everywhere, "kvm" is ten times as fast where it works).

set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C DEBIAN_FRONTEND=noninteractive
cache=${VM_CACHE:-/var/tmp/orlop-vm} copies=() limit=600 mem=2048 kernel=cloud packages='' cut='' again=''
base='python3 python3-venv libnftables1 libseccomp2 iproute2 nftables kmod busybox-static tini ca-certificates procps'
say() { printf 'vm.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 125; }
hash() { sha1sum | cut -c1-12; }
quietly() { "$@" >>"$cache/setup.log" 2>&1 || die "failed: ${*:0:6} (see $cache/setup.log)"; }

while (($#)) && [[ $1 != -- ]]; do
    case $1 in
        --again) again=1; shift; continue ;;
        -h | --help) sed -n '2,/^$/s/^# \?//p' "$0"; exit ;;
        --copy | --time | --mem | --kernel | --packages | --power-cut) (($# > 1)) || die "$1 needs a value" ;;
        *) die "unknown option $1 (the command goes after --; see --help)" ;;
    esac
    case $1 in --copy) copies+=("$2") ;; --time) limit=$2 ;; --mem) mem=$2 ;; --kernel) kernel=$2 ;;
        --packages) packages=$2 ;; --power-cut) cut=$2 ;; esac
    shift 2
done
(($# > 1)) || die "no command (vm.sh [OPTION]... -- COMMAND...)"
shift
[[ $limit =~ ^[1-9][0-9]*$ && $mem =~ ^[1-9][0-9]*$ ]] || die "--time and --mem take whole numbers"
[[ -z $cut || $cut =~ ^[0-9]+(\.[0-9]+)?$ ]] || die "--power-cut takes seconds"
[[ $kernel == cloud || $kernel == full ]] || die "--kernel is cloud or full"
((EUID == 0)) || die "needs root"
[[ $PWD != / ]] || die "start it in a checkout, not in /"
for dir in "${copies[@]}"; do [[ -d $dir ]] || die "--copy $dir: no such directory"; done

get_tools() {
    if command -v qemu-system-x86_64 debootstrap depmod mke2fs xz | awk 'END {exit NR != 5}'; then return; fi
    say "installing QEMU and debootstrap"
    quietly apt-get update
    quietly apt-get install -y --no-install-recommends qemu-system-x86 debootstrap kmod e2fsprogs xz-utils
}

get_kernel() { # $kdir: vmlinux, lib/modules, busybox and the constant part of the initial RAM disk
    kdir=$cache/kernel-$kernel
    [[ ! -e $kdir/vmlinux ]] || return 0
    say "fetching the $kernel kernel"
    local new=$kdir.new meta=linux-image-amd64 package version deb offset
    [[ $kernel == full ]] || meta=linux-image-cloud-amd64
    quietly apt-get update
    package=$(apt-cache depends "$meta" | awk '$1 == "Depends:" {print $2; exit}')
    version=${package#linux-image-}
    rm -rf "$new" && mkdir -p "$new/initrd/modules"
    (cd "$new" && quietly apt-get -o APT::Sandbox::User=root download "$package" busybox-static)
    for deb in "$new"/*.deb; do quietly dpkg-deb -x "$deb" "$new" && rm "$deb"; done
    quietly depmod -b "$new" "$version"
    modprobe -d "$new" -S "$version" -aD virtio_pci virtio_blk virtio_console ext4 | awk '$1 == "insmod" && !n[$2]++ {print $2}' |
        nl -nrz -w3 | while read -r n module; do cp "$module" "$new/initrd/modules/$n.ko"; done
    cp "$new/bin/busybox" "$new/initrd/"
    (cd "$new/initrd" && find . | ./busybox cpio -o -H newc 2>/dev/null >../initrd.cpio)
    # An xz-packed kernel takes seconds to unpack itself under emulation; QEMU boots the ELF file inside at once (PVH).
    cp "$new/boot/vmlinuz-$version" "$new/kernel"
    for offset in $(grep -aboP '\xfd7zXZ\x00' "$new/kernel" | cut -d: -f1); do
        xz -dcq --single-stream < <(tail -c +$((offset + 1)) "$new/kernel") >"$new/elf" 2>/dev/null || continue
        mv "$new/elf" "$new/kernel" && break
    done
    mv "$new/kernel" "$new/vmlinux" && rm -rf "$kdir" && mv "$new" "$kdir"
}

get_root() { # $root: an ext4 image with a minimal Debian, of the host's release and from the host's own apt source
    root=$cache/root-$(tr -s ' ' '\n' <<<"$base $packages" | sort -u | hash).img
    [[ ! -e $root ]] || return 0
    say "making a root file system (about a minute)"
    local tree=$cache/tree mirror
    . /etc/os-release
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk -v c="$VERSION_CODENAME" '$1 == "Debian" && $2 == c && $3 == "main" {print $4; exit}')
    [[ -n $mirror ]] || die "apt has no source for Debian $VERSION_CODENAME main"
    eval "$(apt-config shell http_proxy Acquire::http::Proxy)" && export http_proxy
    rm -rf "$tree"
    quietly debootstrap --variant=minbase "$VERSION_CODENAME" "$tree" "$mirror"
    printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d" && chmod +x "$tree/usr/sbin/policy-rc.d" # no services
    # shellcheck disable=SC2086  # one word a package
    quietly unshare -m sh -ec 'tree=$1; shift; mount -t proc proc "$tree/proc"; chroot "$tree" apt-get update
        chroot "$tree" apt-get install -y --no-install-recommends "$@"; chroot "$tree" apt-get clean' - "$tree" $base $packages
    printf '127.0.0.1 localhost vm\n::1 localhost\n' >"$tree/etc/hosts"
    echo 'nameserver 127.0.0.1' >"$tree/etc/resolv.conf"
    quietly mke2fs -q -F -t ext4 -E lazy_itable_init=1,lazy_journal_init=1 -d "$tree" "$root.new" 16G # sparse
    rm -rf "$tree" && mv "$root.new" "$root"
}

image() { # image DIR: prints the path of an ext4 image of DIR, made anew when anything in DIR has changed (ctime)
    local name img try
    name=$cache/dir-$(hash <<<"$1") img=$name-$(find "$1" -xdev -printf '%P %C@ %s\n' | hash).img
    for try in 1 2 3; do # a file that vanishes meanwhile makes mke2fs fail
        if [[ -e $img ]]; then touch "$img"; echo "$img"; return; fi
        rm -f "$name"-*
        if mke2fs -q -F -t ext4 -O ^has_journal -i 8192 -E lazy_itable_init=1 -d "$1" "$img.new" \
            $((2 * $(du -smx "$1" | cut -f1) + 4096))M >>"$cache/setup.log" 2>&1; then mv "$img.new" "$img"; fi
    done
    [[ -e $img ]] && echo "$img" || die "cannot copy $1 after $try tries (see $cache/setup.log)"
}

mkdir -p "$cache" && cache=$(cd "$cache" && pwd)
exec 9>"$cache/lock" && flock 9 # one preparation at a time
for old in "$cache"/run.*; do [[ ! -d $old ]] || kill -0 "${old##*.}" 2>/dev/null || rm -rf "$old"; done
find "$cache" -maxdepth 1 \( -name 'dir-*' -o -name 'disk-*' \) -mtime +3 -delete
run=$cache/run.$$ vm=''
mkdir -p "$run/vm"
trap '[[ -z $vm ]] || kill -KILL "$vm" 2>/dev/null || :; rm -rf "$run"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
get_tools
get_kernel
get_root

dirs=("$PWD")
if [[ -e .venv/bin/python3 ]]; then # a virtual environment needs the interpreter that it was made from, at its path
    prefix=$(readlink -f .venv/bin/python3) prefix=${prefix%/bin/*}
    home=$(sed -n 's/^home *= *//p' .venv/pyvenv.cfg) home=${home%/bin}
    [[ $prefix == /usr ]] || dirs+=("$prefix")
    [[ $home == "$prefix" || $home == /usr ]] || printf '%s\n%s\n' "$prefix" "$home" >"$run/vm/link"
fi
for dir in "${copies[@]}"; do dirs+=("$(cd "$dir" && pwd)"); done
((${#dirs[@]} <= 20)) || die "more than 20 directories"
# What a power cut leaves: each write that the guest's kernel had handed to the disk by then, flushed or not (it is in
# the host's file at once, and the host stays up). Lost: what was in guest memory only, so all that was not fsynced and
# not yet written back (5 s for the journal, 30 s for data). A forgotten fsync shows; a forgotten disk flush does not.
if [[ -n $cut$again ]]; then
    disk=$cache/disk-$(hash <<<"$PWD").img
    if [[ -z $again ]]; then cp --sparse=always "$root" "$disk.new" && mv "$disk.new" "$disk"; fi
    [[ -e $disk ]] || die "--again: no disk was kept for this directory (--power-cut makes one)"
    drives=(-drive "file=$disk,format=raw,if=virtio,cache=none")
else
    drives=(-drive "file=$root,format=raw,if=virtio,snapshot=on") # writes go to a temporary file without a name
fi
for dir in "$kdir/lib/modules" "${dirs[@]}"; do
    img=$(image "$dir")
    drives+=(-drive "file=$img,format=raw,if=virtio,snapshot=on")
done
printf '%s\n' /usr/lib/modules "${dirs[@]}" >"$run/vm/targets"
{ printf 'cd %q && exec env TERM=%q ' "$PWD" "${TERM:-dumb}"; printf '%q ' "$@"; } >"$run/vm/command"

cat >"$run/init" <<'STAGE1'
#!/busybox sh
b() { /busybox "$@"; }
b mkdir -p /dev /root && b mount -t devtmpfs dev /dev
for module in /modules/*; do b insmod "$module"; done
b mount -t ext4 -o "$ROOTFLAGS" /dev/vda /root && b mount --move /dev /root/dev
b mount -t tmpfs -o mode=755 tmpfs /root/run && b cp -r /vm /root/run/
exec /busybox switch_root /root /bin/bash /run/vm/stage2
STAGE1
cat >"$run/vm/stage2" <<'STAGE2'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root USER=root LANG=C.UTF-8 PYTHONUNBUFFERED=1
unset ROOTFLAGS
mount -t proc proc /proc; mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm /dev/mqueue /run/lock
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts; mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue; mount -t bpf bpf /sys/fs/bpf; mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup # the options that systemd gives
for c in $(</sys/fs/cgroup/cgroup.controllers); do echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control; done
ln -s /proc/self/fd /dev/fd; ln -s fd/0 /dev/stdin; ln -s fd/1 /dev/stdout; ln -s fd/2 /dev/stderr
disks=({b..z})
while read -r dir; do
    mkdir -p "$dir"; mount -t ext4 -o noatime "/dev/vd${disks[n++]}" "$dir"; rmdir "$dir/lost+found"
done </run/vm/targets
if [[ -e /run/vm/link ]]; then { read -r to; read -r from; } </run/vm/link; mkdir -p "${from%/*}"; ln -sfn "$to" "$from"; fi
while read -r _ node number; do # the nodes that udev would make, so that opening one loads its module (tun, fuse, loop)
    [[ -z $number ]] || { mkdir -p "/dev/$node"; rmdir "/dev/$node"; mknod "/dev/$node" "${number:0:1}" $(tr : ' ' <<<"${number:1}"); }
done < <(grep -E ' (net/tun|fuse|loop-control) ' "/lib/modules/$(uname -r)/modules.devname")
mount --make-rshared /; echo vm >/proc/sys/kernel/hostname; ip link set lo up
until [[ -c /dev/vport0p3 ]]; do sleep 0.05; done
mkfifo /run/vm/out /run/vm/err # a port takes one opener only, but a command may open its /dev/stdout anew
cat /run/vm/out >/dev/vport0p1 & out=$!
cat /run/vm/err >/dev/vport0p2 & err=$!
exec 7>/run/vm/out 8>/run/vm/err 9>/dev/vport0p3
echo started >&9
bash /run/vm/command </dev/null >&7 2>&8 7>&- 8>&- 9>&-
status=$?
for _ in 1 2; do for p in /proc/[0-9]*; do # whatever the command left running would hold the pipes open
    case ${p#/proc/} in 1 | "$out" | "$err") ;; *) kill -KILL "${p#/proc/}" ;; esac
done; done 2>/dev/null
exec 7>&- 8>&-; wait "$out" "$err"; sync
echo "$status" >&9
busybox poweroff -f
STAGE2
chmod +x "$run/init"
(cd "$run" && find init vm | "$kdir/bin/busybox" cpio -o -H newc 2>/dev/null) | cat "$kdir/initrd.cpio" - >"$run/initrd"

nr=0 ports=(-device virtio-serial-pci,ioeventfd=off) # off: a write is in the host's file before it returns in the guest
for name in out err control; do
    : >"$run/$name"
    ports+=(-chardev "file,id=$name,path=$run/$name" -device "virtserialport,chardev=$name,nr=$((++nr))")
done
: >"$run/console"
exec 9>&-
# setpriv: QEMU dies with this script even when that is killed outright.
TMPDIR=$run setpriv --pdeathsig KILL -- qemu-system-x86_64 -M q35 -accel "${VM_ACCEL:-tcg,thread=multi}" -cpu max -smp 2 -m "$mem" \
    -nodefaults -display none -no-reboot -kernel "$kdir/vmlinux" -initrd "$run/initrd" \
    -append "console=ttyS0 ${VM_DEBUG:+ignore_loglevel} quiet panic=-1 ROOTFLAGS=rw,${VM_ROOTFLAGS:-relatime}" \
    -chardev "file,id=console,path=$run/console,append=on" -serial chardev:console "${ports[@]}" "${drives[@]}" \
    </dev/null >"$run/qemu.log" 2>&1 &
vm=$! followers=()
follow() { tail -s 0.05 -c +1 -f --pid="$vm" "$1" & followers+=($!); }
follow "$run/out"
follow "$run/err" >&2
[[ -z ${VM_DEBUG:-} ]] || follow "$run/console" >&2

end=$((SECONDS + limit)) cut_at='' verdict=''
while kill -0 "$vm" 2>/dev/null; do
    if [[ -n $cut && -z $cut_at && -s $run/control ]]; then
        cut_at=$(awk -v now="$EPOCHREALTIME" -v cut="$cut" 'BEGIN {printf "%.0f", (now + cut) * 1e6}')
    fi
    ((SECONDS < end)) || verdict=124
    [[ -z $cut_at ]] || ((${EPOCHREALTIME/./} < cut_at)) || verdict=137
    if [[ -n $verdict ]]; then kill -KILL "$vm" 2>/dev/null || :; break; fi
    sleep 0.05
done
wait "$vm" "${followers[@]}" 2>/dev/null || :
vm='' status=$(sed -n 2p "$run/control")
[[ -z $status ]] || exit "$status"
[[ $verdict != 124 ]] || say "the time limit of $limit s is over"
[[ -z $verdict ]] || exit "$verdict"
die "the VM ended before its command: $(cat "$run/console" "$run/qemu.log" | tr -d '\r' | grep -E 'Kernel panic|qemu-system' | tail -n 1)"
