// SPDX-License-Identifier: GPL-2.0

//! CPUs taken from the first OS, and given back.
//!
//! Lock order: [`HOTPLUG`], then the kernel's CPU hotplug lock, then [`OWNERS`]. So `OWNERS` is never held across
//! `remove_cpu()` or `add_cpu()`, which take the former.

use crate::{firmware::acpi::XAPIC_ID_MAX, machine::exclusive};
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
    // SAFETY: Initialised by `Hotplug::register()`, before any CPU can be taken.
    unsafe(uninit) static OWNERS: Mutex<Owners> = Owners {
        list: KVec::new(),
        asleep: false,
    };
}

kernel::sync::global_lock! {
    // SAFETY: Initialised by `Hotplug::register()`, before any CPU can be taken.
    unsafe(uninit) static HOTPLUG: Mutex<()> = ();
}

/// Holds off Mint's own CPU hotplug while this lives, and waits for what is under way.
///
/// Held for `remove_cpu()` and `add_cpu()`, and while the kernel has hotplug disabled for a step of
/// Mint's: then it would refuse the other at once, or after half a second.
#[must_use]
pub(crate) fn keep_hotplug() -> impl Sized {
    HOTPLUG.lock()
}

struct Owners {
    list: KVec<Owner>,
    /// The first OS is about to go to sleep, or sleeps: no CPU and no memory is given away.
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
    /// As it was when the CPU was taken: the kernel forgets that of one that is removed meanwhile
    /// (`topology_hotunplug_apic()`, arch/x86/kernel/cpu/topology.c).
    apic_id: u32,
    os: CString,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is on its way offline.
    Leaving,
    /// It is offline, and the OS's to run.
    Held,
    /// It is on its way back to the first OS.
    Returning,
}

/// The first OS's CPU hotplug, watched: it does not online CPUs that a successor owns.
///
/// # Invariants
///
/// `state` is the dynamic state that was registered.
pub(crate) struct Hotplug {
    state: bindings::cpuhp_state,
}

impl Hotplug {
    /// Starts to watch. To be called once.
    ///
    /// # Errors
    ///
    /// Those of `__cpuhp_setup_state()`.
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: Called once, as the function's documentation asks.
        unsafe { OWNERS.init() };
        // SAFETY: As above.
        unsafe { HOTPLUG.init() };
        // A prepare callback runs on another CPU, before the one that is to come online gets its
        // INIT. SAFETY: The name and the callback are static; the state is removed on drop.
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
        // INVARIANT: For a dynamic state the number is returned.
        Ok(Hotplug {
            state: state as bindings::cpuhp_state,
        })
    }
}

impl Drop for Hotplug {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; there is no teardown callback to invoke.
        unsafe { bindings::__cpuhp_remove_state(self.state, false) };
        // A static is never dropped, and an empty list keeps its room.
        OWNERS.lock().list = KVec::new();
    }
}

/// Refuses to online a CPU that is owned.
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
            EBUSY.to_errno()
        }
        None => 0,
    }
}

/// A CPU that was taken offline for an OS. It comes online again when it is dropped.
///
/// # Invariants
///
/// The CPU is offline and in [`OWNERS`].
pub(crate) struct OwnedCpu {
    cpu: u32,
    apic_id: u32,
}

impl OwnedCpu {
    /// Takes `cpu` offline for `os`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it is owned, offline already, or can't be taken offline; `EINVAL` for one that
    /// can't be had at all. The log says why.
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
            // Again, since the lock was not held since the check.
            if owners.list.iter().any(|owner| owner.cpu == id) {
                return Err(EBUSY);
            }
            owners.check_awake(os)?;
            owners.list.push(owner, GFP_KERNEL)?;
        }
        let removed = {
            let _guard = keep_hotplug();
            // SAFETY: `cpu` is a possible CPU.
            unsafe { bindings::remove_cpu(id) }
        };
        match removed {
            0 => {
                set_phase(id, Phase::Held);
                // INVARIANT: It is offline now, and the prepare callback keeps it so.
                Ok(OwnedCpu { cpu: id, apic_id })
            }
            error => {
                disown(id);
                if error > 0 {
                    pr_err!("{}: CPU {} is offline already and not ours to take: bring it online first\n", &**os, id);
                    return Err(EBUSY);
                }
                pr_err!(
                    "{}: the first OS can't take CPU {} offline (error {}): choose another\n",
                    &**os,
                    id,
                    error
                );
                Err(Error::from_errno(error))
            }
        }
    }

    /// The number that the first OS knows it by.
    pub(crate) fn number(&self) -> u32 {
        self.cpu
    }

    /// The ID of its local APIC.
    pub(crate) fn apic_id(&self) -> u32 {
        self.apic_id
    }
}

impl Drop for OwnedCpu {
    fn drop(&mut self) {
        // It stays owned until it is online, so that nobody else takes it on its way.
        set_phase(self.cpu, Phase::Returning);
        let result = {
            let _guard = keep_hotplug();
            // SAFETY: By the type invariants it is a CPU that was online before.
            unsafe { bindings::add_cpu(self.cpu) }
        };
        if result < 0 {
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

/// Calls `visit` with the APIC ID and the OS of each CPU that an OS may run; none of them goes
/// back to the first OS meanwhile.
pub(crate) fn for_each_held(mut visit: impl FnMut(u32, &CString)) {
    for owner in OWNERS.lock().list.iter() {
        if owner.phase == Phase::Held {
            visit(owner.apic_id, &owner.os);
        }
    }
}

/// Lets no CPU and no memory be given away until [`wake_up`].
///
/// # Errors
///
/// `EBUSY` if an OS has one; the log says which.
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

/// Lets CPUs and memory be given away again.
pub(crate) fn wake_up() {
    OWNERS.lock().asleep = false;
}

/// Checks that the first OS neither sleeps nor is about to. Whoever takes memory for `os` asks
/// after that: what goes to sleep looks for such memory after [`fall_asleep`], so that one of the
/// two sees the other.
///
/// # Errors
///
/// `EBUSY` if it does; the log says so.
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

/// Checks whether `os` could take `cpu` as things are; the same errors as [`OwnedCpu::take`].
pub(crate) fn check(cpu: CpuId, os: &CString) -> Result {
    let id = cpu.as_u32();
    if id == 0 {
        pr_err!("{}: CPU 0 stays with the first OS: choose others\n", &**os);
        return Err(EINVAL);
    }
    // SAFETY: The mask is the kernel's own, and lives as long as it does.
    let present = unsafe { Cpumask::from_raw(addr_of!(bindings::__cpu_present_mask)) };
    if !present.test(cpu) {
        pr_err!("{}: there is no CPU {}\n", &**os, id);
        return Err(EINVAL);
    }
    // A successor has no interrupt remapping, without which Linux can't use such CPUs, and panics
    // on the first (try_to_enable_x2apic(), arch/x86/kernel/apic/apic.c).
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
    if let Some(owner) = OWNERS.lock().list.iter().find(|owner| owner.cpu == id) {
        if *owner.os == **os {
            pr_err!("{}: it is being started already: wait for that\n", &**os);
        } else {
            pr_err!("{}: CPU {} belongs to '{}'\n", &**os, id, &*owner.os);
        }
        return Err(EBUSY);
    }
    Ok(())
}

/// A set of CPUs.
pub(crate) struct CpuSet(CpumaskVar);

// SAFETY: It owns its mask, as a box does.
unsafe impl Send for CpuSet {}
// SAFETY: A shared one is only read.
unsafe impl Sync for CpuSet {}

impl CpuSet {
    /// Parses a CPU list such as `2-3,6`.
    ///
    /// # Errors
    ///
    /// Those of `bitmap_parselist()`: `EINVAL`, and `ERANGE` for a CPU beyond the last possible.
    pub(crate) fn parse(list: &CStr) -> Result<Self> {
        let mask = CpumaskVar::new_zero(GFP_KERNEL)?;
        // SAFETY: The list is a C string, and the mask has room for `nr_cpu_ids` bits.
        to_result(unsafe {
            bindings::bitmap_parselist(
                list.as_char_ptr(),
                mask.as_raw().cast(),
                nr_cpu_ids() as c_int,
            )
        })?;
        Ok(CpuSet(mask))
    }

    /// The same set once more.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        Ok(CpuSet(CpumaskVar::try_clone(&self.0)?))
    }

    /// Writes the set as a list into `buffer`, and returns its length.
    pub(crate) fn print(&self, buffer: &mut [u8]) -> usize {
        // SAFETY: The mask has `nr_cpu_ids` bits, and the buffer is as long as is said.
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
        // It ends with a newline and a zero, which is counted.
        let end = written.iter().position(|&c| c == b'\n' || c == 0);
        end.unwrap_or(written.len())
    }

    /// Whether there is no CPU in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.empty()
    }

    /// Its CPUs, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        possible_cpus().filter(|&cpu| self.0.test(cpu))
    }
}

impl PartialEq for CpuSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

fn possible_cpus() -> impl Iterator<Item = CpuId> {
    (0..nr_cpu_ids()).filter_map(CpuId::from_u32)
}

/// Whether any possible CPU of the machine has this APIC ID.
pub(crate) fn apic_id_exists(id: u32) -> bool {
    possible_cpus().any(|cpu| apic_id(cpu) == id)
}

fn apic_id(cpu: CpuId) -> u32 {
    // SAFETY: The array is set up at boot and constant since; `cpu` is a possible CPU.
    let offset = unsafe { *addr_of!(bindings::__per_cpu_offset[cpu.as_u32() as usize]) };
    let template = addr_of_mut!(bindings::x86_cpu_to_apicid);
    // SAFETY: This is what `per_cpu()` does: each possible CPU's copy of a per-CPU variable lies at
    // its offset from the template. It is a word, which only changes for a CPU that is not present.
    unsafe { template.wrapping_byte_add(offset).read() }
}
