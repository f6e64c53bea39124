#!/bin/sh
# Runs as root inside the new root filesystem, after all packages are installed. It needs no device and no mount:
# what grub-install and update-grub would ask of a disk is known beforehand and given in the environment.
#   ROOT_UUID  UUID of the ext4 root filesystem that will be made from this tree
set -eu

install_bios_grub() {
    # As grub-install does: modules in /boot/grub, and a core image that finds them on the partition it was
    # loaded from. boot.img and core.img are put in their places on the disk by boot_disk.py.
    directory=/boot/grub/i386-pc
    mkdir -p "$directory"
    cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst /usr/lib/grub/i386-pc/boot.img "$directory/"
    grub-mkimage --format=i386-pc --output="$directory/core.img" --prefix='(,gpt1)/boot/grub' biosdisk part_gpt ext2
}

install_uefi_grub() {
    # Debian's signed loaders in the removable path (a machine's own firmware variables are empty at first) and in
    # the path where packages upgrade them. The fallback program (fbx64) is left out: it would reboot once.
    directory=/boot/efi/EFI
    mkdir -p "$directory/BOOT" "$directory/debian"
    cp /usr/lib/shim/shimx64.efi.signed "$directory/BOOT/BOOTX64.EFI"
    cp /usr/lib/shim/shimx64.efi.signed "$directory/debian/shimx64.efi"
    cp /usr/lib/shim/mmx64.efi.signed "$directory/debian/mmx64.efi"
    for folder in BOOT debian; do
        cp /usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed "$directory/$folder/grubx64.efi"
    done
    cat > "$directory/debian/grub.cfg" <<EOF
search.fs_uuid $ROOT_UUID root
set prefix=(\$root)'/boot/grub'
configfile \$prefix/grub.cfg
EOF
    mkdir -p /boot/grub/x86_64-efi
    cp /usr/lib/grub/x86_64-efi/*.mod /usr/lib/grub/x86_64-efi/*.lst /boot/grub/x86_64-efi/
    touch /etc/grub.d/enable_cloud # grub-cloud-amd64 reinstalls both loaders when GRUB is upgraded
}

write_first_grub_configuration() {
    # The first boot's menu; update-grub replaces it when a kernel is installed or removed.
    # /etc/grub.d/11_linux calls it.
    dpkg-statoverride --update --add root root 0644 /etc/grub.d/10_linux
    . /etc/default/grub
    . /etc/default/grub.d/10_bakehouse.cfg
    cat > /boot/grub/grub.cfg <<EOF
# Written when this image was built; update-grub replaces it.
set timeout=0
if [ "\$grub_platform" = pc ]; then bits=16; fi
export bits
menuentry 'Debian GNU/Linux' {
    insmod part_gpt
    insmod ext2
    search --no-floppy --fs-uuid --set=root $ROOT_UUID
    linux\$bits /boot/$(basename /boot/vmlinuz-*) root=UUID=$ROOT_UUID ro $GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT
    initrd\$bits /boot/$(basename /boot/initrd.img-*)
}
EOF
}

# reorder UNIT SED-EXPRESSION...: the packaged unit without orderings that make others wait for it.
reorder() {
    unit=$1
    shift
    [ -e "/usr/lib/systemd/system/$unit" ] || return 0 # Debian 12 does not have all of them
    sed -E "$@" "/usr/lib/systemd/system/$unit" > "/etc/systemd/system/$unit"
}

# A boot of Debian as it is, behind a short front part: udev knows the network interface, networkd gets an address,
# ec2-identity.service knows the instance, sshd listens. These come after that.
start_after_ssh() {
    for unit in "$@"; do
        mkdir -p "/etc/systemd/system/$unit.d"
        printf '[Unit]\nAfter=ssh.service\n' > "/etc/systemd/system/$unit.d/bakehouse.conf"
    done
}

configure_services() {
    reorder systemd-networkd.service -e '/^After=/s/systemd-(sysctl|sysusers)\.service//g'
    reorder systemd-udevd.service -e '/^After=/s/systemd-sysusers\.service//'
    for unit in systemd-tmpfiles-setup-dev-early.service systemd-tmpfiles-setup-dev.service; do
        reorder "$unit" -e '/^Before=/s/systemd-udevd\.service//'
    done
    reorder tmp.mount -e '/^After=/s/swap\.target//'
    # sshd waits for ec2-identity.service instead of cloud-init.
    reorder cloud-init-local.service -e '/^Before=(network-pre|sysinit)\.target/d' -e '/^Wants=network-pre/d'
    for unit in cloud-init-network.service cloud-init.service; do # the same stage in Debian 13 and 12
        reorder "$unit" -e '/^Before=(sysinit\.target|sshd|systemd-user-sessions)/d' -e '/^Wants=sshd/d'
    done
    for unit in systemd-resolved.service systemd-timesyncd.service; do
        reorder "$unit" -e '/^Before=/s/(sysinit|network|time-sync)\.target//g' \
            -e 's/^WantedBy=sysinit\.target/WantedBy=multi-user.target/'
        systemctl disable --quiet "$unit"
    done
    start_after_ssh systemd-udev-trigger.service systemd-remount-fs.service systemd-modules-load.service \
        systemd-sysctl.service systemd-random-seed.service kmod-static-nodes.service \
        systemd-tmpfiles-setup-dev-early.service systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup.service \
        systemd-journal-flush.service systemd-networkd-wait-online.service systemd-resolved.service \
        systemd-timesyncd.service cloud-init-main.service cloud-init-local.service dev-hugepages.mount \
        dev-mqueue.mount run-lock.mount
    mkdir -p /etc/systemd/system-generators
    for generator in cloud-init-generator systemd-gpt-auto-generator systemd-hibernate-resume-generator \
        systemd-ssh-generator systemd-tpm2-generator systemd-sysv-generator systemd-rc-local-generator \
        systemd-system-update-generator; do
        ln -sf /dev/null "/etc/systemd/system-generators/$generator"
    done
    mkdir -p /etc/systemd/system/multi-user.target.wants
    ln -sf /usr/lib/systemd/system/cloud-init.target /etc/systemd/system/multi-user.target.wants/cloud-init.target
    systemctl enable --quiet systemd-networkd.service systemd-resolved.service systemd-timesyncd.service ssh.service \
        ec2-identity.service ec2-ssh-gate.service ec2-network-device.service
    # Needed on hardware, with a desktop, or never; each costs a process or a module at every boot.
    systemctl mask --quiet grub-common.service e2scrub_reap.service sshd-keygen.service \
        proc-sys-fs-binfmt_misc.automount systemd-binfmt.service sys-fs-fuse-connections.mount \
        sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount systemd-pstore.service \
        systemd-hwdb-update.service systemd-firstboot.service cloud-init-hotplugd.socket \
        systemd-creds.socket systemd-pcrextend.socket systemd-pcrlock.socket systemd-sysext.socket \
        systemd-initctl.socket systemd-udev-load-credentials.service systemd-network-generator.service \
        systemd-hibernate-clear.service systemd-machine-id-commit.service \
        systemd-networkd-persistent-storage.service modprobe@drm.service
    # sshd may run before systemd-tmpfiles: nobody is to be locked out for the seconds in between.
    mkdir -p /etc/tmpfiles.d
    ln -sf /dev/null /etc/tmpfiles.d/systemd-nologin.conf
    # Five processes at every login, for one line about the kernel.
    chmod -f -x /etc/update-motd.d/10-uname || true
    systemctl disable --quiet apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer
    systemctl set-default --quiet multi-user.target
    echo 'LANG=C.UTF-8' > /etc/default/locale
    passwd --quiet --lock root
}

prepare_first_boot() {
    # What systemd would do at the first boot because /usr is newer than /etc and /var.
    ldconfig
    journalctl --quiet --update-catalog
    mkdir -p /var/lib/bakehouse
    find /etc/cloud -type f -exec sha256sum {} + > /var/lib/bakehouse/cloud-configuration
    touch /usr
    for directory in /etc /var; do
        touch --reference=/usr "$directory/.updated"
    done
}

forget_this_build() {
    # Nothing of the machine that built the image, nothing that every copy would share.
    rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
    rm -rf /var/lib/cloud /var/log/journal/* /var/cache/debconf/*-old /var/lib/dpkg/*-old /tmp/* /var/tmp/*
    find /var/log -type f -exec truncate --size=0 {} +
    : > /etc/machine-id
    echo localhost > /etc/hostname
    chmod 0644 /etc/hostname
    ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
}

install_bios_grub
install_uefi_grub
write_first_grub_configuration
configure_services
forget_this_build
prepare_first_boot
