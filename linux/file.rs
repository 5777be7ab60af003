// SPDX-License-Identifier: GPL-2.0

//! Reads files from within the kernel.

use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{from_err_ptr, to_result},
    prelude::*,
};

/// The purpose of reading a file, by which security modules decide.
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

/// Identifies a file and its state: two files with equal identities have the same contents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u32,
    inode: u64,
    size: i64,
    /// Seconds and nanoseconds of the last change of any kind.
    changed: (i64, c_long),
}

impl Identity {
    /// Whether the file has no contents.
    pub(crate) fn is_empty(&self) -> bool {
        self.size == 0
    }
}

/// An open file.
///
/// # Invariants
///
/// The pointer is to an open file, and this owns a reference to it.
pub(crate) struct OpenFile(NonNull<bindings::file>);

impl OpenFile {
    /// Opens the regular file at `path` for reading, with the credentials of the caller.
    ///
    /// # Errors
    ///
    /// Those of open(2); `EINVAL` if the file is not a regular file, or is in a pseudo file system
    /// such as /proc or /sys.
    pub(crate) fn open_stored(path: &CStr) -> Result<Self> {
        // Opening another kind of file, such as a FIFO, may take locks or block, while the caller
        // holds locks of sysfs. So check the file before opening it for reading.
        Self::open_with(path, bindings::O_PATH)?.check_stored()?;
        // O_NONBLOCK: don't wait for a writer, in case the file has become a FIFO since.
        let file = Self::open_with(path, bindings::O_LARGEFILE | bindings::O_NONBLOCK)?;
        file.check_stored()?;
        Ok(file)
    }

    /// Opens the file at `path` with `flags` of open(2), and the credentials of the caller.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub(super) fn open_with(path: &CStr, flags: u32) -> Result<Self> {
        // SAFETY: `path` is a valid C string.
        let file = unsafe { bindings::filp_open(path.as_char_ptr(), flags as c_int, 0) };
        // SAFETY: `filp_open()` returns a reference to an open file, or an error.
        unsafe { Self::from_opened(file) }
    }

    /// Takes over `file`, which a function of the kernel has returned.
    ///
    /// # Errors
    ///
    /// The error that is encoded in the pointer, if it is one.
    ///
    /// # Safety
    ///
    /// `file` must be an error pointer, or point to an open file with a reference that the caller
    /// gives away.
    pub(super) unsafe fn from_opened(file: *mut bindings::file) -> Result<Self> {
        // INVARIANT: The caller guarantees that the file is open, and gives its reference away.
        Ok(OpenFile(NonNull::new(from_err_ptr(file)?).ok_or(ENOENT)?))
    }

    /// Returns a pointer to the file, which is open for as long as this lives.
    pub(super) fn as_ptr(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }

    /// Returns what stat(2) says of the file, and what `mask` asks for on top of that.
    ///
    /// # Errors
    ///
    /// Those of stat(2).
    pub(super) fn stat(&self, mask: u32) -> Result<bindings::kstat> {
        let mut stat = bindings::kstat::default();
        // SAFETY: By the type invariants the file is open, so its `f_path` is valid.
        to_result(unsafe {
            bindings::vfs_getattr(
                &raw const (*self.0.as_ptr()).__bindgen_anon_1.f_path,
                &mut stat,
                bindings::STATX_BASIC_STATS | mask,
                bindings::AT_STATX_SYNC_AS_STAT,
            )
        })?;
        Ok(stat)
    }

    /// Returns the identity of the file.
    ///
    /// # Errors
    ///
    /// Those of stat(2).
    pub(crate) fn identity(&self) -> Result<Identity> {
        // Querying the ctime makes sure that the next change gets another one (multigrain
        // timestamps).
        let stat = self.stat(0)?;
        Ok(Identity {
            device: stat.dev,
            inode: stat.ino,
            size: stat.size,
            changed: (stat.ctime.tv_sec, stat.ctime.tv_nsec),
        })
    }

    /// Checks that this is a regular file with stored contents. The kernel makes up the contents of
    /// files in /proc and /sys when they are read, which may take any lock. Such file systems do
    /// not allow executables (SB_I_NOEXEC).
    pub(super) fn check_stored(&self) -> Result {
        // SAFETY: By the type invariants the file is open, so its inode and its superblock are
        // valid.
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
    /// Those of `kernel_read_file()`: `EINVAL` if the file is empty or not a regular file,
    /// `ETXTBSY` if it is open for writing, `EIO` if it is truncated meanwhile, the error of a
    /// security policy, `ENOMEM`, `EFBIG`; those of read(2).
    pub(crate) fn read_whole(&self, purpose: Purpose) -> Result<Contents> {
        let mut buffer = core::ptr::null_mut();
        // SAFETY: By the type invariants the file is open. `buffer` is null, so the function
        // allocates a buffer.
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
        // INVARIANT: On success, the function has allocated `buffer` and read `len` bytes into it.
        Ok(Contents {
            buffer: NonNull::new(buffer.cast()).ok_or(EINVAL)?,
            len: len as usize,
        })
    }

    /// Asks the security modules whether the caller may use `contents`, which were read from this
    /// file before. They are asked as `kernel_read_file()` asks them.
    ///
    /// # Errors
    ///
    /// The error of a security policy.
    pub(crate) fn check_read(&self, purpose: Purpose, contents: &Contents) -> Result {
        let file = self.0.as_ptr();
        // SAFETY: By the type invariants the file is open.
        to_result(unsafe { bindings::security_kernel_read_file(file, purpose.id(), true) })?;
        // SAFETY: By the type invariants the file is open, and the buffer has `len` initialised
        // bytes. Of the modules only IMA looks at them, to hash them (ima_calc_buffer_hash(),
        // security/integrity/ima/ima_crypto.c). It does not write to them.
        to_result(unsafe {
            bindings::security_kernel_post_read_file(
                file,
                contents.buffer.as_ptr().cast(),
                contents.len as bindings::loff_t,
                purpose.id(),
            )
        })
    }

    /// Reads from the start as much as fits in `buffer`. This is for files in /proc, whose size is
    /// unknown.
    pub(super) fn read_start<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
        let mut position = 0;
        while (position as usize) < buffer.len() {
            let rest = &mut buffer[position as usize..];
            // SAFETY: By the type invariants the file is open, and `rest` is a valid buffer of the
            // length passed.
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

    /// Writes `bytes` at the start, in one piece.
    ///
    /// # Errors
    ///
    /// Those of write(2); `EIO` if only a part was written.
    pub(super) fn write_start(&self, bytes: &[u8]) -> Result {
        // SAFETY: By the type invariants the file is open, and `bytes` is a valid buffer of the
        // length passed.
        let len = unsafe {
            bindings::kernel_write(self.0.as_ptr(), bytes.as_ptr().cast(), bytes.len(), &mut 0)
        };
        if len < 0 {
            return Err(Error::from_errno(len as c_int));
        }
        (len as usize == bytes.len()).then_some(()).ok_or(EIO)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this owns a reference to the file.
        unsafe { bindings::fput(self.0.as_ptr()) };
    }
}

/// The contents of a file.
///
/// # Invariants
///
/// `buffer` was allocated by `kernel_read_file()`, and its first `len` bytes are initialised.
pub(crate) struct Contents {
    buffer: NonNull<u8>,
    len: usize,
}

// SAFETY: It owns its buffer, as a vector does.
unsafe impl Send for Contents {}
// SAFETY: Through a shared reference the buffer is only read.
unsafe impl Sync for Contents {}

impl core::ops::Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: By the type invariants `len` bytes of the buffer are initialised, and nobody
        // writes to them.
        unsafe { core::slice::from_raw_parts(self.buffer.as_ptr(), self.len) }
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        // SAFETY: This owns the buffer, which `kernel_read_file()` allocated with vmalloc();
        // kvfree() frees such memory.
        unsafe { bindings::kvfree(self.buffer.as_ptr().cast()) };
    }
}
