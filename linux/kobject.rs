// SPDX-License-Identifier: GPL-2.0

//! Directories and files in sysfs, for which the `kernel` crate has no abstraction.
//!
//! The callbacks from C only convert their arguments, and then call safe code.

use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{from_result, to_result},
    new_mutex,
    prelude::*,
    sync::{Arc, Completion, Mutex},
    types::Opaque, //
};

/// Size of the buffer for the value of an attribute, in bytes.
const PAGE_SIZE: usize = 4096;

/// The maximum number of variables of a uevent.
const MAX_VARIABLES: usize = 4;

/// A sysfs file with a text value, in a directory that represents a `T`.
///
/// # Invariants
///
/// `attribute.name` is a static C string.
#[repr(C)]
pub(crate) struct Attribute<T: Directory> {
    // Must be the first field: C passes a pointer to it.
    attribute: bindings::attribute,
    show: Option<Show<T>>,
    store: Option<Store<T>>,
}

/// Writes the value of an attribute, without a newline.
pub(crate) type Show<T> = fn(&Node<T>, &mut Text<'_>) -> Result;
/// Stores a new value, whose trailing newline has been removed.
pub(crate) type Store<T> = fn(&Node<T>, &CStr) -> Result;

// SAFETY: Nobody writes to an attribute after it was made, and its name is static.
unsafe impl<T: Directory> Sync for Attribute<T> {}

impl<T: Directory> Attribute<T> {
    const fn new(
        name: &'static CStr,
        mode: u16,
        show: Option<Show<T>>,
        store: Option<Store<T>>,
    ) -> Self {
        // SAFETY: This is a C struct of pointers and integers, for which all zeros is valid.
        let mut attribute: bindings::attribute = unsafe { core::mem::zeroed() };
        attribute.name = name.as_ptr().cast();
        attribute.mode = mode;
        // INVARIANT: `name` is a static C string.
        Attribute {
            attribute,
            show,
            store,
        }
    }

    /// Makes a file that root can read.
    pub(crate) const fn read_only(name: &'static CStr, show: Show<T>) -> Self {
        Self::new(name, 0o400, Some(show), None)
    }

    /// Makes a file that root can write.
    pub(crate) const fn write_only(name: &'static CStr, store: Store<T>) -> Self {
        Self::new(name, 0o200, None, Some(store))
    }

    /// Makes a file that root can read and write.
    pub(crate) const fn read_write(name: &'static CStr, show: Show<T>, store: Store<T>) -> Self {
        Self::new(name, 0o600, Some(show), Some(store))
    }

    /// Returns the name of the file.
    pub(crate) fn name(&self) -> &'static CStr {
        // SAFETY: By the type invariants the name is a static C string.
        unsafe { CStr::from_char_ptr(self.attribute.name) }
    }
}

/// A sysfs file with binary contents.
#[repr(C)]
pub(crate) struct BinaryAttribute<T: Directory> {
    // Must be the first field: C passes a pointer to it.
    attribute: bindings::bin_attribute,
    read: Read<T>,
    write: Option<Write<T>>,
}

/// Reads from an offset into the buffer. Returns the number of bytes, 0 at the end of the file.
pub(crate) type Read<T> = fn(&Node<T>, u64, &mut [u8]) -> Result<usize>;
/// Writes bytes, up to a page of them, at an offset.
pub(crate) type Write<T> = fn(&Node<T>, u64, &[u8]) -> Result;

// SAFETY: Nobody writes to an attribute after it was made, and its name is static.
unsafe impl<T: Directory> Sync for BinaryAttribute<T> {}

impl<T: Directory> BinaryAttribute<T> {
    const fn new(name: &'static CStr, mode: u16, read: Read<T>, write: Option<Write<T>>) -> Self {
        // SAFETY: This is a C struct of pointers and integers, for which all zeros is valid. A size
        // of 0 means that it is unknown.
        let mut attribute: bindings::bin_attribute = unsafe { core::mem::zeroed() };
        attribute.attr.name = name.as_ptr().cast();
        attribute.attr.mode = mode;
        attribute.read = Some(Node::<T>::read);
        attribute.write = match write {
            Some(_) => Some(Node::<T>::write),
            None => None,
        };
        BinaryAttribute {
            attribute,
            read,
            write,
        }
    }

    /// Makes a file that root can read.
    pub(crate) const fn read_only(name: &'static CStr, read: Read<T>) -> Self {
        Self::new(name, 0o400, read, None)
    }

    /// Makes a file that root can read and write.
    pub(crate) const fn read_write(name: &'static CStr, read: Read<T>, write: Write<T>) -> Self {
        Self::new(name, 0o600, read, Some(write))
    }
}

/// A type whose values have a directory in sysfs.
pub(crate) trait Directory: Send + Sync + Sized + 'static {
    /// The text files in the directory. They appear in this order, after the binary files.
    const ATTRIBUTES: &'static [Attribute<Self>];
    /// The binary files in the directory.
    const BINARY_ATTRIBUTES: &'static [BinaryAttribute<Self>] = &[];
    /// Checks that the caller may write the text files, and read and write the binary files.
    ///
    /// # Errors
    ///
    /// `EPERM` if the caller may not.
    fn check_access() -> Result;
}

/// The value of an attribute as text.
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
    /// `E2BIG` if the bytes do not fit.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result {
        let end = self.len + bytes.len();
        self.buffer
            .get_mut(self.len..end)
            .ok_or(E2BIG)?
            .copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Appends text by `write`, which writes to the rest of the buffer, which is zeroed, and
    /// returns the length.
    pub(crate) fn push_with(&mut self, write: impl FnOnce(&mut [u8]) -> usize) {
        let rest = &mut self.buffer[self.len..];
        let room = rest.len();
        self.len += write(rest).min(room);
    }
}

/// Notifies user space of changes to the value that a directory represents.
#[pin_data]
pub(crate) struct Announcer {
    #[pin]
    kobject: Mutex<Option<Announced>>,
}

/// A kobject in sysfs.
struct Announced(NonNull<bindings::kobject>);

// SAFETY: The kernel's functions for kobjects may be called from any thread.
unsafe impl Send for Announced {}

impl Announcer {
    /// Makes an announcer without a directory.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Announcer {
            kobject <- new_mutex!(None),
        })
    }

    /// Wakes the processes that poll `file`.
    pub(crate) fn notify(&self, file: &CStr) {
        if let Some(Announced(kobject)) = *self.kobject.lock() {
            // SAFETY: The kobject is in sysfs: the node resets this field under the lock before it
            // removes the kobject.
            unsafe {
                bindings::sysfs_notify(kobject.as_ptr(), core::ptr::null(), file.as_char_ptr())
            };
        }
    }

    /// Sends a "change" uevent with these variables, each `NAME=VALUE`.
    pub(crate) fn send_uevent<const N: usize>(&self, variables: [&CStr; N]) {
        // The array ends with a null pointer.
        let mut environment = [core::ptr::null_mut(); MAX_VARIABLES + 1];
        const { assert!(N <= MAX_VARIABLES) };
        for (pointer, variable) in environment.iter_mut().zip(variables) {
            *pointer = variable.as_char_ptr().cast_mut();
        }
        if let Some(Announced(kobject)) = *self.kobject.lock() {
            // SAFETY: The kobject is in sysfs, as above. The environment is a null-terminated array
            // of C strings, which is only read. The error is ignored, as nobody need listen.
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

/// A directory in sysfs that represents a `T`, for as long as this lives.
///
/// # Invariants
///
/// `kset.kobj` is initialised with [`Node::KTYPE`]. `kset` is the first field of a pinned
/// `Node<T>`, so a pointer to it is also a pointer to the node.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub(crate) struct Node<T: Directory> {
    /// A kset rather than a kobject, since the kernel sends uevents only for kobjects in a kset.
    #[pin]
    kset: Opaque<bindings::kset>,
    #[pin]
    released: Completion,
    announcer: Option<Arc<Announcer>>,
    #[pin]
    data: T,
}

// SAFETY: The kernel's functions for kobjects may be called from any thread. `T` is `Send` and
// `Sync`, so the users of the files may share `data`, and any thread may drop it.
unsafe impl<T: Directory> Send for Node<T> {}
// SAFETY: The kernel's functions for kobjects may be called from any thread, and `T` is `Sync`.
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
        // SAFETY: `kernel_kobj` is set up at boot and never removed; the kset is null.
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

    /// Makes the directory `name`, which must not exist yet, in this one. `announcer` notifies user
    /// space of its changes.
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
        // SAFETY: The kobject and the kset are this node's, which the caller keeps until the new
        // node is dropped.
        unsafe { Node::new(name, self.kobject(), self.kset.get(), Some(announcer), data) }
    }

    /// # Safety
    ///
    /// `parent` must be a kobject in sysfs, and `kset` null or a registered kset. Both must stay
    /// until the node is dropped.
    unsafe fn new(
        name: &CStr,
        parent: *mut bindings::kobject,
        kset: *mut bindings::kset,
        announcer: Option<Arc<Announcer>>,
        data: impl PinInit<T>,
    ) -> Result<Pin<KBox<Self>>> {
        // INVARIANT: The kset is the first field, and `kset_register()` below initialises its
        // kobject before anything can fail.
        let node = KBox::try_pin_init(
            try_pin_init!(Node {
                kset <- Opaque::try_ffi_init(|slot: *mut bindings::kset| {
                    // SAFETY: `slot` is valid for writing a kset, which must be zeroed first. The
                    // type is static, and the format takes one C string.
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
        // SAFETY: The kset has a name and a type, as the function requires. It initialises the
        // kobject even if it fails. Dropping the node undoes this, and removes the files below as
        // well.
        to_result(unsafe { bindings::kset_register(node.kset.get()) })?;
        // A file may be used as soon as it exists, so set up the announcer before.
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
            // SAFETY: The kobject is in sysfs, and the attribute is static.
            to_result(unsafe {
                bindings::sysfs_create_file_ns(
                    node.kobject(),
                    &attribute.attribute,
                    core::ptr::null(),
                )
            })?;
        }
        // Announce the directory only now: listeners expect its files to exist.
        // SAFETY: The kobject is in sysfs, and nobody else changes this bit field. The error is
        // ignored, as nobody need listen.
        unsafe {
            (*node.kobject()).set_uevent_suppress(0);
            let _ = bindings::kobject_uevent(node.kobject(), bindings::kobject_action_KOBJ_ADD);
        }
        Ok(node)
    }

    fn kobject(&self) -> *mut bindings::kobject {
        // SAFETY: This only computes the address of a field of `self.kset`.
        unsafe { &raw mut (*self.kset.get()).kobj }
    }

    /// Returns the node of a kobject.
    ///
    /// # Safety
    ///
    /// `kobject` must be the one of a node of this type, which lives for `'a`.
    unsafe fn from_kobject<'a>(kobject: *mut bindings::kobject) -> &'a Self {
        // SAFETY: The caller guarantees that the kobject is the one of a live node. By the type
        // invariants it lies in the kset that is the first field of the node.
        unsafe { &*kernel::container_of!(kobject, bindings::kset, kobj).cast::<Self>() }
    }

    unsafe extern "C" fn release(kobject: *mut bindings::kobject) {
        // SAFETY: Only kobjects of nodes have this type, and dropping the node waits for this
        // completion.
        let node = unsafe { Self::from_kobject(kobject) };
        node.released.complete_all();
    }

    unsafe extern "C" fn show(
        kobject: *mut bindings::kobject,
        attribute: *mut bindings::attribute,
        buffer: *mut c_char,
    ) -> isize {
        // SAFETY: Only kobjects of nodes have this type. sysfs waits for this function before it
        // removes the kobject, and so before the node goes.
        let node = unsafe { Self::from_kobject(kobject) };
        // SAFETY: The directory has only attributes of `T::ATTRIBUTES`, and `attribute` is their
        // first field.
        let attribute = unsafe { &*attribute.cast::<Attribute<T>>() };
        // SAFETY: sysfs passes a zeroed page, which nobody else uses.
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
        // SAFETY: Only kobjects of nodes have this type, and sysfs waits for this function before
        // it removes the kobject.
        let node = unsafe { Self::from_kobject(kobject) };
        // SAFETY: The directory has only attributes of `T::ATTRIBUTES`, and `attribute` is their
        // first field.
        let attribute = unsafe { &*attribute.cast::<Attribute<T>>() };
        // SAFETY: sysfs passes a buffer with `len` bytes, which nobody writes to.
        let bytes = unsafe { core::slice::from_raw_parts(buffer.cast::<u8>(), len) };
        from_result(|| {
            T::check_access()?;
            let mut value = KVec::with_capacity(len + 1, GFP_KERNEL)?;
            value.extend_from_slice(bytes.strip_suffix(b"\n").unwrap_or(bytes), GFP_KERNEL)?;
            value.push(0, GFP_KERNEL)?;
            // A value with a zero byte in it is a mistake.
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
        // SAFETY: The directories of nodes alone have such files, and sysfs waits for this function
        // before it removes the kobject.
        let node = unsafe { Self::from_kobject(kobject) };
        // SAFETY: The directory has only binary attributes of `T::BINARY_ATTRIBUTES`, and
        // `attribute` is their first field.
        let attribute = unsafe { &*attribute.cast::<BinaryAttribute<T>>() };
        let buffer = buffer.cast::<u8>();
        // SAFETY: kernfs passes a buffer of `len` bytes. It may be uninitialised, so fill it first.
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

    unsafe extern "C" fn write(
        _file: *mut bindings::file,
        kobject: *mut bindings::kobject,
        attribute: *const bindings::bin_attribute,
        buffer: *mut c_char,
        offset: bindings::loff_t,
        len: usize,
    ) -> isize {
        // SAFETY: The directories of nodes alone have such files, and sysfs waits for this function
        // before it removes the kobject.
        let node = unsafe { Self::from_kobject(kobject) };
        // SAFETY: The directory has only binary attributes of `T::BINARY_ATTRIBUTES`, and
        // `attribute` is their first field.
        let attribute = unsafe { &*attribute.cast::<BinaryAttribute<T>>() };
        // SAFETY: kernfs passes a buffer of `len` bytes, which nobody else uses, and frees it then.
        let buffer = unsafe { core::slice::from_raw_parts_mut(buffer.cast::<u8>(), len) };
        let result = from_result(|| {
            T::check_access()?;
            let offset = u64::try_from(offset)?;
            attribute.write.ok_or(EIO)?(node, offset, buffer)?;
            Ok(len as isize)
        });
        // The bytes may be secret.
        buffer.fill(0);
        result
    }
}

#[pinned_drop]
impl<T: Directory> PinnedDrop for Node<T> {
    fn drop(self: Pin<&mut Self>) {
        if let Some(announcer) = &self.announcer {
            *announcer.kobject.lock() = None;
        }
        let kobject = self.kobject();
        // SAFETY: By the type invariants the kobject is initialised, and nobody else changes this
        // bit field.
        if unsafe { (*kobject).state_in_sysfs() } != 0 {
            // SAFETY: The kobject is in sysfs. This waits for the users of the files.
            unsafe { bindings::kobject_del(kobject) };
        }
        // SAFETY: This drops the reference from the initialisation.
        unsafe { bindings::kobject_put(kobject) };
        // Others may still hold references: wait until `release()` is called.
        self.released.wait_for_completion();
    }
}
