// SPDX-License-Identifier: GPL-2.0

//! PCI functions by their addresses, and the units in which they can be given away.
//!
//! What hardware can keep apart is what lies below a bridge: it has a bus, or a range of buses, and
//! windows of addresses of its own. So whoever wants a function gets all that is on its bus and
//! below.

use core::fmt;

/// The address of a PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Its domain, which is a PCI segment group.
    pub domain: u16,
    /// Its bus.
    pub bus: u8,
    /// Its device number, below 32.
    pub device: u8,
    /// Its function number, below 8.
    pub function: u8,
}

impl Address {
    /// Parses `DDDD:BB:DD.F`, as the kernel names functions (`pci_setup_device()`,
    /// drivers/pci/probe.c), or without the domain, which is then 0.
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

/// A number of exactly `digits` hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u16> {
    // A sign would be taken as well.
    (text.len() == digits && text.bytes().all(|c| c.is_ascii_hexdigit()))
        .then(|| u16::from_str_radix(text, 16).ok())?
}

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A function.
    Function(Address),
    /// All that is on a bus, and below it.
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
    /// Where it is.
    pub address: Address,
    /// The highest bus that lies below the bridge to its own bus.
    pub last_bus: u8,
    /// What keeps it from being given away by itself, or at all.
    pub obstacle: Option<Obstacle>,
    /// Whether it is asked for.
    pub wanted: bool,
}

impl Function {
    /// The unit that it is part of.
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
    /// No bridge is between it and all else on its bus.
    OnRootBus,
    /// It is a virtual function.
    Virtual,
    /// It has no message-signalled interrupts.
    NoMsi,
}

/// All that lies below a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The domain.
    pub domain: u16,
    /// The bus that the bridge leads to.
    pub first_bus: u8,
    /// The highest bus below it.
    pub last_bus: u8,
}

impl Unit {
    /// Whether the function at `address` is part of it.
    pub fn has(&self, address: &Address) -> bool {
        self.domain == address.domain && (self.first_bus..=self.last_bus).contains(&address.bus)
    }

    /// Whether the bridge leads to the very bus that the function at `address` is on.
    pub fn is_above(&self, address: &Address) -> bool {
        (self.domain, self.first_bus) == (address.domain, address.bus)
    }

    /// Whether `other` lies in it.
    fn contains(&self, other: &Unit) -> bool {
        self.domain == other.domain
            && self.first_bus <= other.first_bus
            && other.last_bus <= self.last_bus
    }
}

/// Why what is asked for can't be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no such function, or nothing on that bus.
    NotThere(Request),
    /// A function can't be given.
    Obstacle(Address, Obstacle),
    /// [`missing`] has what must come along.
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
                    Obstacle::NoMsi => {
                        "it has neither MSI nor MSI-X, and other interrupts are the first OS's"
                    }
                })
            }
            Error::Incomplete => f.write_str("what is on a bus can only be given as a whole"),
        }
    }
}

/// Marks as wanted, among all `functions` of the machine, those that are asked for.
///
/// # Errors
///
/// [`Error`] tells why they can't be given.
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

/// The functions that must come along with those that are wanted.
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

/// The units that the wanted functions make up, none within another.
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
