// SPDX-License-Identifier: GPL-2.0

//! The files in /sys/kernel/mint, one value per file; see
//! Documentation/ABI/testing/sysfs-kernel-mint.

use crate::linux::errno::ENAMETOOLONG;
use crate::{
    cpu_offline::{self, CpuSet},
    disk::{
        contents::Contents,
        wanted::{self, Wanted, MAX_DISKS},
    },
    ena::counters::{Counters, Traffic},
    firmware::credentials,
    image::layout::RANGE_ALIGN,
    linux::{
        kobject::{Announcer, Attribute, BinaryAttribute, Directory, Node, Text},
        log::Shown,
    },
    machine::{preconditions, Machine},
    memory::memmap,
    network::{self, wanted::NO_END},
    os_instance::{config::Initrd, identity::Identity, Os},
    pci::{self, unit::Request},
};
use core::fmt::Write;
use kernel::{
    bindings,
    cpu::nr_cpu_ids,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{Arc, Mutex}, //
};

/// Maximum length of an OS's name in bytes.
const NAME_MAX: usize = 31;
/// Maximum length of a path in bytes, with its terminating zero: sysfs must be able to show the
/// path.
const PATH_MAX: usize = bindings::PATH_MAX as usize - 1;
/// Maximum length of a serial number in bytes.
const SERIAL_NUMBER_MAX: usize = 255;
/// The value of `initrd` for an OS that gets none, not even the one in the kernel's file.
const NO_INITRD: &[u8] = b"none";

/// /sys/kernel/mint: all OSes, and the resources that they share.
#[pin_data]
pub(crate) struct Root {
    machine: Arc<Machine>,
    #[pin]
    list: Mutex<List>,
}

struct List {
    /// Set when the module is unloaded: no OS can be added any more.
    closed: bool,
    oses: KVec<Entry>,
}

struct Entry {
    os: Arc<Os>,
    /// The OS's directory; none while it is being removed.
    node: Option<Pin<KBox<Node<Arc<Os>>>>>,
}

impl Root {
    /// Makes an empty list of OSes, for `machine`.
    pub(crate) fn new(machine: Arc<Machine>) -> impl PinInit<Self> {
        pin_init!(Root {
            machine,
            list <- new_mutex!(List {
                closed: false,
                oses: KVec::new(),
            }),
        })
    }

    /// Removes all OSes, and refuses new ones. No OS has CPUs: an OS that has CPUs holds a
    /// reference to the module.
    pub(crate) fn close(&self) {
        let oses = {
            let mut list = self.list.lock();
            list.closed = true;
            core::mem::replace(&mut list.oses, KVec::new())
        };
        // Outside the lock: removing an OS waits for the users of its files, who may wait for the
        // lock.
        for Entry { os, .. } in &oses {
            // Fails if a write to the file `remove` removes the OS at the same time, which is fine.
            let _ = os.remove();
        }
        drop(oses);
    }
}

impl Directory for Root {
    const ATTRIBUTES: &'static [Attribute<Self>] = {
        static ATTRIBUTES: [Attribute<Root>; 5] = [
            Attribute::read_only(c"memory_total", |root, text| {
                number(text, root.machine.pool.total())
            }),
            Attribute::read_only(c"memory_free", |root, text| {
                number(text, root.machine.pool.free())
            }),
            Attribute::read_only(c"low_memory_free", |root, text| {
                number(text, root.machine.pool.free_low())
            }),
            Attribute::write_only(c"remove", remove),
            // Last: all other files exist when the first OS is added.
            Attribute::write_only(c"add", add),
        ];
        &ATTRIBUTES
    };

    fn check_access() -> Result {
        check_access()
    }
}

impl Directory for Arc<Os> {
    const ATTRIBUTES: &'static [Attribute<Self>] = {
        static ATTRIBUTES: [Attribute<Arc<Os>>; 21] = [
            Attribute::read_only(c"state", |os, text| text.push(os.state().name().as_bytes())),
            Attribute::read_write(c"cpus", show_cpus, store_cpus),
            Attribute::read_write(c"memory", show_memory, store_memory),
            Attribute::read_write(c"kernel", show_kernel, store_kernel),
            Attribute::read_write(c"initrd", show_initrd, store_initrd),
            Attribute::read_write(c"cmdline", show_cmdline, store_cmdline),
            Attribute::read_write(c"console", show_console, store_console),
            Attribute::read_write(c"devices", show_devices, store_devices),
            Attribute::read_write(c"disks", show_disks, store_disks),
            Attribute::read_write(c"serial_number", show_serial_number, store_serial_number),
            Attribute::read_only(c"disk_stats", |os, text| {
                os.with_disks(|disks| show_statistics(disks, text))
            }),
            Attribute::read_write(c"network", show_network, store_network),
            Attribute::read_only(c"network_stats", show_network_stats),
            Attribute::read_only(c"command_line", |os, text| {
                os.with_command_line(|line| text.push(line.to_bytes()))
            }),
            Attribute::read_only(c"timing", |os, text| {
                os.with_timing(|timing| write!(text, "{timing}").map_err(|_| E2BIG))
            }),
            Attribute::read_write(c"recovery", show_recovery, store_recovery),
            Attribute::read_only(c"restarts", |os, text| number(text, os.restarts())),
            Attribute::write_only(c"stop", |os, value| commanded(os, value, Os::stop)),
            Attribute::write_only(c"restart", |os, value| commanded(os, value, Os::restart)),
            Attribute::write_only(c"start", |os, value| commanded(os, value, Os::start)),
            // Last: all other files exist when the OS gets resources.
            Attribute::write_only(c"load", |os, value| commanded(os, value, Os::load)),
        ];
        &ATTRIBUTES
    };

    const BINARY_ATTRIBUTES: &'static [BinaryAttribute<Self>] = {
        static ATTRIBUTES: [BinaryAttribute<Arc<Os>>; 3] = [
            // Binary, since it may be longer than a page.
            BinaryAttribute::read_write(c"credentials", read_credentials, write_credentials),
            BinaryAttribute::read_only(c"dmesg", |os, offset, out| os.read_log(offset, out)),
            BinaryAttribute::read_only(c"vmcore", |os, offset, out| os.read_core(offset, out)),
        ];
        &ATTRIBUTES
    };

    fn check_access() -> Result {
        check_access()
    }
}

/// Checks that the caller has CAP_SYS_BOOT. Only root can open the files; but a root without this
/// capability could not start a kernel by kexec either.
fn check_access() -> Result {
    if preconditions::capable_sys_boot() {
        Ok(())
    } else {
        Err(EPERM)
    }
}

fn number(text: &mut Text<'_>, value: u64) -> Result {
    write!(text, "{value}").map_err(|_| E2BIG)
}

fn add(root: &Node<Root>, name: &CStr) -> Result {
    check_name(name)?;
    let mut list = root.list.lock();
    if list.closed {
        return Err(ENODEV);
    }
    let taken = list.oses.iter().any(|entry| **entry.os.name() == *name)
        || Root::ATTRIBUTES.iter().any(|file| file.name() == name);
    if taken {
        pr_err!("there is '{}' already: choose another name\n", name);
        return Err(EEXIST);
    }
    let announcer = Arc::pin_init(Announcer::new(), GFP_KERNEL)?;
    let os = Os::new(
        CString::try_from(name)?,
        root.machine.clone(),
        announcer.clone(),
    )?;
    let os = Arc::pin_init(os, GFP_KERNEL)?;
    // Reserve before making the directory: once it exists the OS may be used.
    list.oses.reserve(1, GFP_KERNEL)?;
    // SAFETY: The list owns the nodes of all OSes, and `close()` empties it before the root is
    // dropped.
    let node = unsafe { root.child(name, announcer, os.clone()) }?;
    let node = Some(node);
    list.oses.push(Entry { os, node }, GFP_KERNEL)?;
    Ok(())
}

fn remove(root: &Node<Root>, name: &CStr) -> Result {
    let os = {
        let list = root.list.lock();
        let Some(entry) = list.oses.iter().find(|entry| **entry.os.name() == *name) else {
            pr_err!("there is no OS '{}' to remove\n", name);
            return Err(ENOENT);
        };
        entry.os.clone()
    };
    // Outside the lock of the list: this waits for the OS's current action.
    os.remove()?;
    let is_it = |entry: &Entry| Arc::ptr_eq(&entry.os, &os);
    let node = {
        let mut list = root.list.lock();
        let entry = list.oses.iter_mut().find(|entry| is_it(entry));
        entry.and_then(|entry| entry.node.take())
    };
    // Outside the lock too, as in `close()`. The name stays taken until the directory is gone.
    drop(node);
    root.list.lock().oses.retain(|entry| !is_it(entry));
    Ok(())
}

fn check_name(name: &CStr) -> Result {
    let bytes = name.to_bytes();
    let plain = |c: &u8| c.is_ascii_alphanumeric() || b"-_.".contains(c);
    if (1..=NAME_MAX).contains(&bytes.len()) && bytes.iter().all(plain) && bytes[0] != b'.' {
        return Ok(());
    }
    pr_err!(
        "'{}' is no name for an OS: use up to {} letters, digits, '-', '_' and '.', not '.' first\n",
        name,
        NAME_MAX
    );
    Err(EINVAL)
}

fn show_cpus(os: &Node<Arc<Os>>, text: &mut Text<'_>) -> Result {
    os.with_config(|config, _| {
        if let Some(cpus) = &config.cpus {
            text.push_with(|buffer| cpus.print(buffer));
        }
        Ok(())
    })
}

fn store_cpus(os: &Node<Arc<Os>>, value: &CStr) -> Result {
    let cpus = CpuSet::parse(value).inspect_err(|_| {
        pr_err!(
            "{}: cpus takes a list such as 2-3,6, of CPUs below {}\n",
            &**os.name(),
            nr_cpu_ids()
        );
    })?;
    for cpu in cpus.iter() {
        cpu_offline::check(cpu, os.name())?;
    }
    os.configure(|config| {
        config.cpus = (!cpus.is_empty()).then_some(cpus);
        Ok(())
    })
}

fn show_memory(os: &Node<Arc<Os>>, text: &mut Text<'_>) -> Result {
    os.with_config(|config, memory| {
        let Some(request) = config.memory else {
            return Ok(());
        };
        let (size, unit) = match request.size {
            size if size % (1 << 30) == 0 => (size >> 30, 'G'),
            size => (size >> 20, 'M'),
        };
        write!(text, "{size}{unit}").map_err(|_| E2BIG)?;
        match memory.map(|range| range.start()).or(request.address) {
            Some(address) => write!(text, "@{address:#x}").map_err(|_| E2BIG),
            None => Ok(()),
        }
    })
}

fn store_memory(os: &Node<Arc<Os>>, value: &CStr) -> Result {
    let text = value.to_str().map_err(|_| EINVAL)?;
    let request = memmap::parse_request(text).filter(|request| {
        request.size % RANGE_ALIGN == 0 && request.address.unwrap_or(0) % RANGE_ALIGN == 0
    });
    if request.is_none() && !text.is_empty() {
        pr_err!(
            "{}: memory takes SIZE or SIZE@ADDRESS, multiples of 2 MiB, such as 256M or 1G@0x100000000\n",
            &**os.name()
        );
        return Err(EINVAL);
    }
    os.configure(|config| {
        config.memory = request;
        Ok(())
    })
}

fn show_kernel(os: &Node<Arc<Os>>, text: &mut Text<'_>) -> Result {
    os.with_config(|config, _| match &config.kernel {
        Some(path) => text.push(path.to_bytes()),
        None => Ok(()),
    })
}

fn store_kernel(os: &Node<Arc<Os>>, value: &CStr) -> Result {
    let kernel = match value.to_bytes() {
        [] => None,
        _ => Some(absolute_path(os, value)?),
    };
    os.configure(|config| {
        config.kernel = kernel;
        Ok(())
    })
}

fn show_initrd(os: &Node<Arc<Os>>, text: &mut Text<'_>) -> Result {
    os.with_config(|config, _| match &config.initrd {
        Initrd::OfKernel => Ok(()),
        Initrd::None => text.push(NO_INITRD),
        Initrd::File(path) => text.push(path.to_bytes()),
    })
}

fn store_initrd(os: &Node<Arc<Os>>, value: &CStr) -> Result {
    let initrd = match value.to_bytes() {
        [] => Initrd::OfKernel,
        NO_INITRD => Initrd::None,
        _ => Initrd::File(absolute_path(os, value)?),
    };
    os.configure(|config| {
        config.initrd = initrd;
        Ok(())
    })
}

fn absolute_path(os: &Node<Arc<Os>>, value: &CStr) -> Result<CString> {
    match value.to_bytes() {
        [b'/', rest @ ..] if rest.len() >= PATH_MAX - 1 => {
            pr_err!("{}: the path is too long\n", &**os.name());
            Err(ENAMETOOLONG.into())
        }
        [b'/', ..] => Ok(CString::try_from(value)?),
        _ => {
            pr_err!("{}: '{}' is not an absolute path\n", &**os.name(), value);
            Err(EINVAL)
        }
    }
}

fn show_cmdline(os: &Node<Arc<Os>>, text: &mut Text<'_>) -> Result {
    os.with_config(|config, _| text.push(config.cmdline.to_bytes()))
}

fn store_cmdline(os: &Node<Arc<Os>>, value: &CStr) -> Result {
    if value.to_bytes().len() >= preconditions::COMMAND_LINE_SIZE {
        pr_err!(
            "{}: cmdline is longer than {} bytes\n",
            &**os.name(),
            preconditions::COMMAND_LINE_SIZE - 1
        );
        return Err(E2BIG);
    }
    let printable = |c: &u8| c.is_ascii_graphic() || *c == b' ' || *c == b'\t';
    if !value.to_bytes().iter().all(printable) {
        pr_err!("{}: cmdline takes one line of ASCII text\n", &**os.name());
        return Err(EINVAL);
    }
    let line = CString::try_from(value)?;
    os.configure(|config| {
        config.cmdline = line;
        Ok(())
    })
}

fn show_console(os: &Node<Arc<Os>>, text: &mut Text<'_>) -> Result {
    os.with_config(|config, _| match config.console {
        Some(port) => write!(text, "{port:#x}").map_err(|_| E2BIG),
        None => Ok(()),
    })
}

fn store_console(os: &Node<Arc<Os>>, value: &CStr) -> Result {
    let text = value.to_str().map_err(|_| EINVAL)?;
    let console = text
        .strip_prefix("0x")
        .and_then(|digits| u16::from_str_radix(digits, 16).ok())
        // A UART decodes eight ports, aligned to a multiple of eight.
        .filter(|port| *port != 0 && port % 8 == 0);
    if console.is_none() && !text.is_empty() {
        pr_err!(
            "{}: console takes the I/O port of a serial port, such as 0x2f8\n",
            &**os.name()
        );
        return Err(EINVAL);
    }
    os.configure(|config| {
        config.console = console;
        Ok(())
    })
}

fn show_devices(os: &Node<Arc<Os>>, text: &mut Text<'_>) -> Result {
    os.with_config(|config, _| {
        for (index, request) in config.devices.iter().enumerate() {
            let space = if index > 0 { " " } else { "" };
            write!(text, "{space}{request}").map_err(|_| E2BIG)?;
        }
        Ok(())
    })
}

fn store_devices(os: &Node<Arc<Os>>, value: &CStr) -> Result {
    let text = value.to_str().map_err(|_| EINVAL)?;
    let mut devices = KVec::new();
    for word in text.split([' ', '\t']).filter(|word| !word.is_empty()) {
        let request = Request::parse(word).ok_or_else(|| {
            pr_err!(
                "{}: devices takes PCI functions such as 0000:01:00.0, or buses such as 0000:01, with spaces between\n",
                &**os.name()
            );
            EINVAL
        })?;
        devices.push(request, GFP_KERNEL)?;
    }
    pci::devices::check(&devices, os.name())?;
    os.configure(|config| {
        config.devices = devices;
        Ok(())
    })
}

fn show_disks(os: &Node<Arc<Os>>, text: &mut Text<'_>) -> Result {
    os.with_config(|config, _| text.push(config.disks.to_bytes()))
}

fn store_disks(os: &Node<Arc<Os>>, value: &CStr) -> Result {
    let wanted = wanted::each(value.to_str().map_err(|_| EINVAL)?);
    if wanted.clone().any(|disk| disk.is_none()) {
        pr_err!(
            "{}: disks takes absolute paths of files or block devices, with spaces between, and ':ro' behind one that can only be read\n",
            &**os.name()
        );
        return Err(EINVAL);
    }
    if wanted.clone().count() > MAX_DISKS {
        pr_err!("{}: an OS has up to {} disks\n", &**os.name(), MAX_DISKS);
        return Err(E2BIG);
    }
    let is_twice = |(index, disk): (usize, Option<Wanted<'_>>)| {
        wanted
            .clone()
            .take(index)
            .flatten()
            .any(|other| disk.is_some_and(|disk| disk.path == other.path))
    };
    if wanted.clone().enumerate().any(is_twice) {
        pr_err!("{}: a path is there twice among its disks\n", &**os.name());
        return Err(EINVAL);
    }
    let disks = CString::try_from(value)?;
    os.configure(|config| {
        config.disks = disks;
        Ok(())
    })
}

fn show_serial_number(os: &Node<Arc<Os>>, text: &mut Text<'_>) -> Result {
    os.with_config(|config, _| {
        let identity = Identity::of(config, os.name())?;
        text.push(identity.serial_number.to_bytes())
    })
}

fn store_serial_number(os: &Node<Arc<Os>>, value: &CStr) -> Result {
    let bytes = value.to_bytes();
    let printable = |c: &u8| c.is_ascii_graphic() || *c == b' ';
    if bytes.len() > SERIAL_NUMBER_MAX || !bytes.iter().all(printable) {
        pr_err!(
            "{}: serial_number takes up to {} printable ASCII characters\n",
            &**os.name(),
            SERIAL_NUMBER_MAX
        );
        return Err(EINVAL);
    }
    let serial_number = CString::try_from(value)?;
    os.configure(|config| {
        config.serial_number = serial_number;
        Ok(())
    })
}

fn read_credentials(os: &Node<Arc<Os>>, offset: u64, out: &mut [u8]) -> Result<usize> {
    os.with_config(|config, _| {
        let rest = config.credentials.bytes().get(usize::try_from(offset)?..);
        let rest = rest.unwrap_or(&[]);
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    })
}

/// Replaces what follows `offset` by `bytes`. A long value comes in several writes of a page, so that the
/// last line may not be whole: it is checked at load.
fn write_credentials(os: &Node<Arc<Os>>, offset: u64, bytes: &[u8]) -> Result {
    os.configure(|config| {
        let new = config
            .credentials
            .written(usize::try_from(offset)?, bytes)?;
        let text = new.bytes();
        if text.len() > credentials::MAX_LEN {
            pr_err!(
                "{}: credentials are longer than {} bytes\n",
                &**os.name(),
                credentials::MAX_LEN
            );
            return Err(E2BIG);
        }
        let whole = text.iter().rposition(|&byte| byte == b'\n');
        credentials::check(&text[..whole.unwrap_or(0)]).map_err(|error| {
            pr_err!("{}: {}\n", &**os.name(), Shown(error));
            EINVAL
        })?;
        config.credentials = new;
        Ok(())
    })
}

/// Writes a line for each of `disks`.
fn show_statistics(disks: &[Arc<Contents>], text: &mut Text<'_>) -> Result {
    for (index, disk) in disks.iter().enumerate() {
        let newline = if index > 0 { "\n" } else { "" };
        let path = disk.path().to_str().map_err(|_| EINVAL)?;
        let (statistics, in_flight) = disk.statistics();
        let shown = statistics.with_in_flight(in_flight);
        write!(text, "{newline}{path} {shown}").map_err(|_| E2BIG)?;
    }
    Ok(())
}

fn show_network(os: &Node<Arc<Os>>, text: &mut Text<'_>) -> Result {
    let Some(plug) = os.network() else {
        return Ok(());
    };
    let tap = plug.tap();
    text.push(tap.as_ref().map_or(NO_END.as_bytes(), |tap| tap.name()))?;
    write!(text, " {}", plug.mac()).map_err(|_| E2BIG)
}

fn store_network(os: &Node<Arc<Os>>, value: &CStr) -> Result {
    if value.is_empty() {
        return os.set_network(None);
    }
    let wanted = value.to_str().ok().and_then(network::wanted::Wanted::parse);
    let wanted = wanted.ok_or_else(|| {
        pr_err!(
            "{}: network takes the name of a TAP interface, the number of a file attached to one, or none; then a MAC address, if wanted\n",
            &**os.name()
        );
        EINVAL
    })?;
    os.set_network(Some(wanted))
}

/// Writes the counters as the OS sees them: received bytes, packets, errors and drops, then those sent.
fn show_network_stats(os: &Node<Arc<Os>>, text: &mut Text<'_>) -> Result {
    let Some(plug) = os.network() else {
        return Ok(());
    };
    let Counters {
        receive, transmit, ..
    } = plug.counters();
    for (separator, traffic) in [("", receive), (" ", transmit)] {
        let Traffic {
            frames,
            bytes,
            drops,
            errors,
        } = traffic;
        write!(text, "{separator}{bytes} {frames} {errors} {drops}").map_err(|_| E2BIG)?;
    }
    Ok(())
}

fn show_recovery(os: &Node<Arc<Os>>, text: &mut Text<'_>) -> Result {
    text.push(if os.recovery() {
        b"enabled"
    } else {
        b"disabled"
    })
}

fn store_recovery(os: &Node<Arc<Os>>, value: &CStr) -> Result {
    let recovery = match value.to_bytes() {
        b"enabled" => true,
        b"disabled" => false,
        _ => {
            pr_err!("{}: recovery takes enabled or disabled\n", &**os.name());
            return Err(EINVAL);
        }
    };
    os.set_recovery(recovery)
}

/// Calls `action` if `value` is 1.
fn commanded(os: &Arc<Os>, value: &CStr, action: fn(&Arc<Os>) -> Result) -> Result {
    if value.to_bytes() != b"1" {
        pr_err!("{}: write 1\n", &**os.name());
        return Err(EINVAL);
    }
    action(os)
}
