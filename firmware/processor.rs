// SPDX-License-Identifier: GPL-2.0

//! Idle states and frequencies of a successor's CPUs: what the first OS's ACPI processor objects
//! say, as far as a successor may use it. Documentation/limits.rst has the reasons for what is left
//! out.
//!
//! Reference: ACPI specification 6.3, sections 8.4.2 (`_CST`), 8.4.6 (`_PCT`, `_PSS`), and 6.4.3.7
//! (the register descriptor).

/// The most idle states that are copied; Linux takes no more (`ACPI_PROCESSOR_MAX_POWER`).
pub const IDLE_MAX: usize = 7;
/// The most frequencies that are copied.
pub const PERFORMANCE_MAX: usize = 16;

/// A value that an ACPI object was evaluated to.
pub trait Object<'a>: Copy {
    /// Returns the value of an integer.
    fn integer(self) -> Option<u64>;
    /// Returns the bytes of a buffer.
    fn buffer(self) -> Option<&'a [u8]>;
    /// Returns the number of elements of a package, and 0 if this is none.
    fn count(self) -> usize;
    /// Returns an element of a package.
    fn element(self, index: usize) -> Option<Self>;
}

/// A register in an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// The address space: [`SYSTEM_IO`], [`FIXED_HARDWARE`], or another.
    pub space: u8,
    /// The width in bits. If in fixed hardware, the vendor of the CPU defines the meaning, also of
    /// the fields below.
    pub width: u8,
    /// The offset in bits.
    pub offset: u8,
    /// The access size.
    pub access: u8,
    /// The address.
    pub address: u64,
}

/// The address space of I/O ports.
pub const SYSTEM_IO: u8 = 1;
/// The address space of what the CPU itself defines: MWAIT and MSRs.
pub const FIXED_HARDWARE: u8 = 0x7f;

impl Register {
    /// Reads a buffer with a register descriptor.
    fn of<'a>(object: impl Object<'a>) -> Option<Self> {
        let bytes: &[u8; 15] = object.buffer()?.first_chunk()?;
        let [0x82, 12, 0, space, width, offset, access, address @ ..] = *bytes else {
            return None;
        };
        Some(Register {
            space,
            width,
            offset,
            access,
            address: u64::from_le_bytes(address),
        })
    }
}

/// An idle state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleState {
    /// How the CPU enters it.
    pub register: Register,
    /// 1 for C1, 2 for C2.
    pub kind: u8,
    /// The latency in microseconds.
    pub latency: u32,
    /// The average power in milliwatts.
    pub power: u32,
}

/// The frequencies of a CPU, and the registers by which it gets one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Performance {
    /// The control and the status register.
    pub registers: [Register; 2],
    /// Six numbers for each, as in `_PSS`.
    pub states: [Option<[u32; 6]>; PERFORMANCE_MAX],
}

/// What is known of the power management of a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Power {
    /// Its idle states.
    pub idle: [Option<IdleState>; IDLE_MAX],
    /// Its frequencies.
    pub performance: Option<Performance>,
}

impl Power {
    /// Returns whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        *self == Power::default()
    }
}

/// Which idle states a successor may use.
#[derive(Clone, Copy, Debug)]
pub struct IdleLimits {
    /// Whether the timer of the local APIC and the TSC go on in each state. A successor has no
    /// other timer to wake it, and no other clock.
    pub timers_go_on: bool,
    /// The first of eight ports that the core traps, if it traps any: a read of one of them makes
    /// it enter an idle state, and reaches no device.
    pub ports: Option<u16>,
}

impl IdleLimits {
    const PORTS: u64 = 8;

    fn allow(&self, state: &IdleState) -> bool {
        let IdleState { register, kind, .. } = state;
        let by_core = match register.space {
            FIXED_HARDWARE => true,
            SYSTEM_IO => self.ports.is_some_and(|first| {
                let first = u64::from(first);
                register.width == 8 && (first..first + Self::PORTS).contains(&register.address)
            }),
            _ => false,
        };
        // For states of type C3 the kernel needs registers of the chipset.
        by_core && (*kind == 1 || *kind == 2 && self.timers_go_on)
    }
}

/// Returns the idle states in `cst`, the value of `_CST`, that `limits` allow. Returns none at all
/// if `cst` is malformed.
pub fn idle_states<'a>(cst: impl Object<'a>, limits: &IdleLimits) -> [Option<IdleState>; IDLE_MAX] {
    let mut all = [None; IDLE_MAX];
    let mut used = 0;
    let count = cst.count();
    let announced = cst.element(0).and_then(Object::integer);
    if announced != Some(count.saturating_sub(1) as u64) {
        return [None; IDLE_MAX];
    }
    for index in 1..count {
        let Some(state) = cst.element(index).and_then(idle_state) else {
            return [None; IDLE_MAX];
        };
        if let Some(place) = all.get_mut(used).filter(|_| limits.allow(&state)) {
            *place = Some(state);
            used += 1;
        }
    }
    all
}

fn idle_state<'a>(package: impl Object<'a>) -> Option<IdleState> {
    let number = |index| package.element(index)?.integer();
    (package.count() == 4).then_some(())?;
    Some(IdleState {
        register: Register::of(package.element(0)?)?,
        kind: number(1)?.try_into().ok()?,
        latency: number(2)?.try_into().ok()?,
        power: number(3)?.try_into().ok()?,
    })
}

/// Returns the frequencies in `pct` and `pss`, the values of `_PCT` and `_PSS`, if both registers are
/// the CPU's own. Returns [`None`] too if one of the two is malformed, or too long.
pub fn performance<'a>(pct: impl Object<'a>, pss: impl Object<'a>) -> Option<Performance> {
    let register = |index| {
        let register = Register::of(pct.element(index)?)?;
        (register.space == FIXED_HARDWARE).then_some(register)
    };
    if pct.count() != 2 || pss.count() == 0 {
        return None;
    }
    let mut states = [None; PERFORMANCE_MAX];
    for index in 0..pss.count() {
        let package = pss.element(index)?;
        let mut numbers = [0; 6];
        if package.count() != numbers.len() {
            return None;
        }
        for (index, number) in numbers.iter_mut().enumerate() {
            *number = package.element(index)?.integer()?.try_into().ok()?;
        }
        *states.get_mut(index)? = Some(numbers);
    }
    Some(Performance {
        registers: [register(0)?, register(1)?],
        states,
    })
}
