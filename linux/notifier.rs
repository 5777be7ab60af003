// SPDX-License-Identifier: GPL-2.0

//! A place in one of the kernel's notifier chains.

use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// What is called for the events of a chain.
pub(crate) trait Listener: Send + Sync {
    /// There is `event`, about `data`. What it returns is one of the chain's `NOTIFY_*`.
    ///
    /// # Safety
    ///
    /// `data` is what the chain for which it was registered passes with such an event.
    unsafe fn hear(&self, event: c_ulong, data: *mut c_void) -> c_int;
}

/// Adds a block to a notifier chain, or takes it out; then it waits for a call of it that is under way.
pub(crate) type Registration = unsafe extern "C" fn(*mut bindings::notifier_block) -> c_int;

/// A listener in a notifier chain, for as long as this lives.
///
/// # Invariants
///
/// `block` is registered and stays where it is; `unregister` takes it out of its chain.
#[pin_data(PinnedDrop)]
pub(crate) struct Notifier<T: Listener> {
    listener: T,
    unregister: Registration,
    #[pin]
    block: Opaque<bindings::notifier_block>,
}

// SAFETY: The block is only used by the notifier chain, which locks.
unsafe impl<T: Listener> Send for Notifier<T> {}
// SAFETY: As above.
unsafe impl<T: Listener> Sync for Notifier<T> {}

impl<T: Listener> Notifier<T> {
    /// Adds `listener` to the chain of `register` and `unregister`.
    ///
    /// # Safety
    ///
    /// These are of one chain, which is there for good, and which passes what `listener` expects.
    ///
    /// # Errors
    ///
    /// Those of `register`.
    pub(crate) unsafe fn register(
        listener: T,
        register: Registration,
        unregister: Registration,
    ) -> impl PinInit<Self, Error> {
        // INVARIANT: Registered here, in its place.
        try_pin_init!(Notifier {
            listener,
            unregister,
            block <- Opaque::try_ffi_init(move |slot: *mut bindings::notifier_block| {
                let block = bindings::notifier_block {
                    notifier_call: Some(Self::call),
                    ..Default::default()
                };
                // SAFETY: `slot` is memory for a block; dropping the notifier takes it out of the chain.
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
        // SAFETY: The chain passes the block that was registered, which is a field of this type.
        let notifier = unsafe { &*kernel::container_of!(Opaque::cast_from(block), Self, block) };
        // SAFETY: It is what the chain passes, which is the one that `register` was promised.
        unsafe { notifier.listener.hear(event, data) }
    }
}

#[pinned_drop]
impl<T: Listener> PinnedDrop for Notifier<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants.
        unsafe { (self.unregister)(self.block.get()) };
    }
}
