// SPDX-License-Identifier: GPL-2.0

//! Where a block device is mounted, as /proc tells.

/// The number of a block device, as the kernel keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceNumber(pub u32);

/// include/linux/kdev_t.h
const MINOR_BITS: u32 = 20;

impl DeviceNumber {
    /// Parses `major:minor`.
    fn parse(text: &[u8]) -> Option<Self> {
        let (major, minor) = core::str::from_utf8(text).ok()?.split_once(':')?;
        let (major, minor) = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
        let fits = major >> (u32::BITS - MINOR_BITS) == 0 && minor >> MINOR_BITS == 0;
        fits.then_some(DeviceNumber((major << MINOR_BITS) | minor))
    }
}

/// Returns where the file system on `device` is mounted. `mountinfo` is the contents of
/// /proc/PID/mountinfo (`show_mountinfo()`, fs/proc_namespace.c), perhaps cut off. There a space in a path
/// is `\040`. File systems that have several devices have a number of their own instead.
pub fn mount_point(mountinfo: &[u8], device: DeviceNumber) -> Option<&[u8]> {
    mountinfo.split(|&byte| byte == b'\n').find_map(|line| {
        // The mount's ID, that of its parent, the device, the root of the mount, and the mount point.
        let mut fields = line.split(|&byte| byte == b' ').skip(2);
        let found = DeviceNumber::parse(fields.next()?)?;
        fields.nth(1).filter(|_| found == device)
    })
}
