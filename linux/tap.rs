// SPDX-License-Identifier: GPL-2.0

//! TAP interfaces: Ethernet interfaces of the first OS whose frames go to and come from a file
//! (Documentation/networking/tuntap.rst in Linux).

use crate::linux::{
    errno::EMSGSIZE,
    file::OpenFile,
    kthread::Alarm,
    phys_memory::Watched,
    poll::Polled,
    user_page::UserPage, //
};
use core::{ffi::CStr as CoreStr, mem::MaybeUninit};
use kernel::{bindings, prelude::*, sync::Arc};

/// The device with the clone files of TAP interfaces.
const CLONE: &CStr = c"/dev/net/tun";
/// Its device number: MISC_MAJOR (include/uapi/linux/major.h) and TUN_MINOR
/// (include/linux/miscdevice.h), as MKDEV() packs them.
const CLONE_DEVICE: u32 = 10 << 20 | 200;

// include/uapi/linux/if_tun.h: ioctls.
const TUNSETIFF: c_uint = 0x4004_54ca;
const TUNSETOFFLOAD: c_uint = 0x4004_54d0;
const TUNGETIFF: c_uint = 0x8004_54d2;
const TUNSETVNETHDRSZ: c_uint = 0x4004_54d8;
// Flags of an interface.
const IFF_TUN: u16 = 0x0001;
const IFF_TAP: u16 = 0x0002;
const IFF_NAPI_FRAGS: u16 = 0x0020;
const IFF_DETACH_QUEUE: u16 = 0x0400;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;

/// The flags of an interface that is fit: whole Ethernet frames, each behind a `virtio_net_hdr` and
/// nothing else, in one file.
const FIT: u16 = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
const UNFIT: u16 = IFF_TUN | IFF_NAPI_FRAGS | IFF_DETACH_QUEUE;

/// Length of the name of an interface, with a final NUL (IFNAMSIZ, include/uapi/linux/if.h).
const NAME_LEN: usize = 16;
/// Length of `struct ifreq` (include/uapi/linux/if.h) of a 64-bit system: name, then a union, here of
/// flags.
const IFREQ_LEN: usize = 40;

/// Length of `struct virtio_net_hdr` (include/uapi/linux/virtio_net.h).
pub(crate) const HEADER_LEN: usize = 10;

/// The most pieces of memory in which a frame lies.
pub(crate) const MAX_PIECES: usize = 40;

/// include/uapi/linux/fs.h: don't wait.
const RWF_NOWAIT: bindings::rwf_t = 0x08;

/// The end of a TAP interface that a system in a virtual machine has elsewhere.
pub(crate) struct Tap {
    file: Polled,
    name: [u8; NAME_LEN],
}

/// Part of a mapping of memory: its offset, and its length.
pub(crate) type Piece = (usize, usize);

impl Tap {
    /// Attaches to the interface `name`, which is made if there is none. Rings `alarm` when it has frames.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the name is longer than 15 bytes, or is that of another kind of interface; `EBUSY` if
    /// somebody else is attached; `ENOENT` if the module `tun` is not loaded; `EPERM`.
    pub(crate) fn attach(name: &[u8], alarm: Arc<Alarm>) -> Result<Self> {
        let mut request = [0; IFREQ_LEN];
        let field = request.get_mut(..name.len()).ok_or(EINVAL)?;
        if name.is_empty() || name.len() >= NAME_LEN {
            return Err(EINVAL);
        }
        field.copy_from_slice(name);
        request[NAME_LEN..NAME_LEN + 2].copy_from_slice(&FIT.to_le_bytes());
        let file = OpenFile::open_with(CLONE, bindings::O_RDWR)?;
        check_clone(&file)?;
        let page = UserPage::new()?;
        page.write(&request)?;
        ioctl(&file, TUNSETIFF, page.address())?;
        Self::new(file, &page, alarm)
    }

    /// Takes a reference to file `fd` of the calling process, which must be attached to an interface.
    /// Rings `alarm` when the interface has frames.
    ///
    /// # Errors
    ///
    /// `EBADF` if there is no such file; `EINVAL` if it is not attached to a TAP interface with
    /// `IFF_NO_PI` and `IFF_VNET_HDR`.
    pub(crate) fn from_fd(fd: u32, alarm: Arc<Alarm>) -> Result<Self> {
        // SAFETY: The function may be called in any process.
        let file = unsafe { bindings::fget(fd) };
        if file.is_null() {
            return Err(EBADF);
        }
        // SAFETY: The file is open, and `fget()` has taken a reference to it.
        let file = unsafe { OpenFile::from_opened(file) }?;
        check_clone(&file)?;
        Self::new(file, &UserPage::new()?, alarm)
    }

    fn new(file: OpenFile, page: &UserPage, alarm: Arc<Alarm>) -> Result<Self> {
        let mut found = [0; IFREQ_LEN];
        // EBADFD if it is not attached.
        ioctl(&file, TUNGETIFF, page.address()).map_err(|_| EINVAL)?;
        page.read(&mut found)?;
        let flags = u16::from_le_bytes([found[NAME_LEN], found[NAME_LEN + 1]]);
        if flags & FIT != FIT || flags & UNFIT != 0 {
            return Err(EINVAL);
        }
        page.write(&(HEADER_LEN as u32).to_le_bytes())?;
        ioctl(&file, TUNSETVNETHDRSZ, page.address())?;
        // Frames come in the size that goes over a wire, and with checksums.
        ioctl(&file, TUNSETOFFLOAD, 0)?;
        let mut name = [0; NAME_LEN];
        name.copy_from_slice(&found[..NAME_LEN]);
        Ok(Tap {
            file: Polled::new(file, alarm)?,
            name,
        })
    }

    /// Returns the name that the interface had when this was made.
    pub(crate) fn name(&self) -> &[u8] {
        CoreStr::from_bytes_until_nul(&self.name).map_or(&[], |name| name.to_bytes())
    }

    /// Returns whether there is still an interface.
    pub(crate) fn is_attached(&self) -> bool {
        ioctl(self.file.file(), TUNSETOFFLOAD, 0).is_ok()
    }

    /// Sends the frame that consists of `pieces` of `memory`, behind `header`. Others may write to the
    /// memory meanwhile: it is copied once, then checked.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a piece is not in the memory, or the kernel refuses header or frame; `EIO` if the
    /// interface is down; `EBADFD` if there is no interface any more; `ENOMEM`, `EAGAIN`.
    pub(crate) fn send(
        &self,
        header: &mut [u8; HEADER_LEN],
        memory: &Watched,
        pieces: impl Iterator<Item = Result<Piece>>,
    ) -> Result {
        let mut vectors = Vectors::new(header);
        for piece in pieces {
            let (offset, len) = piece?;
            // SAFETY: The kernel only reads from the pieces of what is sent.
            unsafe { vectors.add(memory, offset, len) }?;
        }
        vectors.with(bindings::ITER_SOURCE, |iter| {
            // SAFETY: The file is open, and `iter` has memory to read from.
            unsafe { bindings::vfs_iter_write(self.file.file().as_ptr(), iter, &mut 0, RWF_NOWAIT) }
        })?;
        Ok(())
    }

    /// Returns whether the interface may have frames: since the last call there was one, or
    /// [`Tap::receive`] was asked to go on.
    pub(crate) fn may_have_frames(&self) -> bool {
        self.file.take_news()
    }

    /// Has [`Tap::may_have_frames`] return true the next time, as not all frames were taken.
    pub(crate) fn has_more_frames(&self) {
        self.file.keep_news();
    }

    /// Takes a frame, and copies it to `pieces` of `memory`, its `virtio_net_hdr` to `header`. Returns the
    /// length of the frame; [`None`] if there is no frame.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a piece is not in the memory; `EMSGSIZE` if the pieces were too short, and the frame is
    /// lost; `EBADFD` if there is no interface any more; others if the frame is lost.
    pub(crate) fn receive(
        &self,
        header: &mut [u8; HEADER_LEN],
        memory: &Watched,
        pieces: impl Iterator<Item = Result<Piece>>,
    ) -> Result<Option<usize>> {
        let mut excess = 0u8;
        let mut vectors = Vectors::new(header);
        for piece in pieces {
            let (offset, len) = piece?;
            // SAFETY: The successor's memory may be written to at any time, as far as Linux is concerned.
            unsafe { vectors.add(memory, offset, len) }?;
        }
        let room = vectors.len;
        vectors.add_byte(&mut excess)?;
        let got = vectors.with(bindings::ITER_DEST, |iter| {
            // SAFETY: The file is open, and `iter` has memory to write to.
            unsafe { bindings::vfs_iter_read(self.file.file().as_ptr(), iter, &mut 0, RWF_NOWAIT) }
        });
        match got {
            Ok(len) if len > room => Err(EMSGSIZE.into()),
            Ok(len) => Ok(Some(len.checked_sub(HEADER_LEN).ok_or(EIO)?)),
            Err(EAGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The memory that a frame is copied from or to, after its header.
struct Vectors<'a> {
    vectors: [bindings::kvec; 2 + MAX_PIECES],
    count: usize,
    len: usize,
    _header: core::marker::PhantomData<&'a mut [u8]>,
}

impl<'a> Vectors<'a> {
    fn new(header: &'a mut [u8; HEADER_LEN]) -> Self {
        let mut vectors = [bindings::kvec::default(); 2 + MAX_PIECES];
        vectors[0].iov_base = header.as_mut_ptr().cast();
        vectors[0].iov_len = HEADER_LEN;
        Vectors {
            vectors,
            count: 1,
            len: HEADER_LEN,
            _header: core::marker::PhantomData,
        }
    }

    /// Adds `len` bytes of `memory`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if they are not in the memory, or if there are too many pieces.
    ///
    /// # Safety
    ///
    /// `memory` must outlive this, and may be accessed as the vectors are going to be.
    unsafe fn add(&mut self, memory: &Watched, offset: usize, len: usize) -> Result {
        let address = memory.part(offset, len)?;
        self.push(address.cast_mut(), len)
    }

    fn add_byte(&mut self, byte: &'a mut u8) -> Result {
        self.push(byte, 1)
    }

    fn push(&mut self, address: *mut u8, len: usize) -> Result {
        let vector = self.vectors.get_mut(self.count).ok_or(EINVAL)?;
        vector.iov_base = address.cast();
        vector.iov_len = len;
        self.count += 1;
        self.len = self.len.checked_add(len).ok_or(EINVAL)?;
        Ok(())
    }

    /// Calls `transfer` with an iterator over the memory; returns the number of bytes.
    fn with(
        &self,
        direction: c_uint,
        transfer: impl FnOnce(*mut bindings::iov_iter) -> isize,
    ) -> Result<usize> {
        let mut iter = MaybeUninit::uninit();
        // SAFETY: This initialises `iter` for the vectors, `count` of which are initialised; they live
        // until `transfer` returns.
        unsafe {
            bindings::iov_iter_kvec(
                iter.as_mut_ptr(),
                direction,
                self.vectors.as_ptr(),
                self.count,
                self.len,
            )
        };
        let done = transfer(iter.as_mut_ptr());
        usize::try_from(done).map_err(|_| Error::from_errno(done as c_int))
    }
}

/// Checks that `file` is one of the clone files.
fn check_clone(file: &OpenFile) -> Result {
    let stat = file.stat(0)?;
    let is_device = u32::from(stat.mode) & bindings::S_IFMT == bindings::S_IFCHR;
    let is_it = is_device && stat.rdev == CLONE_DEVICE;
    is_it.then_some(()).ok_or(EINVAL)
}

/// Performs an ioctl of a clone file.
fn ioctl(file: &OpenFile, command: c_uint, argument: usize) -> Result {
    // SAFETY: The file is open, and so has operations.
    let ioctl = unsafe { (*(*file.as_ptr()).f_op).unlocked_ioctl }.ok_or(EINVAL)?;
    // SAFETY: The file is open. The function checks its arguments, as they come from user space elsewhere.
    let result = unsafe { ioctl(file.as_ptr(), command, argument) };
    match result {
        0.. => Ok(()),
        error => Err(Error::from_errno(error as c_int)),
    }
}
