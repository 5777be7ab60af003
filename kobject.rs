// SPDX-License-Identifier: GPL-2.0

//! Directories and files in sysfs, for which the `kernel` crate has no abstraction.
//!
//! The functions that C calls only convert, and then call safe code.

use kernel::{
    bindings,
    error::{from_result, to_result},
    prelude::*,
    sync::Completion,
    types::Opaque, //
};

/// Bytes of a buffer that an attribute is shown in.
const PAGE_SIZE: usize = 4096;

/// A file of a directory that stands for a `T`.
///
/// # Invariants
///
/// `attribute.name` is a static C string.
#[repr(C)]
pub(crate) struct Attribute<T: Directory> {
    // First, since C passes a pointer to it.
    attribute: bindings::attribute,
    show: Option<Show<T>>,
    store: Option<Store<T>>,
}

/// Writes the value of an attribute, without a newline.
pub(crate) type Show<T> = fn(&Node<T>, &mut Text<'_>) -> Result;
/// Takes a new value, without the newline at its end.
pub(crate) type Store<T> = fn(&Node<T>, &CStr) -> Result;

// SAFETY: Neither C nor Rust writes to it; the name is static.
unsafe impl<T: Directory> Sync for Attribute<T> {}

impl<T: Directory> Attribute<T> {
    const fn new(
        name: &'static CStr,
        mode: u16,
        show: Option<Show<T>>,
        store: Option<Store<T>>,
    ) -> Self {
        // SAFETY: A C struct of pointers and numbers, which may all be 0.
        let mut attribute: bindings::attribute = unsafe { core::mem::zeroed() };
        attribute.name = name.as_ptr().cast();
        attribute.mode = mode;
        // INVARIANT: The name is static.
        Attribute {
            attribute,
            show,
            store,
        }
    }

    /// A file that root can read.
    pub(crate) const fn read_only(name: &'static CStr, show: Show<T>) -> Self {
        Self::new(name, 0o400, Some(show), None)
    }

    /// A file that root can write.
    pub(crate) const fn write_only(name: &'static CStr, store: Store<T>) -> Self {
        Self::new(name, 0o200, None, Some(store))
    }

    /// A file that root can read and write.
    pub(crate) const fn read_write(name: &'static CStr, show: Show<T>, store: Store<T>) -> Self {
        Self::new(name, 0o600, Some(show), Some(store))
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static CStr {
        // SAFETY: By the type invariants.
        unsafe { CStr::from_char_ptr(self.attribute.name) }
    }
}

/// What has a directory in sysfs.
pub(crate) trait Directory: Sync + Sized + 'static {
    /// The files in it.
    const ATTRIBUTES: &'static [Attribute<Self>];
    /// Whether the caller may write to any of them.
    ///
    /// # Errors
    ///
    /// `EPERM` if not.
    fn check_writer() -> Result;
}

/// The text that an attribute is shown as.
pub(crate) struct Text<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl core::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.push(text.as_bytes()).map_err(|_| core::fmt::Error)
    }
}

impl Text<'_> {
    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// `E2BIG` if they don't fit.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result {
        let end = self.len + bytes.len();
        self.buffer
            .get_mut(self.len..end)
            .ok_or(E2BIG)?
            .copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Appends what `write` writes to the rest of the buffer, which is zeroed, and counts as much
    /// as it says.
    pub(crate) fn push_with(&mut self, write: impl FnOnce(&mut [u8]) -> usize) {
        let rest = &mut self.buffer[self.len..];
        let room = rest.len();
        self.len += write(rest).min(room);
    }
}

/// A directory in sysfs that stands for a `T`, for as long as it lives.
///
/// # Invariants
///
/// `kobject` is initialised with [`Node::KTYPE`]. It is the first field of a pinned `Node<T>`, so
/// that a pointer to it is one to the node.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub(crate) struct Node<T: Directory> {
    #[pin]
    kobject: Opaque<bindings::kobject>,
    #[pin]
    released: Completion,
    #[pin]
    data: T,
}

// SAFETY: A kobject may be used from any thread, and `data` is only shared.
unsafe impl<T: Directory> Send for Node<T> {}
// SAFETY: As above.
unsafe impl<T: Directory> Sync for Node<T> {}

impl<T: Directory> core::ops::Deref for Node<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: Directory> Node<T> {
    const OPS: &'static bindings::sysfs_ops = &bindings::sysfs_ops {
        show: Some(Self::show),
        store: Some(Self::store),
    };
    const KTYPE: &'static bindings::kobj_type = &bindings::kobj_type {
        release: Some(Self::release),
        sysfs_ops: Self::OPS,
        default_groups: core::ptr::null_mut(),
        child_ns_type: None,
        namespace: None,
        get_ownership: None,
    };

    /// Makes the directory `name` in /sys/kernel.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn in_kernel(name: &CStr, data: impl PinInit<T>) -> Result<Pin<KBox<Self>>> {
        // SAFETY: /sys/kernel is there for as long as the kernel is.
        unsafe { Self::new(name, bindings::kernel_kobj, data) }
    }

    /// Makes the directory `name`, which must not be there yet, in this one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The new node must be dropped before this one.
    pub(crate) unsafe fn child<C: Directory>(
        &self,
        name: &CStr,
        data: impl PinInit<C>,
    ) -> Result<Pin<KBox<Node<C>>>> {
        // SAFETY: The caller's promise.
        unsafe { Node::new(name, self.kobject.get(), data) }
    }

    /// # Safety
    ///
    /// `parent` must be a kobject in sysfs that stays there until the node is dropped.
    unsafe fn new(
        name: &CStr,
        parent: *mut bindings::kobject,
        data: impl PinInit<T>,
    ) -> Result<Pin<KBox<Self>>> {
        // INVARIANT: The kobject is initialised here, in its place.
        let node = KBox::pin_init(
            pin_init!(Node {
                kobject <- Opaque::ffi_init(|slot: *mut bindings::kobject| {
                    // SAFETY: `slot` is memory for a kobject, which is to be zeroed before; the
                    // type is static.
                    unsafe {
                        slot.write_bytes(0, 1);
                        bindings::kobject_init(slot, Self::KTYPE);
                    }
                }),
                released <- Completion::new(),
                data <- data,
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The kobject is initialised, the parent is the caller's promise, and the format
        // takes one C string. Dropping the node undoes it, and takes out the files below as well.
        to_result(unsafe {
            bindings::kobject_add(
                node.kobject.get(),
                parent,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        for attribute in T::ATTRIBUTES {
            // SAFETY: The kobject is in sysfs, and the attribute is static.
            to_result(unsafe {
                bindings::sysfs_create_file_ns(
                    node.kobject.get(),
                    &attribute.attribute,
                    core::ptr::null(),
                )
            })?;
        }
        Ok(node)
    }

    unsafe extern "C" fn release(kobject: *mut bindings::kobject) {
        // SAFETY: By the type invariants of the node; it lives until this completes.
        let node = unsafe { &*kobject.cast::<Self>() };
        node.released.complete_all();
    }

    unsafe extern "C" fn show(
        kobject: *mut bindings::kobject,
        attribute: *mut bindings::attribute,
        buffer: *mut c_char,
    ) -> isize {
        // SAFETY: By the type invariants; sysfs waits for this function before the node can go.
        let node = unsafe { &*kobject.cast::<Self>() };
        // SAFETY: Only the attributes of `T` are in its directory; it is their first field.
        let attribute = unsafe { &*attribute.cast::<Attribute<T>>() };
        // SAFETY: sysfs passes a zeroed page.
        let buffer = unsafe { core::slice::from_raw_parts_mut(buffer.cast::<u8>(), PAGE_SIZE) };
        from_result(|| {
            let mut text = Text { buffer, len: 0 };
            attribute.show.ok_or(EIO)?(node, &mut text)?;
            text.push(b"\n")?;
            Ok(text.len as isize)
        })
    }

    unsafe extern "C" fn store(
        kobject: *mut bindings::kobject,
        attribute: *mut bindings::attribute,
        buffer: *const c_char,
        len: usize,
    ) -> isize {
        // SAFETY: As for `show()`.
        let node = unsafe { &*kobject.cast::<Self>() };
        // SAFETY: As for `show()`.
        let attribute = unsafe { &*attribute.cast::<Attribute<T>>() };
        // SAFETY: sysfs passes `len` bytes.
        let bytes = unsafe { core::slice::from_raw_parts(buffer.cast::<u8>(), len) };
        from_result(|| {
            T::check_writer()?;
            let mut value = KVec::with_capacity(len + 1, GFP_KERNEL)?;
            value.extend_from_slice(bytes.strip_suffix(b"\n").unwrap_or(bytes), GFP_KERNEL)?;
            value.push(0, GFP_KERNEL)?;
            // A zero within is no value that was meant.
            let value = CStr::from_bytes_with_nul(&value).map_err(|_| EINVAL)?;
            attribute.store.ok_or(EIO)?(node, value)?;
            Ok(len as isize)
        })
    }
}

#[pinned_drop]
impl<T: Directory> PinnedDrop for Node<T> {
    fn drop(self: Pin<&mut Self>) {
        let kobject = self.kobject.get();
        // SAFETY: By the type invariants; this waits for all who read or write the files, and does
        // nothing if the kobject was never added.
        unsafe { bindings::kobject_del(kobject) };
        // SAFETY: The reference is the one from `kobject_init()`.
        unsafe { bindings::kobject_put(kobject) };
        // Somebody else may still hold a reference.
        self.released.wait_for_completion();
    }
}
