// SPDX-License-Identifier: GPL-2.0

//! Mounts of procfs and sysfs that only this module sees.
//!
//! A path such as /proc/cmdline is looked up in the caller's mount namespace, where another file
//! may be mounted over it. A path in such a mount can't be faked. The kernel sets the sysctls of
//! its command line in the same way (`do_sysctl_args()`, `fs/proc/proc_sysctl.c`).

use super::file::OpenFile;
use core::ptr::NonNull;
use kernel::{bindings, error::from_err_ptr, prelude::*};

/// `include/linux/fs/super_types.h`: a mount by the kernel itself, which needs no permission. Such
/// a mount is MNT_INTERNAL, and AppArmor then knows the paths of sysctls in it
/// (`d_namespace_path()`, `security/apparmor/path.c`).
const SB_KERNMOUNT: c_int = 1 << 22;

/// A mount that is in no namespace. Dropping this unmounts it.
///
/// # Invariants
///
/// The pointer is to a mount, and this owns a reference to it.
pub(crate) struct KernelMount(NonNull<bindings::vfsmount>);

impl KernelMount {
    /// Mounts procfs.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the kernel lacks it; `ENOMEM`; the error of a security policy.
    pub(crate) fn procfs() -> Result<Self> {
        Self::mount(c"proc")
    }

    /// Mounts sysfs.
    ///
    /// # Errors
    ///
    /// Those of [`KernelMount::procfs`].
    pub(crate) fn sysfs() -> Result<Self> {
        Self::mount(c"sysfs")
    }

    fn mount(name: &CStr) -> Result<Self> {
        // SAFETY: `name` is a valid C string.
        let kind = NonNull::new(unsafe { bindings::get_fs_type(name.as_char_ptr()) });
        let kind = kind.ok_or(ENODEV)?.as_ptr();
        // SAFETY: The reference that `get_fs_type()` has taken keeps `kind` valid. `name` is a valid
        // C string, which the function copies. Neither file system needs mount options.
        let mount = unsafe {
            bindings::vfs_kern_mount(
                kind,
                SB_KERNMOUNT,
                name.as_char_ptr(),
                core::ptr::null_mut(),
            )
        };
        // SAFETY: This is the reference that `get_fs_type()` has taken; the mount has its own.
        // put_filesystem(), which is not exported, does the same (fs/filesystems.c).
        unsafe { bindings::module_put((*kind).owner) };
        // INVARIANT: `vfs_kern_mount()` has returned a mount, and a reference to it.
        Ok(KernelMount(
            NonNull::new(from_err_ptr(mount)?).ok_or(ENODEV)?,
        ))
    }

    /// Opens the file at `path`, relative to the root of the mount, with the caller's credentials.
    fn open(&self, path: &CStr, flags: u32) -> Result<OpenFile> {
        let mount = self.0.as_ptr();
        let root = bindings::path {
            mnt: mount,
            // SAFETY: By the type invariants the mount is valid; its root never changes.
            dentry: unsafe { (*mount).mnt_root },
        };
        // SAFETY: By the type invariants the mount is valid during the call, and keeps its root.
        // `path` is a valid C string. The file takes its own reference to the mount.
        let file =
            unsafe { bindings::file_open_root(&root, path.as_char_ptr(), flags as c_int, 0) };
        // SAFETY: `file_open_root()` returns a reference to an open file, or an error.
        unsafe { OpenFile::from_opened(file) }
    }

    /// Reads the start of the file at `path` into `buffer`.
    ///
    /// # Errors
    ///
    /// Those of open(2) and read(2).
    pub(crate) fn read_bytes<'a>(&self, path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
        self.open(path, bindings::O_RDONLY)?.read_start(buffer)
    }

    /// Reads the short text file at `path` into `buffer`. Removes white space at the end.
    ///
    /// # Errors
    ///
    /// Those of open(2) and read(2); `EINVAL` if the text is not UTF-8.
    pub(crate) fn read_text<'a>(&self, path: &CStr, buffer: &'a mut [u8]) -> Result<&'a str> {
        let bytes = self.read_bytes(path, buffer)?;
        Ok(core::str::from_utf8(bytes).map_err(|_| EINVAL)?.trim_end())
    }

    /// Writes `text` to the file at `path`.
    ///
    /// # Errors
    ///
    /// Those of open(2) and write(2); `EIO` if only a part was written.
    pub(crate) fn write_text(&self, path: &CStr, text: &CStr) -> Result {
        self.open(path, bindings::O_WRONLY)?
            .write_start(text.to_bytes())
    }
}

impl Drop for KernelMount {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this owns a reference to the mount. Files that are still
        // open have their own.
        unsafe { bindings::mntput(self.0.as_ptr()) };
    }
}
