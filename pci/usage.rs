// SPDX-License-Identifier: GPL-2.0

//! What the devices that drivers have made of a PCI function show of its use.
//!
//! The kernel has no way to tell whether a character device or the like is in use. So a class must
//! be listed here as harmless, or the driver must be unbound by hand first.

/// A device below a PCI function. A name is empty where there is nothing to be named.
///
/// Where a device has no driver, the name of its bus stands for that of the driver
/// (`dev_driver_string()`, drivers/base/core.c).
#[derive(Clone, Copy, Debug, Default)]
pub struct Device<'a> {
    /// The name of its class.
    pub class: &'a [u8],
    /// The name of its bus.
    pub bus: &'a [u8],
    /// The name of its driver.
    pub driver: &'a [u8],
    /// The name of the driver of the device above.
    pub driver_above: &'a [u8],
}

/// What a device shows of the use of its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// It is a disk, which can be opened exclusively if it is unused.
    Disk,
    /// It is a network interface, which is unused if it is down.
    Interface,
    /// It may be in use, and nobody can tell.
    Unknown,
    /// Nothing, but the devices below it may.
    Nothing,
}

/// The classes of devices that can be taken from whoever uses them.
const HARMLESS: &[&[u8]] = &[
    // Parts of hosts and disks, whose use is that of the disks.
    b"ata_device",
    b"ata_link",
    b"ata_port",
    b"enclosure",
    b"fc_host",
    b"fc_remote_ports",
    b"fc_transport",
    b"fc_vports",
    b"iscsi_connection",
    b"iscsi_endpoint",
    b"iscsi_host",
    b"iscsi_iface",
    b"iscsi_session",
    b"iscsi_transport",
    b"mmc_host",
    b"raid_devices",
    b"sas_device",
    b"sas_end_device",
    b"sas_expander",
    b"sas_host",
    b"sas_phy",
    b"sas_port",
    b"scsi_device",
    b"scsi_disk",
    b"scsi_host",
    b"spi_host",
    b"spi_transport",
    b"srp_host",
    b"srp_remote_ports",
    // Commands to NVMe controllers and disks. A program that waits for one gets an error.
    b"nvme",
    b"nvme-generic",
    b"nvme-subsystem",
    // Parts of network cards, whose use is that of the interface.
    b"ieee80211",
    b"mdio_bus",
    b"pps",
    b"ptp",
    b"rfkill",
    // State of the hardware, for people to see and to set.
    b"devcoredump",
    b"devlink",
    b"firmware",
    b"hwmon",
    b"i2c-dev",
    b"leds",
    b"pci_bus",
    b"power_supply",
    b"thermal",
    b"typec",
    b"usb_power_delivery",
    b"usb_role",
    b"usbmon",
    b"wakeup",
];

/// Buses of memory that may have become the first OS's RAM.
const MEMORY_BUSES: &[&[u8]] = &[b"cxl", b"dax"];

/// SCSI commands to any device. Whoever uses a disk or a CD-ROM so is taken for a user of that.
const SCSI_COMMANDS: &[&[u8]] = &[b"bsg", b"scsi_generic"];
const SCSI_DISK_DRIVERS: &[&[u8]] = &[b"sd", b"sr"];
const NO_SCSI_DRIVER: &[&[u8]] = &[b"", b"scsi"];

/// The driver of the USB interfaces that programs have claimed.
const USB_OF_PROGRAMS: &[u8] = b"usbfs";

impl Device<'_> {
    /// Returns what the device shows of the use of its function.
    pub fn usage(&self) -> Usage {
        match self.class {
            b"block" => Usage::Disk,
            b"net" => Usage::Interface,
            b"" if MEMORY_BUSES.contains(&self.bus) || self.driver == USB_OF_PROGRAMS => {
                Usage::Unknown
            }
            b"" => Usage::Nothing,
            class if HARMLESS.contains(&class) => Usage::Nothing,
            // A host adapter has no driver of that bus, and such a node for commands to itself.
            b"bsg" if NO_SCSI_DRIVER.contains(&self.driver_above) => Usage::Nothing,
            class if SCSI_COMMANDS.contains(&class) && self.is_of_scsi_disk() => Usage::Nothing,
            _ => Usage::Unknown,
        }
    }
    fn is_of_scsi_disk(&self) -> bool {
        SCSI_DISK_DRIVERS.contains(&self.driver_above)
    }
}
