// SPDX-License-Identifier: GPL-2.0

//! Kernels and initrds. Each is read once, shared by all OSes that boot it, and copied to the
//! memory of each OS.

use crate::{
    image::{self, kernel_image::KernelImage, layout::Layout, uki, Parsed},
    linux::{
        file::{Contents, Identity, OpenFile, Purpose},
        log::Shown,
        phys_memory,
    },
    machine::exclusive,
    memory::memmap::Range,
};
use kernel::{
    bindings,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{Arc, Mutex}, //
};

/// A kernel or initrd in memory.
#[pin_data]
pub(crate) struct Image {
    identity: Identity,
    purpose: Purpose,
    /// The first user reads the file, while the others wait.
    #[pin]
    contents: Mutex<Option<Arc<Contents>>>,
}

/// The list of images in use.
#[pin_data]
pub(crate) struct Images {
    #[pin]
    list: Mutex<KVec<Entry>>,
}

struct Entry {
    image: Arc<Image>,
    /// The number of [`EntryRef`]s.
    users: usize,
}

impl Images {
    /// Makes an empty list.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Images {
            list <- new_mutex!(KVec::new()),
        })
    }

    /// Opens the file at `path` for `os`, to be read for `purpose`.
    ///
    /// # Errors
    ///
    /// Those of [`OpenFile::open_stored`]; `EINVAL` if the file is empty. The log says what is
    /// wrong.
    pub(crate) fn open(
        self: &Arc<Self>,
        path: &CStr,
        purpose: Purpose,
        os: &CString,
    ) -> Result<OpenImage> {
        let log = |error: &Error, hint| log_unreadable(os, purpose, path, error, hint);
        let open = || {
            let file = OpenFile::open_stored(path)?;
            let identity = file.identity()?;
            Ok((file, identity))
        };
        let (file, identity) = open().inspect_err(|error| log(error, hint(error)))?;
        if identity.is_empty() {
            log(&EINVAL, "it is empty");
            return Err(EINVAL);
        }
        let entry = self.enter(identity, purpose);
        let entry = entry.inspect_err(|error| log(error, hint(error)))?;
        Ok(OpenImage { file, entry })
    }

    fn enter(self: &Arc<Self>, identity: Identity, purpose: Purpose) -> Result<EntryRef> {
        let mut list = self.list.lock();
        let _held = exclusive::hold();
        let known = list
            .iter_mut()
            .find(|entry| entry.image.identity == identity && entry.image.purpose == purpose);
        let image = match known {
            Some(entry) => {
                entry.users += 1;
                entry.image.clone()
            }
            None => {
                let image = Arc::pin_init(
                    pin_init!(Image {
                        identity,
                        purpose,
                        contents <- new_mutex!(None),
                    }),
                    GFP_KERNEL,
                )?;
                list.push(
                    Entry {
                        image: image.clone(),
                        users: 1,
                    },
                    GFP_KERNEL,
                )?;
                image
            }
        };
        Ok(EntryRef {
            image,
            images: self.clone(),
        })
    }
}

/// A reference to an entry in the list. Dropping the last one removes the entry.
struct EntryRef {
    image: Arc<Image>,
    images: Arc<Images>,
}

impl Drop for EntryRef {
    fn drop(&mut self) {
        let mut list = self.images.list.lock();
        list.retain(|entry| {
            if !Arc::ptr_eq(&entry.image, &self.image) {
                return true;
            }
            entry.users -= 1;
            entry.users > 0
        });
    }
}

/// An open file, and its entry in the list.
pub(crate) struct OpenImage {
    file: OpenFile,
    entry: EntryRef,
}

impl OpenImage {
    /// Returns the image. Reads the file, unless an unchanged copy is already in memory. Whether the
    /// caller may read the file is checked in both cases. `path` and `os` are for the log.
    ///
    /// # Errors
    ///
    /// Those of [`OpenFile::read_whole`] and [`OpenFile::check_read`]; the log says what is wrong.
    pub(crate) fn read(self, path: &CStr, os: &CString) -> Result<ImageRef> {
        let bytes = self.contents(path, os)?;
        Ok(ImageRef {
            bytes,
            _entry: self.entry,
        })
    }

    /// Reads the file as [`OpenImage::read`] does, and checks that it is a kernel that can be
    /// started as `os`. With `its_initrd`, `os` is to get the initrd in the file, if there is one.
    ///
    /// # Errors
    ///
    /// Those of [`OpenImage::read`]; `ENOEXEC` if it is no such kernel. The log says what is wrong.
    pub(crate) fn read_kernel(self, path: &CStr, os: &CString, its_initrd: bool) -> Result<Kernel> {
        let bytes = self.contents(path, os)?;
        let Parsed {
            kernel: image,
            initrd,
            cmdline,
        } = image::parse(&bytes).map_err(|error| {
            pr_err!("{}: kernel {}: {}\n", &**os, path, Shown(error));
            ENOEXEC
        })?;
        let initrd = initrd.filter(|_| its_initrd);
        if initrd.is_some() {
            // Security modules decide about kernels and initrds separately.
            let checked = self.file.check_read(Purpose::Initrd, &bytes);
            checked.inspect_err(|error| {
                log_unreadable(os, Purpose::Initrd, path, error, hint(error))
            })?;
        }
        let file = ImageRef {
            bytes,
            _entry: self.entry,
        };
        Ok(Kernel {
            file,
            image,
            initrd,
            cmdline,
        })
    }

    fn contents(&self, path: &CStr, os: &CString) -> Result<Arc<Contents>> {
        let OpenImage { file, entry } = self;
        let purpose = entry.image.purpose;
        let read = || {
            let mut contents = entry.image.contents.lock();
            if let Some(known) = &*contents {
                file.check_read(purpose, known)?;
                return Ok(known.clone());
            }
            let read = Arc::new(file.read_whole(purpose)?, GFP_KERNEL)?;
            *contents = Some(read.clone());
            Ok(read)
        };
        read().inspect_err(|error| log_unreadable(os, purpose, path, error, hint(error)))
    }
}

/// Returns what to do about `error`, with which a file could not be opened or read.
fn hint(error: &Error) -> &'static str {
    match error.to_errno().unsigned_abs() {
        bindings::ENOENT => "no such file",
        bindings::ENOTDIR => "a part of its path is not a directory",
        bindings::ELOOP => "its path has too many symbolic links",
        bindings::ENAMETOOLONG => "its path is too long",
        bindings::EACCES | bindings::EPERM => "file permissions or a security policy refuse it",
        bindings::EINVAL => "give the absolute path of a regular file, not in /proc or /sys",
        bindings::ETXTBSY => "somebody has it open for writing: try again when it is complete",
        bindings::EFBIG => "it is too big",
        bindings::ENOMEM => "the first OS has too little free memory for it",
        bindings::EIO => "its disk failed, or it was truncated while it was read",
        bindings::ENFILE => "the first OS has too many files open: raise fs.file-max",
        bindings::ESTALE | bindings::ETIMEDOUT => "its file server has lost it or does not answer",
        bindings::EINTR => "a signal interrupted it: try again",
        _ => "see errno(3), and what its file system says in this log",
    }
}

fn log_unreadable(os: &CString, purpose: Purpose, path: &CStr, error: &Error, hint: &str) {
    let what = match purpose {
        Purpose::Kernel => "kernel",
        Purpose::Initrd => "initrd",
    };
    pr_err!(
        "{}: can't read {} {} (error {}): {}\n",
        &**os,
        what,
        path,
        error.to_errno(),
        hint
    );
}

/// A reference to an image, which keeps it in memory.
pub(crate) struct ImageRef {
    bytes: Arc<Contents>,
    _entry: EntryRef,
}

impl core::ops::Deref for ImageRef {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A kernel in memory that has been checked.
pub(crate) struct Kernel {
    file: ImageRef,
    /// The parsed image.
    pub(crate) image: KernelImage,
    initrd: Option<uki::Section>,
    cmdline: Option<uki::Section>,
}

impl Kernel {
    /// Returns the initrd in the kernel's file, if there is one and it was asked for.
    pub(crate) fn initrd(&self) -> Option<&[u8]> {
        self.initrd.map(|section| section.data(&self.file))
    }

    /// Returns the command line in the kernel's file, if there is one: [`uki::command_line`].
    pub(crate) fn cmdline(&self) -> Option<Option<&str>> {
        let section = self.cmdline?;
        Some(uki::command_line(section.data(&self.file)))
    }
}

/// A part of an image, and the memory to copy it to. The rest of that memory gets zeros.
struct Piece<'a> {
    to: Range,
    data: &'a [u8],
}

/// Copies the kernel and the initrd to their places in `layout`.
///
/// # Errors
///
/// `EINVAL` if a piece does not fit in its place in `layout`, before a byte is copied; `ENOMEM` if
/// memory can't be mapped.
///
/// # Safety
///
/// The caller must own the memory of `layout`, and no CPU may run in it.
pub(crate) unsafe fn copy(layout: &Layout, kernel: &Kernel, initrd: Option<&[u8]>) -> Result {
    let Kernel { file, image, .. } = kernel;
    let pieces = || {
        let kernel = image.segments.iter().map(|segment| {
            let start = layout.kernel.start().checked_add(segment.offset)?;
            let to = Range::new(start, segment.memory_len)?;
            let data = segment.data(file);
            layout.kernel.contains(&to).then_some(Piece { to, data })
        });
        let initrd = layout.initrd.zip(initrd);
        let initrd = initrd.map(|(to, data)| Some(Piece { to, data }));
        // Not `kernel.chain()`, as `pin_init` has a method of the same name.
        Iterator::chain(kernel, initrd)
    };
    for piece in pieces() {
        let Piece { to, data } = piece.ok_or(EINVAL)?;
        if !layout.ram.contains(&to) || data.len() as u64 > to.len() {
            return Err(EINVAL);
        }
    }
    for Piece { to, data } in pieces().flatten() {
        // SAFETY: The caller owns the memory of the layout and no CPU runs in it. The loop above
        // has checked that each piece lies within it.
        unsafe { phys_memory::write(to, data) }?;
    }
    Ok(())
}
