// SPDX-License-Identifier: GPL-2.0

//! The values of ACPI processor objects, and the DSDT that is made of them.
//!
//! The input is the limits of idle states, then the values of `_CST`, `_PCT` and `_PSS`. Each value
//! is a byte that tells its type, and what that type needs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mint_fuzz::input::Input;
use mint_unit::firmware::acpi::{write, Machine};
use mint_unit::firmware::processor::{
    idle_states, performance, IdleLimits, Object, Power, FIXED_HARDWARE, SYSTEM_IO,
};

/// The value of an object.
enum Value {
    Integer(u64),
    Buffer(Vec<u8>),
    Package(Vec<Value>),
}

impl Value {
    fn read(input: &mut Input<'_>, depth: usize) -> Self {
        match input.u8() % 5 {
            0 => Value::Integer(input.u64()),
            1 => Value::Integer(input.u8().into()),
            2 => Value::Buffer((0..input.u8() % 32).map(|_| input.u8()).collect()),
            // A register descriptor.
            3 => {
                let fields = (0..12).map(|_| input.u8());
                Value::Buffer([0x82, 12, 0].into_iter().chain(fields).collect())
            }
            _ if depth == 0 => Value::Package(Vec::new()),
            _ => {
                let count = input.u8() % 24;
                Value::Package((0..count).map(|_| Self::read(input, depth - 1)).collect())
            }
        }
    }
}

impl<'a> Object<'a> for &'a Value {
    fn integer(self) -> Option<u64> {
        match self {
            Value::Integer(value) => Some(*value),
            _ => None,
        }
    }

    fn buffer(self) -> Option<&'a [u8]> {
        match self {
            Value::Buffer(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn count(self) -> usize {
        match self {
            Value::Package(elements) => elements.len(),
            _ => 0,
        }
    }

    fn element(self, index: usize) -> Option<Self> {
        match self {
            Value::Package(elements) => elements.get(index),
            _ => None,
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let limits = IdleLimits {
        timers_go_on: input.u8() & 1 != 0,
        ports: Some(input.u16()).filter(|&first| first != 0),
    };
    let [cst, pct, pss] = [(); 3].map(|()| Value::read(&mut input, 3));
    let power = Power {
        idle: idle_states(&cst, &limits),
        performance: performance(&pct, &pss),
    };

    let count = power.idle.iter().flatten().count();
    assert!(power.idle[count..].iter().all(Option::is_none));
    assert!(count < cst.count().max(1));
    for state in power.idle.iter().flatten() {
        assert!(state.kind == 1 || state.kind == 2 && limits.timers_go_on);
        let first = u64::from(limits.ports.unwrap_or(0));
        match state.register.space {
            SYSTEM_IO => assert!(first != 0 && (0..8).contains(&(state.register.address - first))),
            space => assert_eq!(space, FIXED_HARDWARE),
        }
    }
    if let Some(performance) = &power.performance {
        let own =
            |register: &mint_unit::firmware::processor::Register| register.space == FIXED_HARDWARE;
        assert!(performance.registers.iter().all(own));
        let states = performance.states.iter().flatten();
        assert_eq!(states.count(), (&pss).count());
    }

    let machine = Machine {
        cpus: 0..3,
        decoy: 254,
        ioapic: 0x2_0800,
        sleep_register: 0x1_4000_2000,
        console: None,
        bridges: &[],
        power: Some(&power),
    };
    let mut memory = vec![0xa5; 0x1000];
    assert!(write(&mut memory, 0x1_4000_6000, &machine).is_some());
    let names = |name: &[u8; 4]| memory.windows(4).filter(|bytes| bytes == name).count();
    // At least, as the address of a register may look like a name.
    assert!(names(b"_UID") >= 3);
    assert!(names(b"_CST") >= 3 || count == 0);
    assert!(names(b"_PSS") >= 3 || power.performance.is_none());
});
