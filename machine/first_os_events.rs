// SPDX-License-Identifier: GPL-2.0

//! What the first OS does to the whole machine, while other OSes have CPUs.
//!
//! It can be kept from going to sleep, which would take the power from all CPUs. It can't be kept
//! from a reboot, which for the kernel may also mean to jump into another one by kexec; that one
//! may take all memory for its own. So the other OSes' CPUs are stopped first.
//!
//! A panic of the first OS, or its reset, are none of these: nothing is called then, or too late.

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

/// Watches these events for as long as it lives.
#[pin_data]
pub(crate) struct FirstOsEvents {
    #[pin]
    _sleep: Notifier<Sleep>,
    #[pin]
    _reboot: Notifier<Reboot>,
}

impl FirstOsEvents {
    /// Starts to watch, for the OSes of `machine`.
    ///
    /// # Errors
    ///
    /// Those of the registrations.
    pub(crate) fn watch(machine: Arc<Machine>) -> impl PinInit<Self, Error> {
        // SAFETY: They are of one chain; what it passes is not looked at.
        let sleep = unsafe {
            Notifier::register(
                Sleep(machine.clone()),
                bindings::register_pm_notifier,
                bindings::unregister_pm_notifier,
            )
        };
        // SAFETY: As above.
        let reboot = unsafe {
            Notifier::register(
                Reboot(machine),
                register_reboot_notifier,
                unregister_reboot_notifier,
            )
        };
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

/// Suspend or hibernation is about to begin, or is over.
struct Sleep(Arc<Machine>);

impl Listener for Sleep {
    unsafe fn hear(&self, event: c_ulong, _data: *mut c_void) -> c_int {
        let Sleep(machine) = self;
        let result = match event as u32 {
            bindings::PM_SUSPEND_PREPARE => cpu_offline::fall_asleep(),
            // What is reserved is not part of the image. It is looked at when no more can be taken.
            bindings::PM_HIBERNATION_PREPARE | bindings::PM_RESTORE_PREPARE => {
                cpu_offline::fall_asleep().and_then(|()| {
                    // The chain does not tell who refuses that it is over.
                    machine
                        .check_nothing_loaded()
                        .inspect_err(|_| cpu_offline::wake_up())
                })
            }
            // It is over. No OS has CPUs yet.
            _ => {
                // What is reserved was not part of the image.
                // SAFETY: No OS has CPUs before `wake_up()`.
                let result = unsafe { machine.stepping_stone.write() };
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

/// The first OS reboots, halts, powers off, or goes to another kernel by kexec.
struct Reboot(Arc<Machine>);

impl Listener for Reboot {
    unsafe fn hear(&self, _event: c_ulong, _data: *mut c_void) -> c_int {
        self.stop_all();
        // The kernel only does this for the functions that it knows, and to which it has access.
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
