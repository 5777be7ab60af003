// SPDX-License-Identifier: GPL-2.0

//! Takes CPUs from the first OS, and gives them back.
//!
//! Lock order: [`HOTPLUG`], then the kernel's CPU hotplug lock, then [`OWNERS`]. So `OWNERS` is
//! never held across `remove_cpu()` or `add_cpu()`, which take the kernel's lock.

use crate::{
    firmware::acpi::XAPIC_ID_MAX,
    machine::{cpu_state::CpuState, exclusive},
};
use core::ptr::{addr_of, addr_of_mut};
use kernel::{
    bindings,
    cpu::{nr_cpu_ids, CpuId},
    cpumask::{Cpumask, CpumaskVar},
    error::to_result,
    prelude::*,
    str::CString, //
};

kernel::sync::global_lock! {
    // SAFETY: `Hotplug::register()` initialises this before any CPU can be taken.
    unsafe(uninit) static OWNERS: Mutex<Owners> = Owners {
        list: KVec::new(),
        asleep: false,
    };
}

kernel::sync::global_lock! {
    // SAFETY: `Hotplug::register()` initialises this before any CPU can be taken.
    unsafe(uninit) static HOTPLUG: Mutex<()> = ();
}

/// Waits for Mint's own CPU hotplug operations under way, and holds off new ones while the result
/// lives.
///
/// Mint holds this around `remove_cpu()` and `add_cpu()`, and while the kernel has CPU hotplug
/// disabled for another operation of Mint. Without it, the kernel would refuse the hotplug
/// operation at once, or after half a second.
#[must_use]
pub(crate) fn keep_hotplug() -> impl Sized {
    HOTPLUG.lock()
}

struct Owners {
    list: KVec<Owner>,
    /// The first OS is suspending or hibernating, or is about to: no CPU and no memory may be
    /// taken.
    asleep: bool,
}

impl Owners {
    fn check_awake(&self, os: &CString) -> Result {
        if self.asleep {
            pr_err!(
                "{}: the first OS is going to sleep: try again later\n",
                &**os
            );
            return Err(EBUSY);
        }
        Ok(())
    }
}

struct Owner {
    cpu: u32,
    /// The APIC ID from when the CPU was taken. The kernel forgets it if the CPU is removed
    /// meanwhile (`topology_hotunplug_apic()`, arch/x86/kernel/cpu/topology.c).
    apic_id: u32,
    os: CString,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The CPU is going offline.
    Leaving,
    /// The CPU is offline, and the OS may run it.
    Held,
    /// The CPU is coming back online in the first OS.
    Returning,
}

/// The hotplug callback, registered for as long as this lives. It keeps the first OS from onlining
/// CPUs that an OS owns.
///
/// # Invariants
///
/// `state` is the dynamic hotplug state that `__cpuhp_setup_state()` returned.
pub(crate) struct Hotplug {
    state: bindings::cpuhp_state,
}

impl Hotplug {
    /// Registers the callback. Must be called once only.
    ///
    /// # Errors
    ///
    /// Those of `__cpuhp_setup_state()`.
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: This function is called once only, as its documentation demands, so `OWNERS` is
        // initialised once.
        unsafe { OWNERS.init() };
        // SAFETY: This function is called once only, as its documentation demands, so `HOTPLUG` is
        // initialised once.
        unsafe { HOTPLUG.init() };
        // A prepare callback runs on another CPU, before the CPU that comes online gets its INIT.
        // SAFETY: The name and the callback are static, and dropping this removes the state.
        let state = unsafe {
            bindings::__cpuhp_setup_state(
                bindings::cpuhp_state_CPUHP_BP_PREPARE_DYN,
                c"mint:prepare".as_char_ptr(),
                false,
                Some(prepare),
                None,
                false,
            )
        };
        to_result(state.min(0))?;
        // INVARIANT: On success, the function returns the number of the dynamic state.
        Ok(Hotplug {
            state: state as bindings::cpuhp_state,
        })
    }
}

impl Drop for Hotplug {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the state is registered; it has no teardown callback to
        // invoke.
        unsafe { bindings::__cpuhp_remove_state(self.state, false) };
        // A static is never dropped, and an empty vector keeps its allocation: replace it.
        OWNERS.lock().list = KVec::new();
    }
}

/// Refuses to online a CPU that an OS owns.
unsafe extern "C" fn prepare(cpu: c_uint) -> c_int {
    let owners = OWNERS.lock();
    match owners
        .list
        .iter()
        .find(|owner| owner.cpu == cpu && owner.phase != Phase::Returning)
    {
        Some(owner) => {
            pr_warn!(
                "CPU {} belongs to '{}': write 1 to /sys/kernel/mint/{}/stop to get it back\n",
                cpu,
                &*owner.os,
                &*owner.os
            );
            // Not EBUSY, after which `cpu_subsys_online()` (drivers/base/cpu.c) tries five times more.
            EPERM.to_errno()
        }
        None => 0,
    }
}

/// A CPU that was taken offline for an OS. Dropping this brings it back online.
///
/// # Invariants
///
/// The CPU is offline, and listed in [`OWNERS`].
pub(crate) struct OwnedCpu {
    cpu: u32,
    apic_id: u32,
    state: CpuState,
}

impl OwnedCpu {
    /// Takes `cpu` offline for `os`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if an OS owns the CPU, or if it is already offline or the first OS is going to
    /// sleep; `EINVAL` if this CPU can never be taken; those of `remove_cpu()`. The log says why.
    pub(crate) fn take(cpu: CpuId, os: &CString) -> Result<Self> {
        check(cpu, os)?;
        let id = cpu.as_u32();
        let apic_id = apic_id(cpu);
        let owner = Owner {
            cpu: id,
            apic_id,
            os: CString::try_from(&**os)?,
            phase: Phase::Leaving,
        };
        {
            let mut owners = OWNERS.lock();
            let _held = exclusive::hold();
            // Check once more: `check()` has released the lock.
            if owners.list.iter().any(|owner| owner.cpu == id) {
                return Err(EBUSY);
            }
            owners.check_awake(os)?;
            owners.list.push(owner, GFP_KERNEL)?;
        }
        let state = CpuState::of(cpu);
        let removed = {
            let _guard = keep_hotplug();
            // SAFETY: `id` is the number of a possible CPU.
            unsafe { bindings::remove_cpu(id) }
        };
        match removed {
            0 => {
                set_phase(id, Phase::Held);
                if is_secondary_thread(apic_id) {
                    set_present(id, false);
                }
                // INVARIANT: The CPU is offline now, and the prepare callback keeps it offline.
                Ok(OwnedCpu {
                    cpu: id,
                    apic_id,
                    state,
                })
            }
            error => {
                disown(id);
                if error > 0 {
                    pr_err!("{}: CPU {} is offline already and not ours to take: bring it online first\n", &**os, id);
                    return Err(EBUSY);
                }
                pr_err!(
                    "{}: the first OS can't take CPU {} offline (error {}): {}\n",
                    &**os,
                    id,
                    error,
                    why_it_stays(error)
                );
                Err(Error::from_errno(error))
            }
        }
    }

    /// Returns the first OS's number of the CPU.
    pub(crate) fn number(&self) -> u32 {
        self.cpu
    }

    /// Returns the ID of the CPU's local APIC.
    pub(crate) fn apic_id(&self) -> u32 {
        self.apic_id
    }

    /// Returns the state in which the first OS has left the CPU.
    pub(crate) fn state(&self) -> &CpuState {
        &self.state
    }
}

impl Drop for OwnedCpu {
    fn drop(&mut self) {
        // The CPU stays owned until it is online, so that nobody else takes it meanwhile.
        set_phase(self.cpu, Phase::Returning);
        let result = {
            let _guard = keep_hotplug();
            // The platform may have removed the offline CPU (`acpi_processor_remove()`), and
            // `add_cpu()` does not look for that.
            // SAFETY: The function returns null for a CPU that has no device.
            if unsafe { bindings::get_cpu_device(self.cpu) }.is_null() {
                -(bindings::ENODEV as c_int)
            } else {
                set_present(self.cpu, true);
                // SAFETY: By the type invariants this is a valid CPU, which was online before, and it
                // has its device.
                unsafe { bindings::add_cpu(self.cpu) }
            }
        };
        if result == -(bindings::ENODEV as c_int) {
            pr_warn!(
                "CPU {} was removed from the machine while it was an OS's\n",
                self.cpu
            );
        } else if result == -(bindings::EPERM as c_int) {
            // cpu_bootable() (kernel/cpu.c)
            pr_warn!(
                "CPU {} stays offline, as SMT is off: see /sys/devices/system/cpu/smt/control\n",
                self.cpu
            );
        } else if result < 0 {
            pr_err!(
                "CPU {} did not come back online (error {}): try /sys/devices/system/cpu/cpu{}/online\n",
                self.cpu,
                result,
                self.cpu
            );
        }
        disown(self.cpu);
    }
}

/// Says what to do about an error of `remove_cpu()`.
fn why_it_stays(error: c_int) -> &'static str {
    const EBUSY: c_int = -(bindings::EBUSY as c_int);
    const ENOSPC: c_int = -(bindings::ENOSPC as c_int);
    match error {
        // dl_bw_deactivate() (kernel/sched/deadline.c), tick_nohz_cpu_down()
        // (kernel/time/tick-sched.c), _cpu_down() (kernel/cpu.c)
        EBUSY => {
            "it runs SCHED_DEADLINE tasks that the other CPUs have no time for, keeps the time for nohz_full=, or is the last one that is not isolated: end these tasks, or choose another CPU"
        }
        // lapic_can_unplug_cpu() (arch/x86/kernel/apic/vector.c), which has logged the numbers.
        ENOSPC => {
            "the other CPUs have too few free interrupt vectors for its devices: choose fewer CPUs, or give the devices fewer queues"
        }
        _ => "choose another",
    }
}

/// Returns whether a CPU is not the first thread of its core, as `cpu_mark_primary_thread()`
/// (arch/x86/kernel/cpu/topology.c) decides.
fn is_secondary_thread(apic_id: u32) -> bool {
    // SAFETY: `__max_threads_per_core` is an integer that does not change after boot.
    let threads = unsafe { addr_of!(bindings::__max_threads_per_core).read() };
    apic_id & threads.wrapping_sub(1) != 0
}

/// Shows a CPU to the first OS as present, or hides it.
///
/// `cpuhp_smt_enable()` (kernel/cpu.c) stops at the first CPU that does not come online, and leaves
/// all behind it offline. It passes over CPUs that are not present, and over threads of cores whose
/// first thread is offline. So only a thread that is not the first of its core needs to be hidden.
/// The first threads stay, as [`prepare`] tells more than the kernel's `EINVAL`.
fn set_present(cpu: u32, present: bool) {
    let mask = addr_of_mut!(bindings::__cpu_present_mask);
    // The kernel changes the mask under a lock that is not exported. But the changes are atomic, and
    // it changes the bit of an offline CPU only when that is plugged or unplugged.
    // SAFETY: The mask is static, and has a bit for each possible CPU.
    unsafe {
        if present {
            bindings::cpumask_set_cpu(cpu, mask);
        } else {
            bindings::cpumask_clear_cpu(cpu as c_int, mask);
        }
    }
}

/// Calls `visit` with the APIC ID and the OS of each CPU that an OS may run. Meanwhile none of them
/// goes back to the first OS.
pub(crate) fn for_each_held(mut visit: impl FnMut(u32, &CString)) {
    for owner in OWNERS.lock().list.iter() {
        if owner.phase == Phase::Held {
            visit(owner.apic_id, &owner.os);
        }
    }
}

/// Refuses to give away CPUs and memory until [`wake_up`].
///
/// # Errors
///
/// `EBUSY` if an OS has CPUs; the log says which.
pub(crate) fn fall_asleep() -> Result {
    let mut owners = OWNERS.lock();
    if let Some(owner) = owners.list.first() {
        pr_err!(
            "no suspend or hibernation while '{}' has CPUs: write 1 to /sys/kernel/mint/{}/stop first\n",
            &*owner.os,
            &*owner.os
        );
        return Err(EBUSY);
    }
    owners.asleep = true;
    Ok(())
}

/// Allows CPUs and memory to be given away again.
pub(crate) fn wake_up() {
    OWNERS.lock().asleep = false;
}

/// Checks that the first OS is not asleep or about to be. To avoid a race, allocate memory for `os`
/// first, then call this. The other side calls [`fall_asleep`] first, then looks for allocated
/// memory. So at least one of the two sees the other.
///
/// # Errors
///
/// `EBUSY` if the first OS is asleep or about to be; the log says so.
pub(crate) fn check_awake(os: &CString) -> Result {
    OWNERS.lock().check_awake(os)
}

fn set_phase(cpu: u32, phase: Phase) {
    let mut owners = OWNERS.lock();
    let _held = exclusive::hold();
    for owner in owners.list.iter_mut() {
        if owner.cpu == cpu {
            owner.phase = phase;
        }
    }
}

fn disown(cpu: u32) {
    OWNERS.lock().list.retain(|owner| owner.cpu != cpu);
}

/// Checks whether `os` could take `cpu` now.
///
/// # Errors
///
/// Those of [`OwnedCpu::take`] that are known without taking the CPU.
pub(crate) fn check(cpu: CpuId, os: &CString) -> Result {
    let id = cpu.as_u32();
    if id == 0 {
        pr_err!("{}: CPU 0 stays with the first OS: choose others\n", &**os);
        return Err(EINVAL);
    }
    // Before the mask is read, which may not have the CPU of an OS.
    if let Some(owner) = OWNERS.lock().list.iter().find(|owner| owner.cpu == id) {
        if *owner.os == **os {
            pr_err!("{}: it is being started already: wait for that\n", &**os);
        } else {
            pr_err!("{}: CPU {} belongs to '{}'\n", &**os, id, &*owner.os);
        }
        return Err(EBUSY);
    }
    // SAFETY: `__cpu_present_mask` is static.
    let present = unsafe { Cpumask::from_raw(addr_of!(bindings::__cpu_present_mask)) };
    if !present.test(cpu) {
        pr_err!("{}: there is no CPU {}\n", &**os, id);
        return Err(EINVAL);
    }
    // Without interrupt remapping, which a successor does not have, Linux can't use CPUs with
    // higher APIC IDs, and panics if it boots on one (try_to_enable_x2apic(),
    // arch/x86/kernel/apic/apic.c).
    let apic_id = apic_id(cpu);
    if apic_id > XAPIC_ID_MAX {
        pr_err!(
            "{}: CPU {} has APIC ID {}: choose CPUs with IDs up to {}\n",
            &**os,
            id,
            apic_id,
            XAPIC_ID_MAX
        );
        return Err(EINVAL);
    }
    Ok(())
}

/// A set of CPUs.
pub(crate) struct CpuSet(CpumaskVar);

// SAFETY: It owns its mask, as a box does.
unsafe impl Send for CpuSet {}
// SAFETY: Through a shared reference the mask is only read.
unsafe impl Sync for CpuSet {}

impl CpuSet {
    /// Parses a CPU list such as `2-3,6`.
    ///
    /// # Errors
    ///
    /// Those of `bitmap_parselist()`: `EINVAL`, and `ERANGE` for a CPU beyond the last possible
    /// one. `ENOMEM`.
    pub(crate) fn parse(list: &CStr) -> Result<Self> {
        let mask = CpumaskVar::new_zero(GFP_KERNEL)?;
        // SAFETY: `list` is a C string, and the mask has room for `nr_cpu_ids` bits.
        to_result(unsafe {
            bindings::bitmap_parselist(
                list.as_char_ptr(),
                mask.as_raw().cast(),
                nr_cpu_ids() as c_int,
            )
        })?;
        Ok(CpuSet(mask))
    }

    /// Copies the set.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        Ok(CpuSet(CpumaskVar::try_clone(&self.0)?))
    }

    /// Writes the set as a CPU list into `buffer`, and returns its length.
    pub(crate) fn print(&self, buffer: &mut [u8]) -> usize {
        // SAFETY: The mask has `nr_cpu_ids` bits, and `buffer` is valid for the length passed.
        let len = unsafe {
            bindings::bitmap_print_list_to_buf(
                buffer.as_mut_ptr().cast(),
                self.0.as_raw().cast(),
                nr_cpu_ids() as c_int,
                0,
                buffer.len(),
            )
        };
        let written = &buffer[..usize::try_from(len).unwrap_or(0)];
        // The text ends with a newline and a zero byte, which `len` includes.
        let end = written.iter().position(|&c| c == b'\n' || c == 0);
        end.unwrap_or(written.len())
    }

    /// Returns whether the set has no CPU.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.empty()
    }

    /// Returns the CPUs in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        cpu_ids().filter(|&cpu| self.0.test(cpu))
    }
}

impl PartialEq for CpuSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

fn cpu_ids() -> impl Iterator<Item = CpuId> {
    (0..nr_cpu_ids()).filter_map(CpuId::from_u32)
}

/// Returns whether a possible CPU of the machine has this APIC ID.
pub(crate) fn apic_id_exists(id: u32) -> bool {
    // SAFETY: `__cpu_possible_mask` is static, and constant after boot.
    let possible = unsafe { Cpumask::from_raw(addr_of!(bindings::__cpu_possible_mask)) };
    cpu_ids().any(|cpu| possible.test(cpu) && apic_id(cpu) == id)
}

/// Returns the APIC ID of `cpu`, which must be a possible CPU.
fn apic_id(cpu: CpuId) -> u32 {
    // SAFETY: `__per_cpu_offset` is constant after boot, and has an entry for each possible CPU.
    let offset = unsafe { *addr_of!(bindings::__per_cpu_offset[cpu.as_u32() as usize]) };
    let template = addr_of_mut!(bindings::x86_cpu_to_apicid);
    // SAFETY: This is `per_cpu()`: the copy of a per-CPU variable lies at the CPU's offset from the
    // template, for each possible CPU. The value is an aligned word, which changes only for CPUs
    // that are not present.
    unsafe { template.wrapping_byte_add(offset).read() }
}
