// SPDX-License-Identifier: GPL-2.0

//! The first OS's ACPI processor objects.

use crate::{
    firmware::processor::{self, IdleLimits, Power},
    linux::cpu_registers::{leaf, rdmsr},
};
use core::ptr::NonNull;
use kernel::{bindings, cpu::CpuId, prelude::*};

/// The status with which a function of ACPICA succeeds.
const AE_OK: bindings::acpi_status = 0;
/// `ACPI_ALLOCATE_BUFFER`: ACPICA allocates as much as it needs.
const ALLOCATE: bindings::acpi_size = bindings::acpi_size::MAX;
/// `ACPI_ROOT_OBJECT`
const ROOT: bindings::acpi_handle =
    bindings::acpi_handle::wrapping_add(core::ptr::null_mut(), usize::MAX);

/// MSR of AMD CPUs: the first of eight ports of which the core traps reads, in bits 0 to 15; 0 if it
/// traps none.
const CSTATE_BASE_ADDRESS: u32 = 0xc001_0073;

extern "C" {
    /// Returns the APIC ID of a processor. Declared in `include/acpi/processor.h`, for which the
    /// `kernel` crate has no bindings.
    fn acpi_get_phys_id(handle: bindings::acpi_handle, device: c_int, acpi_id: u32) -> u32;
}

/// Returns the power management of the CPUs with the APIC IDs `ids`, as far as a successor may use
/// it. Returns [`None`] if there is nothing to tell, if the CPUs differ in it, or if they are no
/// AMD CPUs: for others Linux has drivers that do not depend on ACPI.
pub(crate) fn power_of<I: Iterator<Item = u32> + Clone>(ids: I) -> Option<Power> {
    // SAFETY: The kernel writes it only while it boots.
    if !is_amd() || unsafe { bindings::acpi_disabled } != 0 {
        return None;
    }
    let mut search = Search {
        limits: idle_limits(),
        ids: ids.clone(),
        found: 0,
        power: None,
        differ: false,
    };
    let context = (&raw mut search).cast();
    // Processors are devices, or are declared by a statement of their own in older tables.
    // SAFETY: The callback gets `context`, which nobody else uses until this returns.
    unsafe {
        bindings::acpi_get_devices(
            c"ACPI0007".as_char_ptr(),
            Some(visit::<I, true>),
            context,
            core::ptr::null_mut(),
        );
        bindings::acpi_walk_namespace(
            bindings::ACPI_TYPE_PROCESSOR,
            ROOT,
            u32::MAX,
            Some(visit::<I, false>),
            None,
            context,
            core::ptr::null_mut(),
        );
    }
    let is_same = search.found == ids.count() && !search.differ;
    search.power.filter(|power| is_same && !power.is_empty())
}

fn is_amd() -> bool {
    let id = leaf(0);
    let vendor = [id.ebx, id.edx, id.ecx].map(u32::to_le_bytes);
    vendor == [*b"Auth", *b"enti", *b"cAMD"] || vendor == [*b"Hygo", *b"nGen", *b"uine"]
}

fn idle_limits() -> IdleLimits {
    const ARAT: u32 = 1 << 2;
    const INVARIANT_TSC: u32 = 1 << 8;
    // CPU 0 is always online.
    // SAFETY: Reading this MSR has no side effect.
    let base = CpuId::from_u32(0).and_then(|cpu| unsafe { rdmsr(cpu, CSTATE_BASE_ADDRESS) });
    IdleLimits {
        timers_go_on: leaf(6).eax & ARAT != 0 && leaf(0x8000_0007).edx & INVARIANT_TSC != 0,
        ports: base.map(|base| base as u16).filter(|base| *base != 0),
    }
}

/// A search for the processors with the APIC IDs `ids`.
struct Search<I> {
    limits: IdleLimits,
    ids: I,
    /// How many were found.
    found: usize,
    /// The power management of the first.
    power: Option<Power>,
    /// Whether another has a different one.
    differ: bool,
}

/// Looks at the processor `handle`, which is a device if `DEVICE` is true.
///
/// # Safety
///
/// `context` must point to a `Search<I>` that nobody else uses, and `handle` to an object of the
/// namespace.
unsafe extern "C" fn visit<I: Iterator<Item = u32> + Clone, const DEVICE: bool>(
    handle: bindings::acpi_handle,
    _level: u32,
    context: *mut c_void,
    _result: *mut *mut c_void,
) -> bindings::acpi_status {
    // SAFETY: The caller guarantees that it points to a search that nobody else uses.
    let search = unsafe { &mut *context.cast::<Search<I>>() };
    // SAFETY: The caller guarantees that the object exists.
    let acpi_id = unsafe { Value::evaluate(handle, DEVICE.then_some(c"_UID")) };
    let Some(acpi_id) = acpi_id.and_then(|value| value.object().processor_id()) else {
        return AE_OK;
    };
    // SAFETY: The caller guarantees that the object exists.
    let apic_id = unsafe { acpi_get_phys_id(handle, DEVICE.into(), acpi_id) };
    if !search.ids.clone().any(|id| id == apic_id) {
        return AE_OK;
    }
    // SAFETY: The caller guarantees that the object exists.
    let value = |name| unsafe { Value::evaluate(handle, Some(name)) };
    let mut power = Power::default();
    if let Some(cst) = value(c"_CST") {
        power.idle = processor::idle_states(cst.object(), &search.limits);
    }
    if let (Some(pct), Some(pss)) = (value(c"_PCT"), value(c"_PSS")) {
        power.performance = processor::performance(pct.object(), pss.object());
    }
    search.found += 1;
    search.differ |= *search.power.get_or_insert(power) != power;
    AE_OK
}

/// A value that an object was evaluated to.
///
/// # Invariants
///
/// The pointer is to an object that ACPICA has allocated, and this owns it.
struct Value(NonNull<bindings::acpi_object>);

impl Value {
    /// Evaluates the object `name` in `handle`, or `handle` itself.
    ///
    /// # Safety
    ///
    /// `handle` must be an object of the namespace.
    unsafe fn evaluate(handle: bindings::acpi_handle, name: Option<&CStr>) -> Option<Self> {
        let mut buffer = bindings::acpi_buffer {
            length: ALLOCATE,
            pointer: core::ptr::null_mut(),
        };
        let name = name.map_or(core::ptr::null(), CStr::as_char_ptr);
        // SAFETY: The caller guarantees that the object exists, and ACPICA does not write to the
        // name. It allocates the buffer.
        let status = unsafe {
            bindings::acpi_evaluate_object(
                handle,
                name.cast_mut(),
                core::ptr::null_mut(),
                &mut buffer,
            )
        };
        if status != AE_OK {
            return None;
        }
        // INVARIANT: On success, ACPICA has allocated a buffer with an object, or none if the
        // object has no value.
        NonNull::new(buffer.pointer.cast()).map(Value)
    }

    fn object(&self) -> Object<'_> {
        // SAFETY: By the type invariants this is an object, which lives as long as `self`.
        Object(unsafe { self.0.as_ref() })
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this owns the object, which ACPICA allocated by
        // `acpi_os_allocate()`, that is, kmalloc().
        unsafe { bindings::kfree(self.0.as_ptr().cast()) };
    }
}

/// A value, or an element of one.
#[derive(Clone, Copy)]
struct Object<'a>(&'a bindings::acpi_object);

impl Object<'_> {
    fn kind(self) -> u32 {
        // SAFETY: Each member of the union begins with the type.
        unsafe { self.0.type_ }
    }

    /// Returns the ID of a processor, which is the value of `_UID` or part of the object.
    fn processor_id(self) -> Option<u32> {
        match self.kind() {
            // SAFETY: This is the member for the type.
            bindings::ACPI_TYPE_PROCESSOR => Some(unsafe { self.0.processor.proc_id }),
            _ => processor::Object::integer(self)?.try_into().ok(),
        }
    }
}

impl<'a> Object<'a> {
    fn elements(self) -> &'a [bindings::acpi_object] {
        if self.kind() != bindings::ACPI_TYPE_PACKAGE {
            return &[];
        }
        // SAFETY: This is the member for the type.
        let package = unsafe { self.0.package };
        if package.count == 0 {
            return &[];
        }
        // SAFETY: ACPICA puts the elements into the same buffer, as many as there are.
        unsafe { core::slice::from_raw_parts(package.elements, package.count as usize) }
    }
}

impl<'a> processor::Object<'a> for Object<'a> {
    fn integer(self) -> Option<u64> {
        if self.kind() != bindings::ACPI_TYPE_INTEGER {
            return None;
        }
        // SAFETY: This is the member for the type.
        Some(unsafe { self.0.integer.value })
    }

    fn buffer(self) -> Option<&'a [u8]> {
        if self.kind() != bindings::ACPI_TYPE_BUFFER {
            return None;
        }
        // SAFETY: This is the member for the type.
        let buffer = unsafe { self.0.buffer };
        if buffer.length == 0 {
            return Some(&[]);
        }
        // SAFETY: ACPICA puts the bytes into the same buffer, as many as there are.
        Some(unsafe { core::slice::from_raw_parts(buffer.pointer, buffer.length as usize) })
    }

    fn count(self) -> usize {
        self.elements().len()
    }

    fn element(self, index: usize) -> Option<Self> {
        self.elements().get(index).map(Object)
    }
}
