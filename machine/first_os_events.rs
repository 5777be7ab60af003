// SPDX-License-Identifier: GPL-2.0

//! Reacts when the first OS suspends, hibernates or reboots while other OSes have CPUs.
//!
//! Mint refuses suspend and hibernation, which would cut the power of all CPUs. It can't refuse a
//! reboot. A reboot may also be a kexec, whose new kernel may use all memory. So Mint stops the
//! other OSes' CPUs first, and proves that they have stopped.
//!
//! A panic of the first OS leaves the other OSes running, unless it ends in a reset. But the poller does not
//! run any more, so their disks are taken from them.
//!
//! A reset is not covered: the kernel calls no notifier then. Nor is a panic with a crash kernel, which
//! starts before the notifiers are called (`vpanic()`, kernel/panic.c).

use crate::{
    cpu_offline,
    linux::notifier::{Listener, Notifier},
    machine::Machine,
    pci::claims,
};
use kernel::{
    bindings,
    prelude::*,
    sync::Arc, //
};

/// The notifiers for these events, registered for as long as this lives.
#[pin_data]
pub(crate) struct FirstOsEvents {
    #[pin]
    _sleep: Notifier<Sleep>,
    #[pin]
    _reboot: Notifier<Reboot>,
    #[pin]
    _panic: Notifier<Panic>,
}

impl FirstOsEvents {
    /// Registers the notifiers, for the OSes of `machine`.
    ///
    /// # Errors
    ///
    /// Those of registering the notifiers.
    pub(crate) fn watch(machine: Arc<Machine>) -> impl PinInit<Self, Error> {
        // SAFETY: Both functions work on the PM notifier chain, which is static. `Sleep` does not
        // use the data that the chain passes.
        let sleep = unsafe {
            Notifier::register(
                Sleep(machine.clone()),
                bindings::register_pm_notifier,
                bindings::unregister_pm_notifier,
            )
        };
        // SAFETY: Both functions work on the reboot notifier chain, which is static. `Reboot` does
        // not use the data that the chain passes.
        let reboot = unsafe {
            Notifier::register(
                Reboot(machine.clone()),
                register_reboot_notifier,
                unregister_reboot_notifier,
            )
        };
        // SAFETY: Both functions work on the panic notifier list, which is static. `Panic` does not
        // use the data that the list passes.
        let panic = unsafe {
            Notifier::register(
                Panic(machine),
                register_panic_notifier,
                unregister_panic_notifier,
            )
        };
        try_pin_init!(FirstOsEvents {
            _sleep <- sleep,
            _reboot <- reboot,
            _panic <- panic,
        }? Error)
    }
}

// include/linux/reboot.h
extern "C" {
    fn register_reboot_notifier(block: *mut bindings::notifier_block) -> c_int;
    fn unregister_reboot_notifier(block: *mut bindings::notifier_block) -> c_int;
}

// include/linux/panic_notifier.h
extern "C" {
    static mut panic_notifier_list: bindings::atomic_notifier_head;
}

/// Adds `block` to the panic notifier list.
unsafe extern "C" fn register_panic_notifier(block: *mut bindings::notifier_block) -> c_int {
    // SAFETY: The list is static. The caller guarantees that the block may be added.
    unsafe { bindings::atomic_notifier_chain_register(&raw mut panic_notifier_list, block) }
}

/// Removes `block` from the panic notifier list.
unsafe extern "C" fn unregister_panic_notifier(block: *mut bindings::notifier_block) -> c_int {
    // SAFETY: The list is static. The caller guarantees that the block is in it.
    unsafe { bindings::atomic_notifier_chain_unregister(&raw mut panic_notifier_list, block) }
}

/// Listens for the begin and the end of suspend and hibernation.
struct Sleep(Arc<Machine>);

impl Listener for Sleep {
    unsafe fn hear(&self, event: c_ulong, _data: *mut c_void) -> c_int {
        let Sleep(machine) = self;
        let result = match event as u32 {
            bindings::PM_SUSPEND_PREPARE => cpu_offline::fall_asleep(),
            // The hibernation image does not include reserved memory. Check for OSes that have some
            // after no more of it can be taken.
            bindings::PM_HIBERNATION_PREPARE | bindings::PM_RESTORE_PREPARE => {
                cpu_offline::fall_asleep().and_then(|()| {
                    // The chain does not notify the listener that refused.
                    machine
                        .check_nothing_loaded()
                        .inspect_err(|_| cpu_offline::wake_up())
                })
            }
            // Suspend or hibernation is over, and no OS has CPUs yet. The hibernation image did not
            // include reserved memory.
            _ => {
                // SAFETY: `fall_asleep()` has checked that no OS has CPUs, and none gets one before
                // `wake_up()`.
                let result = unsafe { machine.rewrite_low_memory() };
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
}

/// Listens for a reboot, halt or power-off of the first OS, or a kexec to another kernel.
struct Reboot(Arc<Machine>);

impl Listener for Reboot {
    unsafe fn hear(&self, _event: c_ulong, _data: *mut c_void) -> c_int {
        self.stop_all();
        // The next kernel may use the memory of the OSes.
        self.0.poller.close();
        // The kernel stops the DMA of functions only if it has a driver for them and can access
        // them.
        claims::quiesce();
        bindings::NOTIFY_DONE as c_int
    }
}

impl Reboot {
    fn stop_all(&self) {
        let apic = &self.0.apic;
        apic.close();
        cpu_offline::for_each_held(|apic_id, os| {
            pr_warn!(
                "{}: the CPU with APIC ID {} is stopped, since the first OS goes down\n",
                &**os,
                apic_id
            );
        });
        let reset = || {
            // `send_init()` logs an IPI that was not delivered.
            cpu_offline::for_each_held(|apic_id, _| {
                // SAFETY: An OS holds the CPU, and keeps it meanwhile.
                let _ = unsafe { apic.send_init(apic_id) };
            });
            apic.wait_reset();
        };
        reset();
        // A CPU that was still running may have woken one that was already reset.
        reset();
        let cpus = |visit: &mut dyn FnMut(u32)| cpu_offline::for_each_held(|id, _| visit(id));
        // SAFETY: An OS holds the CPU. The gate is closed for all others.
        let startup = |apic_id, page| unsafe { apic.send_startup(apic_id, page) };
        // SAFETY: The CPUs are OSes', and have been reset above.
        let stopped = unsafe { self.0.rest_page.gather(cpus, startup) };
        cpu_offline::for_each_held(|apic_id, os| {
            if !self.0.rest_page.has_answered(apic_id) {
                pr_emerg!(
                    "{}: the CPU with APIC ID {} does not stop, and may write to memory: don't trust a kernel that is started by kexec now, but reset the machine\n",
                    &**os,
                    apic_id
                );
            }
        });
        if stopped.is_ok() {
            pr_info!("the CPUs of all OSes have stopped\n");
        }
        // The next kernel may use the memory in which they rest.
        reset();
    }
}

/// Listens for a panic of the first OS.
struct Panic(Arc<Machine>);

impl Listener for Panic {
    unsafe fn hear(&self, _event: c_ulong, _data: *mut c_void) -> c_int {
        self.0.poller.abandon();
        bindings::NOTIFY_DONE as c_int
    }
}
