// SPDX-License-Identifier: GPL-2.0

//! Files and block devices that hold the contents of a disk.

use crate::linux::{errno::EOPNOTSUPP, file::OpenFile};
use core::{mem::MaybeUninit, ptr::addr_of};
use kernel::{
    alloc::allocator::Vmalloc,
    bindings,
    error::{from_err_ptr, to_result},
    page::PAGE_SIZE,
    prelude::*, //
};

/// The most bytes that are read or written at once.
pub(crate) const TRANSFER_MAX: usize = 128 << 10;
const PAGES: usize = TRANSFER_MAX / PAGE_SIZE;

// include/uapi/linux/falloc.h
const FALLOC_FL_KEEP_SIZE: c_int = 0x01;
const FALLOC_FL_PUNCH_HOLE: c_int = 0x02;
const FALLOC_FL_ZERO_RANGE: c_int = 0x10;
/// include/uapi/linux/fs.h: the data is on the storage when the write returns.
const RWF_DSYNC: bindings::rwf_t = 0x02;

/// The size of a sector of a disk in a file, as a power of two.
const SECTOR_SHIFT: u8 = 9;

/// include/linux/fs.h: the kernel swaps to the file.
const S_SWAPFILE: c_uint = 1 << 8;

// include/linux/blkdev.h
pub(crate) const BLK_OPEN_READ: bindings::blk_mode_t = 1 << 0;
const BLK_OPEN_WRITE: bindings::blk_mode_t = 1 << 1;

/// The address of this identifies Mint as the holder of a block device.
static HOLDER: u8 = 0;

/// Identifies a file or a block device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskId {
    /// The device number of the block device, or of that with the file.
    device: u32,
    /// The number of the file's inode; none of a block device.
    inode: Option<u64>,
}

/// Why a file can't be a disk.
pub(crate) struct Refusal {
    /// The error.
    pub(crate) error: Error,
    /// What a person can do.
    pub(crate) hint: &'static str,
}

/// An open file or block device.
pub(crate) struct DiskFile {
    file: OpenFile,
    id: DiskId,
    block_shift: u8,
}

// SAFETY: The kernel's functions for open files may be called by any thread.
unsafe impl Send for DiskFile {}
// SAFETY: As above; they have locks of their own.
unsafe impl Sync for DiskFile {}

/// Memory for one transfer.
pub(crate) struct Buffer(Vec<u8, Vmalloc>);

impl Buffer {
    /// Allocates the memory.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Buffer(Vec::from_elem(0, TRANSFER_MAX, GFP_KERNEL)?))
    }

    /// Returns the first `len` bytes, or all if these are less.
    pub(crate) fn bytes(&mut self, len: usize) -> &mut [u8] {
        let len = len.min(self.0.len());
        &mut self.0[..len]
    }
}

impl DiskFile {
    /// Opens the regular file or the block device at `path`, with the credentials of the caller. A
    /// block device that somebody else has claimed is refused.
    ///
    /// # Errors
    ///
    /// Those of open(2): `EBUSY` if the block device is in use. `EINVAL` if this is another kind of
    /// file, is in a pseudo file system, or empty.
    pub(crate) fn open(path: &CStr, read_only: bool) -> Result<Self, Refusal> {
        let refuse = |hint| move |error| Refusal { error, hint };
        let found = OpenFile::open_with(path, bindings::O_PATH).map_err(|error| Refusal {
            error,
            hint: "does it exist?",
        })?;
        let stat = found
            .stat(bindings::STATX_DIOALIGN)
            .map_err(refuse("it can't be looked at"))?;
        let is_block = u32::from(stat.mode) & bindings::S_IFMT == bindings::S_IFBLK;
        if !is_block {
            let hint = "give the path of a regular file with contents, or of a block device";
            found.check_stored().map_err(refuse(hint))?;
        }
        let access = match read_only {
            true => bindings::O_RDONLY,
            false => bindings::O_RDWR,
        };
        // The page cache is bypassed if the file system can do so by sectors.
        let align = stat.dio_offset_align;
        let is_direct = stat.result_mask & bindings::STATX_DIOALIGN != 0
            && (is_block || (1..=1 << SECTOR_SHIFT).contains(&align));
        let how = if is_direct { bindings::O_DIRECT } else { 0 };
        let flags = access | how | bindings::O_LARGEFILE;
        let hint = match (is_block, read_only) {
            (true, _) => {
                "a block device must not be mounted, a part of a volume, or swapped to: see lsblk"
            }
            (false, true) => "may it be read?",
            (false, false) => {
                "may it be written? Add ':ro' to the path for a disk that can only be read"
            }
        };
        let file = if is_block {
            check_block_device(path, read_only)?;
            // What is only read is left to others as well, once it is known that nobody has claimed it.
            let claim = if read_only { 0 } else { bindings::O_EXCL };
            OpenFile::open_with(path, flags | claim)
        } else {
            // O_NONBLOCK: don't wait for a writer, in case the file has become a FIFO since.
            OpenFile::open_with(path, flags | bindings::O_NONBLOCK)
        };
        let disk = Self::of(file.map_err(refuse(hint))?, is_block).map_err(refuse(hint))?;
        match disk.blocks() {
            0 => Err(refuse("it has no contents: give it the size of the disk")(
                EINVAL,
            )),
            _ => Ok(disk),
        }
    }

    fn of(file: OpenFile, is_block: bool) -> Result<Self> {
        let stat = file.stat(0)?;
        let is_still = u32::from(stat.mode) & bindings::S_IFMT == bindings::S_IFBLK;
        if is_still != is_block {
            return Err(EINVAL);
        }
        let (id, block_shift) = if is_block {
            // SAFETY: The file is an open block device.
            let size = unsafe {
                let device = bindings::file_bdev(file.as_ptr());
                (*(*device).bd_queue).limits.logical_block_size
            };
            let id = DiskId {
                device: stat.rdev,
                inode: None,
            };
            (id, size.trailing_zeros() as u8)
        } else {
            file.check_stored()?;
            let id = DiskId {
                device: stat.dev,
                inode: Some(stat.ino),
            };
            (id, SECTOR_SHIFT)
        };
        Ok(DiskFile {
            file,
            id,
            block_shift,
        })
    }

    /// Checks that nobody else writes to the file. Nobody tells who writes to a block device, which others
    /// must claim first.
    ///
    /// # Errors
    ///
    /// `ETXTBSY` if somebody has a regular file open for writing, or swaps to it.
    pub(crate) fn check_writers(&self, read_only: bool) -> Result<(), Refusal> {
        if self.id.inode.is_none() {
            return Ok(());
        }
        // SAFETY: The file is open, and keeps its inode. `counter` is an aligned atomic, which may change
        // at any time.
        let (flags, writers) = unsafe {
            let inode = (*self.file.as_ptr()).f_inode;
            let writers = addr_of!((*inode).i_writecount.counter);
            ((*inode).i_flags, writers.read_volatile())
        };
        let own = if read_only { 0 } else { 1 };
        if flags & S_SWAPFILE == 0 && writers <= own {
            return Ok(());
        }
        Err(Refusal {
            error: ETXTBSY,
            hint: "somebody has it open for writing, or swaps to it: see fuser and losetup",
        })
    }

    /// Returns what identifies the file.
    pub(crate) fn id(&self) -> DiskId {
        self.id
    }

    /// Returns the size of a block, as a power of two.
    pub(crate) fn block_shift(&self) -> u8 {
        self.block_shift
    }

    /// Returns how many whole blocks the file has now.
    pub(crate) fn blocks(&self) -> u64 {
        // SAFETY: The file is open, and keeps its inode. The size may change at any time.
        let size = unsafe {
            let inode = (*(*self.file.as_ptr()).f_mapping).host;
            addr_of!((*inode).i_size).read_volatile()
        };
        u64::try_from(size).unwrap_or(0) >> self.block_shift
    }

    /// Returns whether holes can be punched into the file. A block device must be able to zero blocks by
    /// itself (`blkdev_fallocate()`, block/fops.c).
    pub(crate) fn can_punch(&self) -> bool {
        // SAFETY: The file is open, and keeps its operations. A file without an inode number is a block
        // device, and keeps its queue.
        unsafe {
            let file = self.file.as_ptr();
            let can_zero = self.id.inode.is_some() || {
                let queue = (*bindings::file_bdev(file)).bd_queue;
                (*queue).limits.max_write_zeroes_sectors > 0
            };
            (*(*file).f_op).fallocate.is_some() && can_zero
        }
    }

    /// Reads `len` bytes at `position` to the start of `buffer`.
    ///
    /// # Errors
    ///
    /// Those of read(2); `EIO` if the file ends before.
    pub(crate) fn read(&self, buffer: &mut Buffer, len: usize, position: u64) -> Result {
        self.transfer(
            buffer,
            len,
            position,
            bindings::ITER_DEST,
            |iter, position| {
                // SAFETY: The file is open, and `iter` is for as many bytes as are left in the buffer.
                unsafe { bindings::vfs_iter_read(self.file.as_ptr(), iter, position, 0) }
            },
        )
    }

    /// Writes the first `len` bytes of `buffer` at `position`. If `is_durable`, waits until they are on
    /// the storage.
    ///
    /// # Errors
    ///
    /// Those of write(2).
    pub(crate) fn write(
        &self,
        buffer: &mut Buffer,
        len: usize,
        position: u64,
        is_durable: bool,
    ) -> Result {
        let flags = if is_durable { RWF_DSYNC } else { 0 };
        self.transfer(
            buffer,
            len,
            position,
            bindings::ITER_SOURCE,
            |iter, position| {
                // SAFETY: The file is open, and `iter` is for as many bytes as are left in the buffer.
                unsafe { bindings::vfs_iter_write(self.file.as_ptr(), iter, position, flags) }
            },
        )
    }

    /// Calls `step` until all of the first `len` bytes of `buffer` are read or written.
    fn transfer(
        &self,
        buffer: &mut Buffer,
        len: usize,
        position: u64,
        direction: u32,
        mut step: impl FnMut(*mut bindings::iov_iter, *mut bindings::loff_t) -> isize,
    ) -> Result {
        if len > TRANSFER_MAX {
            return Err(EINVAL);
        }
        let mut position = bindings::loff_t::try_from(position)?;
        let mut vectors = [const { MaybeUninit::<bindings::bio_vec>::uninit() }; PAGES];
        let pages = buffer.bytes(len).chunks(PAGE_SIZE);
        let count = pages.len();
        for (vector, part) in vectors.iter_mut().zip(pages) {
            vector.write(bindings::bio_vec {
                // SAFETY: The buffer was allocated by vmalloc().
                bv_page: unsafe { bindings::vmalloc_to_page(part.as_ptr().cast()) },
                bv_len: part.len() as c_uint,
                bv_offset: 0,
            });
        }
        let mut iter = MaybeUninit::uninit();
        // SAFETY: This initialises `iter` for the vectors, `count` of which were initialised above.
        unsafe {
            bindings::iov_iter_bvec(
                iter.as_mut_ptr(),
                direction,
                vectors.as_ptr().cast(),
                count,
                len,
            )
        };
        let mut left = len as isize;
        while left > 0 {
            match step(iter.as_mut_ptr(), &mut position) {
                0 => return Err(EIO),
                done @ 1.. => left -= done,
                error => return Err(Error::from_errno(error as c_int)),
            }
        }
        Ok(())
    }

    /// Waits until all that was written is on the storage.
    ///
    /// # Errors
    ///
    /// Those of fdatasync(2).
    pub(crate) fn sync(&self) -> Result {
        // SAFETY: The file is open.
        to_result(unsafe { bindings::vfs_fsync(self.file.as_ptr(), 1) })
    }

    /// Gives the storage of `len` bytes at `position` back, if the storage can do so.
    ///
    /// # Errors
    ///
    /// Those of fallocate(2), but for `EOPNOTSUPP`.
    pub(crate) fn discard(&self, position: u64, len: u64) -> Result {
        match self.allocate(FALLOC_FL_PUNCH_HOLE, position, len) {
            Err(error) if error == Error::from(EOPNOTSUPP) => Ok(()),
            result => result,
        }
    }

    /// Fills `len` bytes at `position` with zeros, by a hole if `may_punch`. Uses `buffer` if the
    /// storage can't do so by itself.
    ///
    /// # Errors
    ///
    /// Those of fallocate(2) and write(2).
    pub(crate) fn zero(
        &self,
        buffer: &mut Buffer,
        position: u64,
        len: u64,
        may_punch: bool,
    ) -> Result {
        let mode = match may_punch {
            true => FALLOC_FL_PUNCH_HOLE,
            false => FALLOC_FL_ZERO_RANGE,
        };
        match self.allocate(mode, position, len) {
            Err(error) if error == Error::from(EOPNOTSUPP) => {}
            result => return result,
        }
        buffer.bytes(TRANSFER_MAX).fill(0);
        let mut done = 0;
        while done < len {
            let part = (len - done).min(TRANSFER_MAX as u64);
            self.write(buffer, part as usize, position + done, false)?;
            done += part;
        }
        Ok(())
    }

    fn allocate(&self, mode: c_int, position: u64, len: u64) -> Result {
        let (position, len) = (position.try_into()?, len.try_into()?);
        // SAFETY: The file is open.
        to_result(unsafe {
            bindings::vfs_fallocate(
                self.file.as_ptr(),
                mode | FALLOC_FL_KEEP_SIZE,
                position,
                len,
            )
        })
    }
}

/// A block device that somebody uses.
pub(crate) struct BlockDevice {
    /// Its number.
    pub(crate) number: u32,
    /// Whether the kernel swaps to it.
    pub(crate) is_swap: bool,
}

impl BlockDevice {
    /// Looks at the block device at `path`, with the credentials of the caller.
    ///
    /// # Errors
    ///
    /// Those of open(2); `ENOTBLK` if it is not a block device.
    pub(crate) fn look_at(path: &CStr) -> Result<Self> {
        let file = OpenFile::open_with(path, bindings::O_RDONLY | bindings::O_NONBLOCK)?;
        let stat = file.stat(0)?;
        if u32::from(stat.mode) & bindings::S_IFMT != bindings::S_IFBLK {
            return Err(ENOTBLK);
        }
        // SAFETY: The file is open, and keeps the inode of its contents. The flags may change at any time.
        let flags = unsafe {
            let inode = (*(*file.as_ptr()).f_mapping).host;
            addr_of!((*inode).i_flags).read_volatile()
        };
        Ok(BlockDevice {
            number: stat.rdev,
            is_swap: flags & S_SWAPFILE != 0,
        })
    }
}

/// Checks that nobody has claimed the block device at `path`, and that it can be written unless
/// `read_only`.
fn check_block_device(path: &CStr, read_only: bool) -> Result<(), Refusal> {
    let access = match read_only {
        true => BLK_OPEN_READ,
        false => BLK_OPEN_READ | BLK_OPEN_WRITE,
    };
    let holder = (&raw const HOLDER).cast_mut().cast();
    // SAFETY: `path` is a valid C string. The holder is only compared with others.
    let opened = from_err_ptr(unsafe {
        bindings::bdev_file_open_by_path(path.as_char_ptr(), access, holder, core::ptr::null())
    });
    let file = opened.map_err(|error| Refusal {
        error,
        hint: match error {
            EACCES | EROFS => "it is write-protected: add ':ro' to the path",
            _ => "a block device must not be mounted, a part of a volume, or swapped to: see lsblk",
        },
    })?;
    // Gives the claim up at once, not when the caller returns to user space.
    // SAFETY: The function above has opened the file, which nobody else has.
    unsafe { bindings::bdev_fput(file) };
    Ok(())
}
