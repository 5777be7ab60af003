// SPDX-License-Identifier: GPL-2.0

//! Directories and files in sysfs, for which the `kernel` crate has no abstraction.
//!
//! The functions that C calls only convert, and then call safe code.

use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{from_result, to_result},
    new_mutex,
    prelude::*,
    sync::{Arc, Completion, Mutex},
    types::Opaque, //
};

/// Bytes of a buffer that an attribute is shown in.
const PAGE_SIZE: usize = 4096;

/// The most variables of a uevent.
const MAX_VARIABLES: usize = 4;

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

/// A file of bytes rather than of a value.
#[repr(C)]
pub(crate) struct BinaryAttribute<T: Directory> {
    // First, since C passes a pointer to it.
    attribute: bindings::bin_attribute,
    read: Read<T>,
}

/// Reads from an offset on; as many bytes as it returns, 0 at the end.
pub(crate) type Read<T> = fn(&Node<T>, u64, &mut [u8]) -> Result<usize>;

// SAFETY: As for `Attribute`.
unsafe impl<T: Directory> Sync for BinaryAttribute<T> {}

impl<T: Directory> BinaryAttribute<T> {
    /// A file that root can read.
    pub(crate) const fn read_only(name: &'static CStr, read: Read<T>) -> Self {
        // SAFETY: A C struct of pointers and numbers, which may all be 0; a size of 0 is one that
        // is not known.
        let mut attribute: bindings::bin_attribute = unsafe { core::mem::zeroed() };
        attribute.attr.name = name.as_ptr().cast();
        attribute.attr.mode = 0o400;
        attribute.read = Some(Node::<T>::read);
        BinaryAttribute { attribute, read }
    }
}

/// What has a directory in sysfs.
pub(crate) trait Directory: Send + Sync + Sized + 'static {
    /// The files in it, which become visible in this order, after those of bytes.
    const ATTRIBUTES: &'static [Attribute<Self>];
    /// The files of bytes in it.
    const BINARY_ATTRIBUTES: &'static [BinaryAttribute<Self>] = &[];
    /// Whether the caller may write to any of them, or read those of bytes.
    ///
    /// # Errors
    ///
    /// `EPERM` if not.
    fn check_access() -> Result;
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

/// Tells user space when what a directory stands for has changed.
#[pin_data]
pub(crate) struct Announcer {
    #[pin]
    kobject: Mutex<Option<Announced>>,
}

/// A kobject in sysfs.
struct Announced(NonNull<bindings::kobject>);

// SAFETY: A kobject may be used from any thread.
unsafe impl Send for Announced {}

impl Announcer {
    /// One that is of no directory yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Announcer {
            kobject <- new_mutex!(None),
        })
    }

    /// Wakes who polls `file`.
    pub(crate) fn notify(&self, file: &CStr) {
        if let Some(Announced(kobject)) = *self.kobject.lock() {
            // SAFETY: The node takes the kobject away before it leaves sysfs, for which it needs
            // the lock.
            unsafe {
                bindings::sysfs_notify(kobject.as_ptr(), core::ptr::null(), file.as_char_ptr())
            };
        }
    }

    /// Sends a uevent of a change, with these variables, each `NAME=VALUE`.
    pub(crate) fn send_uevent<const N: usize>(&self, variables: [&CStr; N]) {
        // Ends with a null pointer.
        let mut environment = [core::ptr::null_mut(); MAX_VARIABLES + 1];
        const { assert!(N <= MAX_VARIABLES) };
        for (pointer, variable) in environment.iter_mut().zip(variables) {
            *pointer = variable.as_char_ptr().cast_mut();
        }
        if let Some(Announced(kobject)) = *self.kobject.lock() {
            // SAFETY: As above; the environment is only read. Nobody need listen.
            let _ = unsafe {
                bindings::kobject_uevent_env(
                    kobject.as_ptr(),
                    bindings::kobject_action_KOBJ_CHANGE,
                    environment.as_mut_ptr(),
                )
            };
        }
    }
}

/// A directory in sysfs that stands for a `T`, for as long as it lives.
///
/// # Invariants
///
/// `kset.kobj` is initialised with [`Node::KTYPE`]. `kset` is the first field of a pinned
/// `Node<T>`, so that a pointer to it is one to the node.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub(crate) struct Node<T: Directory> {
    /// A kset rather than a kobject, as uevents are only sent for what is in one.
    #[pin]
    kset: Opaque<bindings::kset>,
    #[pin]
    released: Completion,
    announcer: Option<Arc<Announcer>>,
    #[pin]
    data: T,
}

// SAFETY: A kobject may be used from any thread. `data` is shared with all who use the files, and
// dropped by who drops the node; it may be, since a directory is `Send` and `Sync`.
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
        unsafe {
            Self::new(
                name,
                bindings::kernel_kobj,
                core::ptr::null_mut(),
                None,
                data,
            )
        }
    }

    /// Makes the directory `name`, which must not be there yet, in this one. Its changes are told
    /// by `announcer`.
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
        announcer: Arc<Announcer>,
        data: impl PinInit<C>,
    ) -> Result<Pin<KBox<Node<C>>>> {
        // SAFETY: The caller's promise.
        unsafe { Node::new(name, self.kobject(), self.kset.get(), Some(announcer), data) }
    }

    /// # Safety
    ///
    /// `parent` must be a kobject in sysfs, and `kset` null or a kset, that stay until the node is
    /// dropped.
    unsafe fn new(
        name: &CStr,
        parent: *mut bindings::kobject,
        kset: *mut bindings::kset,
        announcer: Option<Arc<Announcer>>,
        data: impl PinInit<T>,
    ) -> Result<Pin<KBox<Self>>> {
        // INVARIANT: The kobject is initialised below, in its place, before anything can fail.
        let node = KBox::try_pin_init(
            try_pin_init!(Node {
                kset <- Opaque::try_ffi_init(|slot: *mut bindings::kset| {
                    // SAFETY: `slot` is memory for a kset, which is to be zeroed before; the type
                    // is static, and the format takes one C string.
                    unsafe {
                        slot.write_bytes(0, 1);
                        (*slot).kobj.ktype = Self::KTYPE;
                        (*slot).kobj.parent = parent;
                        (*slot).kobj.kset = kset;
                        (*slot).kobj.set_uevent_suppress(1);
                        to_result(bindings::kobject_set_name(
                            &raw mut (*slot).kobj,
                            c"%s".as_char_ptr(),
                            name.as_char_ptr(),
                        ))
                    }
                }),
                released <- Completion::new(),
                announcer,
                data <- data,
            }? Error),
            GFP_KERNEL,
        )?;
        // SAFETY: The kset is prepared as this wants it; it initialises the kobject even if it
        // fails. Dropping the node undoes it, and takes out the files below as well.
        to_result(unsafe { bindings::kset_register(node.kset.get()) })?;
        // A file can be used at once, so that what tells of its use is there before.
        if let Some(announcer) = &node.announcer {
            *announcer.kobject.lock() = NonNull::new(node.kobject()).map(Announced);
        }
        for attribute in T::BINARY_ATTRIBUTES {
            // SAFETY: The kobject is in sysfs, and the attribute is static.
            to_result(unsafe {
                bindings::sysfs_create_bin_file(node.kobject(), &attribute.attribute)
            })?;
        }
        for attribute in T::ATTRIBUTES {
            // SAFETY: As above.
            to_result(unsafe {
                bindings::sysfs_create_file_ns(
                    node.kobject(),
                    &attribute.attribute,
                    core::ptr::null(),
                )
            })?;
        }
        // Only now, since it is when the files are there that they can be used.
        // SAFETY: The kobject is in sysfs; nobody else changes this bit. Nobody need listen.
        unsafe {
            (*node.kobject()).set_uevent_suppress(0);
            let _ = bindings::kobject_uevent(node.kobject(), bindings::kobject_action_KOBJ_ADD);
        }
        Ok(node)
    }

    fn kobject(&self) -> *mut bindings::kobject {
        // SAFETY: It is only an address within the node.
        unsafe { &raw mut (*self.kset.get()).kobj }
    }

    /// The node of a kobject.
    ///
    /// # Safety
    ///
    /// `kobject` must be that of a node of this type, which lives for `'a`.
    unsafe fn from_kobject<'a>(kobject: *mut bindings::kobject) -> &'a Self {
        // SAFETY: By the type invariants of the node, and the caller's promise.
        unsafe { &*kernel::container_of!(kobject, bindings::kset, kobj).cast::<Self>() }
    }

    unsafe extern "C" fn release(kobject: *mut bindings::kobject) {
        // SAFETY: C passes the node's own; it lives until this completes.
        let node = unsafe { Self::from_kobject(kobject) };
        node.released.complete_all();
    }

    unsafe extern "C" fn show(
        kobject: *mut bindings::kobject,
        attribute: *mut bindings::attribute,
        buffer: *mut c_char,
    ) -> isize {
        // SAFETY: C passes the node's own, and waits for this function before the node can go.
        let node = unsafe { Self::from_kobject(kobject) };
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
        let node = unsafe { Self::from_kobject(kobject) };
        // SAFETY: As for `show()`.
        let attribute = unsafe { &*attribute.cast::<Attribute<T>>() };
        // SAFETY: sysfs passes `len` bytes.
        let bytes = unsafe { core::slice::from_raw_parts(buffer.cast::<u8>(), len) };
        from_result(|| {
            T::check_access()?;
            let mut value = KVec::with_capacity(len + 1, GFP_KERNEL)?;
            value.extend_from_slice(bytes.strip_suffix(b"\n").unwrap_or(bytes), GFP_KERNEL)?;
            value.push(0, GFP_KERNEL)?;
            // A zero within is no value that was meant.
            let value = CStr::from_bytes_with_nul(&value).map_err(|_| EINVAL)?;
            attribute.store.ok_or(EIO)?(node, value)?;
            Ok(len as isize)
        })
    }

    unsafe extern "C" fn read(
        _file: *mut bindings::file,
        kobject: *mut bindings::kobject,
        attribute: *const bindings::bin_attribute,
        buffer: *mut c_char,
        offset: bindings::loff_t,
        len: usize,
    ) -> isize {
        // SAFETY: As for `show()`.
        let node = unsafe { Self::from_kobject(kobject) };
        // SAFETY: As for `show()`.
        let attribute = unsafe { &*attribute.cast::<BinaryAttribute<T>>() };
        let buffer = buffer.cast::<u8>();
        // SAFETY: kernfs passes a buffer of `len` bytes, which it has not initialised.
        let buffer = unsafe {
            buffer.write_bytes(0, len);
            core::slice::from_raw_parts_mut(buffer, len)
        };
        from_result(|| {
            T::check_access()?;
            let offset = u64::try_from(offset)?;
            Ok((attribute.read)(node, offset, buffer)?.min(len) as isize)
        })
    }
}

#[pinned_drop]
impl<T: Directory> PinnedDrop for Node<T> {
    fn drop(self: Pin<&mut Self>) {
        if let Some(announcer) = &self.announcer {
            *announcer.kobject.lock() = None;
        }
        let kobject = self.kobject();
        // SAFETY: By the type invariants it is initialised, and nobody else changes this bit.
        if unsafe { (*kobject).state_in_sysfs() } != 0 {
            // SAFETY: It was added; this waits for all who read or write the files.
            unsafe { bindings::kobject_del(kobject) };
        }
        // SAFETY: The reference is the one that it was initialised with.
        unsafe { bindings::kobject_put(kobject) };
        // Somebody else may still hold a reference.
        self.released.wait_for_completion();
    }
}
