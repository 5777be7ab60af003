// SPDX-License-Identifier: GPL-2.0

//! Kernels and initrds: read once, shared by all OSes that boot them, copied to each one's memory.

use crate::{
    image::{
        kernel_image::{self, KernelImage},
        layout::Layout,
    },
    linux::{
        file::{Contents, Identity, OpenFile, Purpose},
        log::Shown,
        phys_memory,
    },
    memory::memmap::Range,
    os_instance::timing::Exclusive,
};
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{Arc, Mutex}, //
};

/// A file that OSes boot, in memory.
#[pin_data]
pub(crate) struct Image {
    identity: Identity,
    purpose: Purpose,
    /// Read by the first who needs it, while the others wait.
    #[pin]
    contents: Mutex<Option<Arc<Contents>>>,
}

/// The images that are in use.
#[pin_data]
pub(crate) struct Images {
    #[pin]
    list: Mutex<KVec<Entry>>,
}

struct Entry {
    image: Arc<Image>,
    /// How many [`ImageRef`]s there are.
    users: usize,
}

impl Images {
    /// No images yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Images {
            list <- new_mutex!(KVec::new()),
        })
    }

    /// The image at `path` as the file is now: the one in memory, or read from the file.
    ///
    /// # Errors
    ///
    /// Those of [`OpenFile::open_stored`] and [`OpenFile::read_whole`].
    pub(crate) fn get(
        self: &Arc<Self>,
        path: &CStr,
        purpose: Purpose,
        exclusive: &Exclusive,
    ) -> Result<ImageRef> {
        let file = OpenFile::open_stored(path)?;
        let image = self.enter(file.identity()?, purpose, exclusive)?;
        // From here on dropping it gives up the entry again.
        let mut contents = image.image.contents.lock();
        if contents.is_none() {
            *contents = Some(Arc::new(file.read_whole(purpose)?, GFP_KERNEL)?);
        }
        let bytes = contents.clone().ok_or(EIO)?;
        drop(contents);
        Ok(ImageRef {
            bytes,
            _entry: image,
        })
    }

    fn enter(
        self: &Arc<Self>,
        identity: Identity,
        purpose: Purpose,
        exclusive: &Exclusive,
    ) -> Result<EntryRef> {
        let mut list = self.list.lock();
        let _held = exclusive.count();
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

/// One user of an entry in the list; the last takes the entry out.
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

/// An image in use; it stays in memory for as long as one of these does.
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

/// A kernel in use, its image checked.
pub(crate) struct Kernel {
    file: ImageRef,
    /// What it consists of.
    pub(crate) image: KernelImage,
}

impl Kernel {
    /// The kernel at `path`, for `os`.
    ///
    /// # Errors
    ///
    /// `ENOEXEC` if it is not one that can be started; else those of [`Images::get`]. The log says
    /// what is wrong.
    pub(crate) fn get(
        images: &Arc<Images>,
        path: &CStr,
        os: &CString,
        exclusive: &Exclusive,
    ) -> Result<Self> {
        let file = get_logged(images, path, Purpose::Kernel, os, exclusive)?;
        let image = kernel_image::parse(&file).map_err(|error| {
            pr_err!("{}: kernel {}: {}\n", &**os, path, Shown(error));
            ENOEXEC
        })?;
        Ok(Kernel { file, image })
    }
}

/// The initrd at `path`, for `os`.
///
/// # Errors
///
/// Those of [`Images::get`]. The log says what is wrong.
pub(crate) fn initrd(
    images: &Arc<Images>,
    path: &CStr,
    os: &CString,
    exclusive: &Exclusive,
) -> Result<ImageRef> {
    get_logged(images, path, Purpose::Initrd, os, exclusive)
}

fn get_logged(
    images: &Arc<Images>,
    path: &CStr,
    purpose: Purpose,
    os: &CString,
    exclusive: &Exclusive,
) -> Result<ImageRef> {
    images.get(path, purpose, exclusive).inspect_err(|error| {
        let what = match purpose {
            Purpose::Kernel => "kernel",
            Purpose::Initrd => "initrd",
        };
        pr_err!(
            "{}: can't read {} {} (error {}): give the absolute path of a regular file\n",
            &**os,
            what,
            path,
            error.to_errno()
        );
    })
}

/// Bytes of an image, and the memory they go to; what is left of that is zeros.
struct Piece<'a> {
    to: Range,
    data: &'a [u8],
}

/// Copies the kernel and the initrd to where `layout` has them.
///
/// # Errors
///
/// `EINVAL` if a piece of them would not lie where `layout` has room for it, before a byte is
/// copied; `ENOMEM` if there is no room for a mapping.
///
/// # Safety
///
/// The memory of `layout` must be ours, and no CPU may run in it.
pub(crate) unsafe fn copy(layout: &Layout, kernel: &Kernel, initrd: Option<&ImageRef>) -> Result {
    let Kernel { file, image } = kernel;
    let pieces = || {
        let kernel = image.segments.iter().map(|segment| {
            let start = layout.kernel.start().checked_add(segment.offset)?;
            let to = Range::new(start, segment.memory_len)?;
            let data = segment.data(file);
            layout.kernel.contains(&to).then_some(Piece { to, data })
        });
        let initrd = layout.initrd.zip(initrd);
        let initrd = initrd.map(|(to, data)| Some(Piece { to, data }));
        // Not `kernel.chain()`, which `pin_init` has as well.
        Iterator::chain(kernel, initrd)
    };
    for piece in pieces() {
        let Piece { to, data } = piece.ok_or(EINVAL)?;
        if !layout.ram.contains(&to) || data.len() as u64 > to.len() {
            return Err(EINVAL);
        }
    }
    for Piece { to, data } in pieces().flatten() {
        // SAFETY: The caller's promise, and it was checked that the piece lies within.
        unsafe { phys_memory::write(to, data) }?;
    }
    Ok(())
}
