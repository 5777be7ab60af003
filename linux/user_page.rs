// SPDX-License-Identifier: GPL-2.0

//! A page in the address space of the calling process, for ioctls that take a pointer to user space.

use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    uaccess::{UserPtr, UserSlice}, //
};

// include/uapi/asm-generic/mman-common.h
const PROT_READ: c_ulong = 0x1;
const PROT_WRITE: c_ulong = 0x2;
const MAP_PRIVATE: c_ulong = 0x02;
const MAP_ANONYMOUS: c_ulong = 0x20;

/// A page of the calling process, which this unmaps when it is dropped. The process may write to it, or
/// unmap it, at any time.
pub(super) struct UserPage {
    address: usize,
}

impl UserPage {
    /// Maps a page of zeros.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the caller is no process; those of mmap(2).
    pub(super) fn new() -> Result<Self> {
        kernel::current!().mm().ok_or(EINVAL)?;
        // SAFETY: The calling thread has an address space, in which this maps memory that belongs to no
        // file.
        let address = unsafe {
            bindings::vm_mmap(
                core::ptr::null_mut(),
                0,
                PAGE_SIZE,
                PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS,
                0,
            )
        };
        // An error is one of the highest addresses (IS_ERR_VALUE() in include/linux/err.h).
        if address > usize::MAX - bindings::MAX_ERRNO as usize {
            return Err(Error::from_errno(address as isize as c_int));
        }
        Ok(UserPage { address })
    }

    /// Returns the address of the page.
    pub(super) fn address(&self) -> usize {
        self.address
    }

    /// Copies `bytes` to the start of the page.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the process has unmapped the page, or `bytes` has more bytes.
    pub(super) fn write(&self, bytes: &[u8]) -> Result {
        self.slice().writer().write_slice(bytes)
    }

    /// Copies the start of the page to `out`.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the process has unmapped the page, or `out` has more bytes.
    pub(super) fn read(&self, out: &mut [u8]) -> Result {
        self.slice().reader().read_slice(out)
    }

    fn slice(&self) -> UserSlice {
        UserSlice::new(UserPtr::from_addr(self.address), PAGE_SIZE)
    }
}

impl Drop for UserPage {
    fn drop(&mut self) {
        // SAFETY: Made and dropped in one call of a process, so the address space is that of `new()`.
        unsafe { bindings::vm_munmap(self.address, PAGE_SIZE) };
    }
}
