// SPDX-License-Identifier: GPL-2.0

//! What is taken from ACPI processor objects, and the devices that a successor gets, as ACPICA would
//! have made them.

#[path = "common/iasl.rs"]
mod iasl;

use mint_unit::firmware::acpi::{write, Machine};
use mint_unit::firmware::processor::{
    idle_states, performance, IdleLimits, IdleState, Object, Performance, Power, Register,
    FIXED_HARDWARE, IDLE_MAX, PERFORMANCE_MAX, SYSTEM_IO,
};

/// The value of an object.
#[derive(Clone)]
enum Value {
    Integer(u64),
    Buffer(Vec<u8>),
    Package(Vec<Value>),
}
use Value::{Buffer, Integer, Package};

impl<'a> Object<'a> for &'a Value {
    fn integer(self) -> Option<u64> {
        match self {
            Integer(value) => Some(*value),
            _ => None,
        }
    }

    fn buffer(self) -> Option<&'a [u8]> {
        match self {
            Buffer(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn count(self) -> usize {
        match self {
            Package(elements) => elements.len(),
            _ => 0,
        }
    }

    fn element(self, index: usize) -> Option<Self> {
        match self {
            Package(elements) => elements.get(index),
            _ => None,
        }
    }
}

const MWAIT: Register = Register {
    space: FIXED_HARDWARE,
    width: 2,
    offset: 2,
    access: 1,
    address: 0x10,
};

fn port(address: u64) -> Register {
    Register {
        space: SYSTEM_IO,
        width: 8,
        offset: 0,
        access: 1,
        address,
    }
}

/// `ResourceTemplate () { Register (...) }`, of which ACPICA hands out the bytes.
fn template(register: Register) -> Value {
    let mut bytes = vec![0x82, 12, 0];
    bytes.extend([
        register.space,
        register.width,
        register.offset,
        register.access,
    ]);
    bytes.extend(register.address.to_le_bytes());
    bytes.extend([0x79, 0]);
    Buffer(bytes)
}

fn integers(numbers: &[u64]) -> Vec<Value> {
    numbers.iter().map(|&number| Integer(number)).collect()
}

fn state(register: Register, numbers: [u64; 3]) -> Value {
    Package([vec![template(register)], integers(&numbers)].concat())
}

fn cst(states: &[Value]) -> Value {
    Package([&[Integer(states.len() as u64)], states].concat())
}

const ALL: IdleLimits = IdleLimits {
    timers_go_on: true,
    ports: Some(0x414),
};

fn read(cst: &Value, limits: &IdleLimits) -> Vec<IdleState> {
    let states = idle_states(cst, limits);
    let used = states.iter().flatten().count();
    assert!(states[..used].iter().all(Option::is_some));
    states.into_iter().flatten().collect()
}

#[test]
fn idle_states_that_a_successor_may_use() {
    let told = |register, [kind, latency, power]: [u32; 3]| IdleState {
        register,
        kind: kind as u8,
        latency,
        power,
    };
    // As on servers: C1 by MWAIT, and C2 by a port.
    let server = cst(&[state(MWAIT, [1, 1, 0]), state(port(0x414), [2, 800, 0])]);
    let (c1, c2) = (told(MWAIT, [1, 1, 0]), told(port(0x414), [2, 800, 0]));
    assert_eq!(read(&server, &ALL), [c1, c2]);
    let limits = IdleLimits {
        timers_go_on: false,
        ..ALL
    };
    assert_eq!(read(&server, &limits), [c1]);
    for ports in [None, Some(0), Some(0x40c), Some(0x415)] {
        assert_eq!(read(&server, &IdleLimits { ports, ..ALL }), [c1]);
    }
    assert_eq!(
        read(
            &server,
            &IdleLimits {
                ports: Some(0x40d),
                ..ALL
            }
        ),
        [c1, c2]
    );
    // The last port there is.
    let last = cst(&[state(port(0xffff), [2, 1, 1])]);
    let limits = IdleLimits {
        ports: Some(0xfff8),
        ..ALL
    };
    assert_eq!(read(&last, &limits), [told(port(0xffff), [2, 1, 1])]);
    let limits = IdleLimits {
        ports: Some(0xffff),
        ..ALL
    };
    assert_eq!(
        read(&cst(&[state(port(0x1_0006), [2, 1, 1])]), &limits).len(),
        1
    );
    assert_eq!(read(&cst(&[state(port(0x1_0007), [2, 1, 1])]), &limits), []);

    // C3 needs the chipset; memory and wide ports are not the core's.
    let wide = Register {
        width: 32,
        ..port(0x414)
    };
    let memory = Register { space: 0, ..MWAIT };
    let others = cst(&[
        state(MWAIT, [3, 1, 1]),
        state(MWAIT, [0, 1, 1]),
        state(MWAIT, [4, 1, 1]),
        state(wide, [2, 1, 1]),
        state(memory, [1, 1, 1]),
        state(MWAIT, [2, u64::from(u32::MAX), u64::from(u32::MAX)]),
    ]);
    assert_eq!(read(&others, &ALL), [told(MWAIT, [2, u32::MAX, u32::MAX])]);

    let many = cst(&vec![state(MWAIT, [1, 1, 1]); IDLE_MAX + 5]);
    assert_eq!(read(&many, &ALL).len(), IDLE_MAX);
}

#[test]
fn malformed_idle_states() {
    let good = state(MWAIT, [1, 1, 0]);
    let Package(parts) = &good else {
        unreachable!()
    };
    let with = |index: usize, part: Value| {
        let mut parts = parts.clone();
        parts[index] = part;
        Package(parts)
    };
    let (mut short, mut other) = (vec![0x82, 12, 0], vec![0x82, 12, 0]);
    short.resize(14, 0x7f);
    other.resize(17, 0x7f);
    other[0] = 0x81;
    let bad = [
        Integer(1),
        Buffer(vec![]),
        Package(vec![]),
        Package(parts[..3].to_vec()),
        Package([parts.as_slice(), &[Integer(0)]].concat()),
        with(0, Integer(0)),
        with(0, Buffer(short)),
        with(0, Buffer(other)),
        with(1, Buffer(vec![1])),
        with(1, Integer(256)),
        with(2, Integer(1 << 32)),
        with(3, Package(vec![])),
    ];
    for state in bad {
        assert_eq!(read(&cst(&[good.clone(), state]), &ALL), []);
    }
    for value in [
        Integer(0),
        Buffer(vec![1; 20]),
        Package(vec![]),
        Package(vec![good.clone()]),
        Package(vec![Integer(0), good.clone()]),
        Package(vec![Integer(2), good.clone()]),
        Package(vec![good.clone(), good.clone()]),
        Package(vec![Integer(0)]),
    ] {
        assert_eq!(read(&value, &ALL), []);
    }
    assert_eq!(read(&cst(&[good]), &ALL).len(), 1);
}

const CONTROL: Register = Register {
    space: FIXED_HARDWARE,
    width: 0,
    offset: 0,
    access: 0,
    address: 0,
};

#[test]
fn frequencies() {
    let pct = Package(vec![template(CONTROL), template(MWAIT)]);
    let numbers = [2450, 5000, 1, 1, 0, 0];
    let pss = |count| Package(vec![Package(integers(&numbers)); count]);
    for count in [1, 3, PERFORMANCE_MAX] {
        let read = performance(&pct, &pss(count)).unwrap();
        assert_eq!(read.registers, [CONTROL, MWAIT]);
        let states: Vec<_> = read.states.iter().flatten().collect();
        assert_eq!(states, vec![&numbers.map(|number| number as u32); count]);
    }
    for pss in [
        pss(0),
        pss(PERFORMANCE_MAX + 1),
        Integer(1),
        Package(vec![Integer(1)]),
        Package(vec![Package(integers(&numbers[..5]))]),
        Package(vec![Package(integers(&[1; 7]))]),
        Package(vec![Package(integers(&[1, 1, 1, 1, 1, 1 << 32]))]),
        Package(vec![Package(vec![Buffer(vec![]); 6])]),
    ] {
        assert_eq!(performance(&pct, &pss), None);
    }
    let control = || template(CONTROL);
    for pct in [
        Integer(0),
        Package(vec![control()]),
        Package(vec![control(), control(), control()]),
        Package(vec![control(), Integer(0)]),
        Package(vec![template(port(0xb2)), control()]),
        Package(vec![control(), template(port(0xb2))]),
    ] {
        assert_eq!(performance(&pct, &pss(1)), None);
    }
}

const AT: u64 = 0x1_4000_3000;

/// The DSDT of a successor with CPUs of these APIC IDs.
fn dsdt(cpus: &[u32], power: Option<&Power>) -> Vec<u8> {
    let mut memory = vec![0xa5; 0x1_0000];
    let machine = Machine {
        cpus: cpus.iter().copied(),
        decoy: 254,
        ioapic: 0x2_0800,
        sleep_register: 0x1_4000_2000,
        console: None,
        bridges: &[],
        power,
    };
    write(&mut memory, AT, &machine).unwrap();
    let at = memory
        .windows(4)
        .position(|bytes| bytes == b"DSDT")
        .unwrap();
    let len = u32::from_le_bytes(memory[at + 4..at + 8].try_into().unwrap());
    memory[at..at + len as usize].to_vec()
}

/// A number in the form that takes the least AML.
fn shortest(number: u32) -> String {
    match number {
        0 => "Zero".to_string(),
        1 => "One".to_string(),
        _ => number.to_string(),
    }
}

fn source(body: &str) -> String {
    format!(
        "DefinitionBlock (\"\", \"DSDT\", 2, \"MINT  \", \"MINTOS  \", 1) {{
            Name (\\_S5, Package () {{ 5, 5, Zero, Zero }})
            {body}
        }}"
    )
}

fn register(register: &Register) -> String {
    let Register {
        space,
        width,
        offset,
        access,
        address,
    } = *register;
    let space = match space {
        SYSTEM_IO => "SystemIO".to_string(),
        FIXED_HARDWARE => "FFixedHW".to_string(),
        other => panic!("{other}"),
    };
    format!(
        "ResourceTemplate () {{ Register ({space}, {width}, {offset}, {address:#x}, {access}) }}"
    )
}

#[test]
fn devices_are_as_iasl_compiles_them() {
    let mut power = Power::default();
    assert!(power.is_empty());
    assert_eq!(dsdt(&[1, 300], None), iasl_table("none", &source("")));

    let states = [
        IdleState {
            register: MWAIT,
            kind: 1,
            latency: 1,
            power: 0,
        },
        IdleState {
            register: port(0x414),
            kind: 2,
            latency: 800,
            power: 70_000,
        },
    ];
    power.idle[..2].copy_from_slice(&states.map(Some));
    let cst: Vec<_> = states
        .iter()
        .map(
            |IdleState {
                 register: by,
                 kind,
                 latency,
                 power,
             }| {
                {
                    let numbers = [u32::from(*kind), *latency, *power]
                        .map(shortest)
                        .join(", ");
                    format!("Package () {{ {}, {numbers} }}", register(by))
                }
            },
        )
        .collect();
    let cst = format!("Name (CSTS, Package () {{ 2, {} }})", cst.join(", "));
    let device = |name: &str, id: u32, methods: &str| {
        format!(
            "Device ({name}) {{
                Name (_HID, \"ACPI0007\")
                Name (_UID, {})
                {methods}
            }}",
            shortest(id)
        )
    };
    let method = |name: &str, value: &str| {
        format!("Method ({name}, 0, Serialized) {{ Return ({value}) }}\n")
    };
    let of_idle = method("_CST", "CSTS");
    let devices = |methods: &str| device("C000", 1, methods) + &device("C001", 300, methods);
    let body = format!("Scope (\\_SB) {{ {cst} {} }}", devices(&of_idle));
    compare("idle", &dsdt(&[1, 300], Some(&power)), &source(&body));

    let mut all = [None; PERFORMANCE_MAX];
    all[0] = Some([2450, 5000, 1, 1, 0, 0]);
    all[1] = Some([1500, 2000, 1, 1, 2, 2]);
    power.performance = Some(Performance {
        registers: [CONTROL, CONTROL],
        states: all,
    });
    let (pct, pss) = (
        format!("Name (PCTS, Package () {{ {0}, {0} }})", register(&CONTROL)),
        "Name (PSSS, Package () {
            Package () { 2450, 5000, One, One, Zero, Zero },
            Package () { 1500, 2000, One, One, 2, 2 } })",
    );
    let of_performance = method("_PCT", "PCTS") + &method("_PSS", "PSSS");
    let both = devices(&(of_idle + &of_performance));
    let body = format!("Scope (\\_SB) {{ {cst} {pct} {pss} {both} }}");
    compare("both", &dsdt(&[1, 300], Some(&power)), &source(&body));

    power.idle = [None; IDLE_MAX];
    let body = format!(
        "Scope (\\_SB) {{ {pct} {pss} {} }}",
        devices(&of_performance)
    );
    compare(
        "performance",
        &dsdt(&[1, 300], Some(&power)),
        &source(&body),
    );

    // As many as there can be.
    power.idle = [Some(states[1]); IDLE_MAX];
    power.performance = Some(Performance {
        registers: [CONTROL; 2],
        states: [all[0]; PERFORMANCE_MAX],
    });
    let cpus: Vec<_> = (0..254).collect();
    let table = dsdt(&cpus, Some(&power));
    let text = iasl::disassemble("most", &table);
    assert_eq!(text.matches("\"ACPI0007\"").count(), 254);
    assert_eq!(text.matches("Device (C0FD)").count(), 1);
    compare("again", &table, &text);
}

fn iasl_table(test: &str, source: &str) -> Vec<u8> {
    let mut table = iasl::compile(&format!("processor-{test}"), source);
    // Who made it, and the checksum.
    let ours = dsdt(&[1, 300], None);
    table[9..36].copy_from_slice(&ours[9..36]);
    table
}

fn compare(test: &str, table: &[u8], source: &str) {
    let test = format!("processor-{test}");
    iasl::assert_same(&iasl::compile(&test, source), table);
    // ACPICA finds nothing wrong with the values of the objects.
    let text = iasl::interpret(&test, table, &["evaluate \\_SB.C000._UID".to_string()]);
    assert!(text.contains("[Integer] ="), "{text}");
}
