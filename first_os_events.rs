// SPDX-License-Identifier: GPL-2.0

//! What the first OS does to the whole machine, while other OSes have CPUs.
//!
//! It can be kept from going to sleep, which would take the power from all CPUs. It can't be kept
//! from a reboot, which for the kernel may also mean to jump into another one by kexec; that one
//! may take all memory for its own. So the other OSes' CPUs are stopped first.
//!
//! A panic of the first OS, or its reset, are none of these: nothing is called then, or too late.

use crate::{cpu_offline, os_instance::Machine};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// Watches these events for as long as it lives.
#[pin_data]
pub(crate) struct FirstOsEvents {
    #[pin]
    _sleep: Notifier,
    #[pin]
    _reboot: Notifier,
}

impl FirstOsEvents {
    /// Starts to watch, for the OSes of `machine`.
    ///
    /// # Errors
    ///
    /// Those of the registrations.
    pub(crate) fn watch(machine: Arc<Machine>) -> impl PinInit<Self, Error> {
        let sleep = Notifier::register(
            machine.clone(),
            Notifier::on_sleep,
            bindings::register_pm_notifier,
            bindings::unregister_pm_notifier,
        );
        let reboot = Notifier::register(
            machine,
            Notifier::on_reboot,
            register_reboot_notifier,
            unregister_reboot_notifier,
        );
        try_pin_init!(FirstOsEvents {
            _sleep <- sleep,
            _reboot <- reboot,
        }? Error)
    }
}

// include/linux/reboot.h
extern "C" {
    fn register_reboot_notifier(block: *mut bindings::notifier_block) -> c_int;
    fn unregister_reboot_notifier(block: *mut bindings::notifier_block) -> c_int;
}

/// What is called for an event.
type Callback = unsafe extern "C" fn(*mut bindings::notifier_block, c_ulong, *mut c_void) -> c_int;
/// What adds a block to a notifier chain, or takes it out.
type Registration = unsafe extern "C" fn(*mut bindings::notifier_block) -> c_int;

/// A place in one of the kernel's notifier chains.
///
/// # Invariants
///
/// `block` is registered and stays where it is; `unregister` takes it out of its chain.
#[pin_data(PinnedDrop)]
struct Notifier {
    machine: Arc<Machine>,
    unregister: Registration,
    #[pin]
    block: Opaque<bindings::notifier_block>,
}

// SAFETY: The block is only used by the notifier chain, which locks.
unsafe impl Send for Notifier {}
// SAFETY: As above.
unsafe impl Sync for Notifier {}

impl Notifier {
    fn register(
        machine: Arc<Machine>,
        callback: Callback,
        register: Registration,
        unregister: Registration,
    ) -> impl PinInit<Self, Error> {
        // INVARIANT: Registered here, in its place.
        try_pin_init!(Notifier {
            machine,
            unregister,
            block <- Opaque::try_ffi_init(move |slot: *mut bindings::notifier_block| {
                let block = bindings::notifier_block {
                    notifier_call: Some(callback),
                    ..Default::default()
                };
                // SAFETY: `slot` is memory for a block; dropping the notifier unregisters it.
                unsafe {
                    slot.write(block);
                    to_result(register(slot))
                }
            }),
        }? Error)
    }

    /// Suspend or hibernation is about to begin, or is over.
    unsafe extern "C" fn on_sleep(
        block: *mut bindings::notifier_block,
        event: c_ulong,
        _data: *mut c_void,
    ) -> c_int {
        // SAFETY: The chain passes the block that was registered, which is a field of this type.
        let notifier = unsafe { &*kernel::container_of!(Opaque::cast_from(block), Self, block) };
        let result = match event as u32 {
            bindings::PM_SUSPEND_PREPARE => cpu_offline::fall_asleep(),
            // What is reserved is not part of the image. It is looked at when no more can be taken.
            bindings::PM_HIBERNATION_PREPARE | bindings::PM_RESTORE_PREPARE => {
                cpu_offline::fall_asleep().and_then(|()| {
                    let machine = &notifier.machine;
                    // The chain does not tell who refuses that it is over.
                    machine
                        .check_nothing_loaded()
                        .inspect_err(|_| cpu_offline::wake_up())
                })
            }
            // It is over. No OS has CPUs yet.
            _ => {
                // What is reserved was not part of the image.
                let result = notifier.machine.stepping_stone.write();
                cpu_offline::wake_up();
                result
            }
        };
        // notifier_from_errno()
        match result {
            Ok(()) => bindings::NOTIFY_OK as c_int,
            Err(error) => {
                bindings::NOTIFY_STOP_MASK as c_int
                    | (bindings::NOTIFY_OK as c_int - error.to_errno())
            }
        }
    }

    /// The first OS reboots, halts, powers off, or goes to another kernel by kexec.
    unsafe extern "C" fn on_reboot(
        block: *mut bindings::notifier_block,
        _event: c_ulong,
        _data: *mut c_void,
    ) -> c_int {
        // SAFETY: The chain passes the block that was registered, which is a field of this type.
        let notifier = unsafe { &*kernel::container_of!(Opaque::cast_from(block), Self, block) };
        notifier.stop_all();
        bindings::NOTIFY_DONE as c_int
    }

    fn stop_all(&self) {
        let apic = &self.machine.apic;
        apic.close();
        cpu_offline::for_each_held(|apic_id, os| {
            pr_warn!(
                "{}: the CPU with APIC ID {} is stopped, since the first OS goes down\n",
                &**os,
                apic_id
            );
        });
        // Twice, as one that was still running may have woken one that was reset already.
        for _ in 0..2 {
            // What can't be delivered is logged.
            cpu_offline::for_each_held(|apic_id, _| {
                let _ = apic.send_init(apic_id);
            });
            apic.wait_reset();
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Notifier {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants. It waits for a callback that is running.
        unsafe { (self.unregister)(self.block.get()) };
    }
}
