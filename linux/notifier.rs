// SPDX-License-Identifier: GPL-2.0

//! Notifier chains of the kernel.

use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// A callback for the events of a notifier chain.
pub(crate) trait Listener: Send + Sync {
    /// Handles `event`, which is about `data`. Returns one of the `NOTIFY_*` values.
    ///
    /// # Safety
    ///
    /// `data` must be the pointer that the notifier chain of this listener passes with such an
    /// event.
    unsafe fn hear(&self, event: c_ulong, data: *mut c_void) -> c_int;
}

/// A function that adds a block to a notifier chain, or removes it. Removing waits until no call of
/// the block is running.
pub(crate) type Registration = unsafe extern "C" fn(*mut bindings::notifier_block) -> c_int;

/// A listener that is registered in a notifier chain for as long as this lives.
///
/// # Invariants
///
/// `block` is registered in a chain, is pinned, and `unregister` removes it from this chain.
#[pin_data(PinnedDrop)]
pub(crate) struct Notifier<T: Listener> {
    listener: T,
    unregister: Registration,
    #[pin]
    block: Opaque<bindings::notifier_block>,
}

// SAFETY: The listener is `Send`, and only the notifier chain accesses the block, under its lock.
unsafe impl<T: Listener> Send for Notifier<T> {}
// SAFETY: The listener is `Sync`, and only the notifier chain accesses the block, under its lock.
unsafe impl<T: Listener> Sync for Notifier<T> {}

impl<T: Listener> Notifier<T> {
    /// Adds `listener` to the notifier chain of `register` and `unregister`.
    ///
    /// # Safety
    ///
    /// `register` and `unregister` must work on the same chain, which must live forever and pass
    /// the data that `listener` expects.
    ///
    /// # Errors
    ///
    /// Those of `register`.
    pub(crate) unsafe fn register(
        listener: T,
        register: Registration,
        unregister: Registration,
    ) -> impl PinInit<Self, Error> {
        // INVARIANT: The block is registered at its pinned address, and dropping the notifier calls
        // `unregister`.
        try_pin_init!(Notifier {
            listener,
            unregister,
            block <- Opaque::try_ffi_init(move |slot: *mut bindings::notifier_block| {
                let block = bindings::notifier_block {
                    notifier_call: Some(Self::call),
                    ..Default::default()
                };
                // SAFETY: `slot` is valid for writing a block, and pinned. Dropping the notifier
                // removes the block from the chain.
                unsafe {
                    slot.write(block);
                    to_result(register(slot))
                }
            }),
        }? Error)
    }

    unsafe extern "C" fn call(
        block: *mut bindings::notifier_block,
        event: c_ulong,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: The chain passes the block that `register()` registered, which is a field of a
        // live `Notifier<T>`.
        let notifier = unsafe { &*kernel::container_of!(Opaque::cast_from(block), Self, block) };
        // SAFETY: The chain is the one of `register()`, whose caller guarantees that it passes the
        // data that the listener expects.
        unsafe { notifier.listener.hear(event, data) }
    }
}

#[pinned_drop]
impl<T: Listener> PinnedDrop for Notifier<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants the block is registered, and `unregister` removes it from
        // its chain.
        unsafe { (self.unregister)(self.block.get()) };
    }
}
