// SPDX-License-Identifier: GPL-2.0

//! Tells who uses a block device that can't be a disk.

use crate::{
    disk::users::{self, DeviceNumber},
    linux::{disk_file::BlockDevice, kernel_mount::KernelMount},
};
use kernel::{alloc::allocator::Vmalloc, prelude::*, str::CString};

/// How much of the list of mounts is read.
const MOUNTS_MAX: usize = 256 << 10;

/// Prints to the log who uses the block device at `path`, which `os` can't have, if that can be found out.
pub(super) fn tell(path: &CStr, os: &CString) {
    // Nobody need know why it can't be found out.
    let _ = try_tell(path, os);
}

fn try_tell(path: &CStr, os: &CString) -> Result {
    let device = BlockDevice::look_at(path)?;
    if device.is_swap {
        pr_err!("{}: the first OS swaps to {}\n", &**os, path);
        return Ok(());
    }
    let mut buffer = Vec::<u8, Vmalloc>::from_elem(0, MOUNTS_MAX, GFP_KERNEL)?;
    let mounts = KernelMount::procfs()?.read_bytes(c"self/mountinfo", &mut buffer)?;
    let place = users::mount_point(mounts, DeviceNumber(device.number)).ok_or(ENOENT)?;
    let place = core::str::from_utf8(place).map_err(|_| EINVAL)?;
    pr_err!("{}: {} is mounted on {}\n", &**os, path, place);
    Ok(())
}
