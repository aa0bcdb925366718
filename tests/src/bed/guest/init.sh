#!/bin/busybox sh
# The guest's first process: mounts what a system has, loads modules, then runs scripts that arrive on a virtio serial port:
# an emulated UART loses bytes.
export PATH=/usr/bin:/usr/sbin:/usr/busybox HOME=/root
/bin/busybox mkdir /usr/busybox
/bin/busybox --install /usr/busybox
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mkdir -p /dev/hugepages /dev/shm /run/pollux
mount -t hugetlbfs none /dev/hugepages
mount -t tmpfs shm /dev/shm
while read -r module; do insmod "/modules/$module"; done </modules/order
ip link set lo up

# A script is all lines up to `#run N`. The reply is its output, then `#done N STATUS`.
until [ -e /dev/vport0p1 ]; do usleep 10000; done
exec 3<>/dev/vport0p1
echo "#ready" >&3
: >/tmp/script
while IFS= read -r line <&3; do
    case $line in
    '#run '*)
        timeout 60 sh /tmp/script </dev/null >&3 2>&1 3<&-
        printf '\n#done %s %s\n' "${line#\#run }" "$?" >&3
        : >/tmp/script
        ;;
    *) printf '%s\n' "$line" >>/tmp/script ;;
    esac
done
