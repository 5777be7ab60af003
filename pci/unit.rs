// SPDX-License-Identifier: GPL-2.0

//! The addresses of PCI functions, and the units in which functions can be given away.
//!
//! Hardware can keep apart what lies below different bridges: a bridge has a bus, or a range of
//! buses, and address windows of its own. So an OS that gets a function must get all functions on
//! its bus and below.

use core::fmt;

/// The address of a PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The domain, which is a PCI segment group.
    pub domain: u16,
    /// The bus number.
    pub bus: u8,
    /// The device number, below 32.
    pub device: u8,
    /// The function number, below 8.
    pub function: u8,
}

impl Address {
    /// Parses `DDDD:BB:DD.F`, as the kernel names functions (`pci_setup_device()`,
    /// drivers/pci/probe.c). The domain may be left out, and is 0 then.
    pub fn parse(text: &str) -> Option<Self> {
        let (place, function) = text.split_once('.')?;
        let (place, device) = place.rsplit_once(':')?;
        let (domain, bus) = place.split_once(':').unwrap_or(("0000", place));
        let address = Address {
            domain: hex(domain, 4)?,
            bus: hex(bus, 2)? as u8,
            device: hex(device, 2)? as u8,
            function: hex(function, 1)? as u8,
        };
        (address.device < 32 && address.function < 8).then_some(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address {
            domain,
            bus,
            device,
            function,
        } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

/// Parses a number of exactly `digits` hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u16> {
    // `from_str_radix()` would also accept a sign.
    (text.len() == digits && text.bytes().all(|c| c.is_ascii_hexdigit()))
        .then(|| u16::from_str_radix(text, 16).ok())?
}

/// A line of an OS's `devices` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A single function.
    Function(Address),
    /// All functions on a bus and below.
    Bus {
        /// The domain.
        domain: u16,
        /// The bus.
        bus: u8,
    },
}

impl Request {
    /// Parses the address of a function, or `DDDD:BB` for a bus.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(address) = Address::parse(text) {
            return Some(Request::Function(address));
        }
        let (domain, bus) = text.split_once(':')?;
        Some(Request::Bus {
            domain: hex(domain, 4)?,
            bus: hex(bus, 2)? as u8,
        })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Function(address) => write!(f, "{address}"),
            Request::Bus { domain, bus } => write!(f, "{domain:04x}:{bus:02x}"),
        }
    }
}

/// A function of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The address of the function.
    pub address: Address,
    /// The highest bus below the bridge to its own bus.
    pub last_bus: u8,
    /// The reason why the function can't be given away by itself, or at all.
    pub obstacle: Option<Obstacle>,
    /// Whether the OS asks for this function.
    pub wanted: bool,
}

impl Function {
    /// Returns the unit of this function: all that is on its bus and below.
    fn unit(&self) -> Unit {
        Unit {
            domain: self.address.domain,
            first_bus: self.address.bus,
            last_bus: self.last_bus,
        }
    }
}

/// Why a function can't be given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It is on a root bus: no bridge separates it from other devices.
    OnRootBus,
    /// It is a virtual function.
    Virtual,
    /// It is CXL memory, which may be the first OS's RAM.
    Memory,
    /// It has no message-signalled interrupts.
    NoMsi,
}

/// A range of buses below a bridge, the smallest unit that can be given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The domain.
    pub domain: u16,
    /// The bridge's secondary bus.
    pub first_bus: u8,
    /// The bridge's subordinate bus, the highest one below it.
    pub last_bus: u8,
}

impl Unit {
    /// Returns whether the function at `address` is in this unit.
    pub fn has(&self, address: &Address) -> bool {
        self.domain == address.domain && (self.first_bus..=self.last_bus).contains(&address.bus)
    }

    /// Returns whether the function at `address` is on the bridge's secondary bus.
    pub fn is_above(&self, address: &Address) -> bool {
        (self.domain, self.first_bus) == (address.domain, address.bus)
    }

    /// Returns whether `other` lies within this unit.
    fn contains(&self, other: &Unit) -> bool {
        self.domain == other.domain
            && self.first_bus <= other.first_bus
            && other.last_bus <= self.last_bus
    }
}

/// Why an OS can't have the functions that it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The function does not exist, or nothing is on that bus.
    NotThere(Request),
    /// This function can't be given away.
    Obstacle(Address, Obstacle),
    /// A unit is not complete; [`missing`] lists the functions that must be added.
    Incomplete,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotThere(request) => write!(f, "there is no {request}: see lspci -D"),
            Error::Obstacle(address, obstacle) => {
                write!(f, "{address} can't be given away: ")?;
                f.write_str(match obstacle {
                    Obstacle::OnRootBus => {
                        "it is on a root bus, where nothing keeps it apart from the first OS's devices; choose one below a root port"
                    }
                    Obstacle::Virtual => {
                        "it is a virtual function; write 0 to sriov_numvfs of its physical function first"
                    }
                    Obstacle::Memory => {
                        "it is CXL memory, which the first OS may use whether it has a driver for it or not"
                    }
                    Obstacle::NoMsi => {
                        "it has neither MSI nor MSI-X, and other interrupts are the first OS's"
                    }
                })
            }
            Error::Incomplete => f.write_str("what is on a bus can only be given as a whole"),
        }
    }
}

/// Sets `wanted` in all `functions` of the machine: true for those that `requests` ask for.
///
/// # Errors
///
/// Returns the reason why they can't be given away; see [`Error`].
pub fn select(functions: &mut [Function], requests: &[Request]) -> Result<(), Error> {
    for function in functions.iter_mut() {
        function.wanted = false;
    }
    for request in requests {
        let found = functions.iter().find(|function| match *request {
            Request::Function(address) => function.address == address,
            Request::Bus { domain, bus } => {
                (function.address.domain, function.address.bus) == (domain, bus)
            }
        });
        let unit = found.ok_or(Error::NotThere(*request))?.unit();
        for function in functions.iter_mut() {
            function.wanted |= match *request {
                Request::Function(address) => function.address == address,
                Request::Bus { .. } => unit.has(&function.address),
            };
        }
    }
    let hindered = functions
        .iter()
        .filter(|function| function.wanted)
        .find_map(|function| Some((function.address, function.obstacle?)));
    if let Some((address, obstacle)) = hindered {
        return Err(Error::Obstacle(address, obstacle));
    }
    match missing(functions).next() {
        Some(_) => Err(Error::Incomplete),
        None => Ok(()),
    }
}

/// Returns the functions that must be given away along with the wanted ones.
pub fn missing(functions: &[Function]) -> impl Iterator<Item = Address> + '_ {
    let needed = |function: &&Function| {
        !function.wanted
            && functions
                .iter()
                .any(|wanted| wanted.wanted && wanted.unit().has(&function.address))
    };
    functions
        .iter()
        .filter(needed)
        .map(|function| function.address)
}

/// Returns the units of the wanted functions, without those within another.
pub fn units(functions: &[Function]) -> impl Iterator<Item = Unit> + '_ {
    let wanted = || functions.iter().filter(|function| function.wanted);
    functions
        .iter()
        .enumerate()
        .filter(|(_, function)| function.wanted)
        .map(|(index, function)| (index, function.unit()))
        .filter(move |(index, unit)| {
            let is_within_another =
                wanted().any(|other| other.unit() != *unit && other.unit().contains(unit));
            let is_first = functions[..*index]
                .iter()
                .all(|before| !before.wanted || before.unit() != *unit);
            !is_within_another && is_first
        })
        .map(|(_, unit)| unit)
}
