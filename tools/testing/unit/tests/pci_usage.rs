// SPDX-License-Identifier: GPL-2.0

//! What the devices below a PCI function show of its use.

use mint_unit::pci::usage::{Device, Usage};

fn class(class: &str) -> Usage {
    Device {
        class: class.as_bytes(),
        ..Device::default()
    }
    .usage()
}

#[test]
fn use_of_disks_and_interfaces_can_be_told() {
    assert_eq!(class("block"), Usage::Disk);
    assert_eq!(class("net"), Usage::Interface);
}

#[test]
fn parts_of_common_devices_are_harmless() {
    for name in [
        "nvme",
        "nvme-generic",
        "hwmon",
        "wakeup",
        "ptp",
        "leds",
        "scsi_host",
        "scsi_disk",
    ] {
        assert_eq!(class(name), Usage::Nothing, "{name}");
    }
}

#[test]
fn nobody_can_tell_of_the_rest() {
    for name in [
        "drm",
        "accel",
        "graphics",
        "sound",
        "vfio-dev",
        "uio",
        "infiniband",
        "infiniband_verbs",
        "tty",
        "input",
        "hidraw",
        "scsi_tape",
        "scsi_changer",
        "watchdog",
        "tpm",
        "mtd",
        "misc",
        "virtio-ports",
        "a class of tomorrow",
    ] {
        assert_eq!(class(name), Usage::Unknown, "{name}");
    }
}

#[test]
fn scsi_commands_are_harmless_only_for_disks_and_hosts() {
    let usage = |class: &str, driver_above: &str| {
        Device {
            class: class.as_bytes(),
            driver_above: driver_above.as_bytes(),
            ..Device::default()
        }
        .usage()
    };
    assert_eq!(usage("scsi_generic", "sd"), Usage::Nothing);
    assert_eq!(usage("bsg", "sr"), Usage::Nothing);
    assert_eq!(usage("scsi_generic", "st"), Usage::Unknown);
    assert_eq!(usage("bsg", "ch"), Usage::Unknown);
    // A device without a driver, such as a tape drive whose driver is not loaded.
    assert_eq!(usage("scsi_generic", "scsi"), Usage::Unknown);
    // A host adapter.
    assert_eq!(usage("bsg", "scsi"), Usage::Nothing);
}

#[test]
fn devices_on_buses_show_little() {
    let usage = |bus: &str, driver: &str| {
        Device {
            bus: bus.as_bytes(),
            driver: driver.as_bytes(),
            ..Device::default()
        }
        .usage()
    };
    assert_eq!(usage("virtio", "virtio_blk"), Usage::Nothing);
    assert_eq!(usage("usb", "usb-storage"), Usage::Nothing);
    assert_eq!(usage("usb", "usbfs"), Usage::Unknown);
    assert_eq!(usage("dax", "kmem"), Usage::Unknown);
    assert_eq!(usage("cxl", "cxl_mem"), Usage::Unknown);
}
