// SPDX-License-Identifier: GPL-2.0

//! Files, read by the kernel.

use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{from_err_ptr, to_result},
    prelude::*,
};

/// What a file is read for, which is what security modules decide by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A kernel to start.
    Kernel,
    /// Its initrd.
    Initrd,
}

impl Purpose {
    fn id(self) -> bindings::kernel_read_file_id {
        match self {
            Purpose::Kernel => bindings::kernel_read_file_id_READING_KEXEC_IMAGE,
            Purpose::Initrd => bindings::kernel_read_file_id_READING_KEXEC_INITRAMFS,
        }
    }
}

/// What tells whether a file is the one that was read, unchanged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u32,
    inode: u64,
    size: i64,
    /// Seconds and nanoseconds of the last change of any kind.
    changed: (i64, c_long),
}

/// An open file.
///
/// # Invariants
///
/// The pointer is to an open file that is ours to close.
pub(crate) struct OpenFile(NonNull<bindings::file>);

impl OpenFile {
    /// Opens the regular file at `path` for reading, with the rights of the caller.
    ///
    /// # Errors
    ///
    /// Those of open(2); `EINVAL` for what is not a regular file, or one of /proc, /sys and the like.
    pub(crate) fn open_stored(path: &CStr) -> Result<Self> {
        // To open another may take locks, of a FIFO for example, while the caller holds some of sysfs.
        // So it is looked at before.
        Self::open_with(path, bindings::O_PATH)?.check_stored()?;
        // Not to wait for a writer, should it have become a FIFO.
        let file = Self::open_with(path, bindings::O_LARGEFILE | bindings::O_NONBLOCK)?;
        file.check_stored()?;
        Ok(file)
    }

    fn open(path: &CStr) -> Result<Self> {
        Self::open_with(path, bindings::O_RDONLY)
    }

    fn open_with(path: &CStr, flags: u32) -> Result<Self> {
        // SAFETY: The path is a C string.
        let file = unsafe { bindings::filp_open(path.as_char_ptr(), flags as c_int, 0) };
        // INVARIANT: It was opened just now.
        Ok(OpenFile(NonNull::new(from_err_ptr(file)?).ok_or(ENOENT)?))
    }

    /// Which file it is, and in what state.
    ///
    /// # Errors
    ///
    /// Those of stat(2).
    pub(crate) fn identity(&self) -> Result<Identity> {
        // Asking for the time of change makes the next change have another (multigrain timestamps).
        let mut stat = bindings::kstat::default();
        // SAFETY: The file is open, which keeps its path.
        to_result(unsafe {
            bindings::vfs_getattr(
                &raw const (*self.0.as_ptr()).__bindgen_anon_1.f_path,
                &mut stat,
                bindings::STATX_CTIME | bindings::STATX_INO | bindings::STATX_SIZE,
                bindings::AT_STATX_SYNC_AS_STAT,
            )
        })?;
        Ok(Identity {
            device: stat.dev,
            inode: stat.ino,
            size: stat.size,
            changed: (stat.ctime.tv_sec, stat.ctime.tv_nsec),
        })
    }

    /// Checks that it is a regular file which the kernel does not make up when it is read, as those
    /// of /proc and /sys, which may take any lock: their file systems never hold programs.
    fn check_stored(&self) -> Result {
        // SAFETY: The file is open, which keeps its inode and its file system.
        let (mode, flags) = unsafe {
            let inode = (*self.0.as_ptr()).f_inode;
            ((*inode).i_mode, (*(*inode).i_sb).s_iflags)
        };
        let is_regular = u32::from(mode) & bindings::S_IFMT == bindings::S_IFREG;
        let is_made_up = flags & bindings::SB_I_NOEXEC as c_ulong != 0;
        (is_regular && !is_made_up).then_some(()).ok_or(EINVAL)
    }

    /// Reads the whole file.
    ///
    /// # Errors
    ///
    /// Those of `kernel_read_file()`: `EINVAL` for what is not a regular file or empty, what a
    /// security policy says, `ENOMEM`, `EIO`.
    pub(crate) fn read_whole(&self, purpose: Purpose) -> Result<Contents> {
        let mut buffer = core::ptr::null_mut();
        // SAFETY: The file is open; a null buffer asks for one to be allocated.
        let len = unsafe {
            bindings::kernel_read_file(
                self.0.as_ptr(),
                0,
                &mut buffer,
                usize::MAX,
                core::ptr::null_mut(),
                purpose.id(),
            )
        };
        if len < 0 {
            return Err(Error::from_errno(len as c_int));
        }
        // INVARIANT: On success the buffer is allocated and holds `len` bytes.
        Ok(Contents {
            buffer: NonNull::new(buffer.cast()).ok_or(EINVAL)?,
            len: len as usize,
        })
    }

    /// Reads from the start as much as fits in `buffer`; for files of /proc, which have no size.
    fn read_start<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
        let mut position = 0;
        while (position as usize) < buffer.len() {
            let rest = &mut buffer[position as usize..];
            // SAFETY: The file is open, and the buffer as long as is said.
            let len = unsafe {
                bindings::kernel_read(
                    self.0.as_ptr(),
                    rest.as_mut_ptr().cast(),
                    rest.len(),
                    &mut position,
                )
            };
            match len {
                0 => break,
                1.. => {}
                error => return Err(Error::from_errno(error as c_int)),
            }
        }
        Ok(&buffer[..position as usize])
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: By the type invariants it is ours.
        unsafe { bindings::fput(self.0.as_ptr()) };
    }
}

/// Reads a short text, such as a file of /proc, into `buffer`.
///
/// # Errors
///
/// Those of open(2) and read(2); `EINVAL` if it is not UTF-8.
pub(crate) fn read_text<'a>(path: &CStr, buffer: &'a mut [u8]) -> Result<&'a str> {
    let bytes = OpenFile::open(path)?.read_start(buffer)?;
    Ok(core::str::from_utf8(bytes).map_err(|_| EINVAL)?.trim_end())
}

/// The contents of a file.
///
/// # Invariants
///
/// `buffer` was allocated by `kernel_read_file()`, is initialised, and is `len` bytes long.
pub(crate) struct Contents {
    buffer: NonNull<u8>,
    len: usize,
}

// SAFETY: It owns its buffer, as a vector does.
unsafe impl Send for Contents {}
// SAFETY: As above.
unsafe impl Sync for Contents {}

impl core::ops::Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: By the type invariants.
        unsafe { core::slice::from_raw_parts(self.buffer.as_ptr(), self.len) }
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        // SAFETY: It is a vmalloc() allocation, which kvfree() frees as well as vfree().
        unsafe { bindings::kvfree(self.buffer.as_ptr().cast()) };
    }
}
