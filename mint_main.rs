// SPDX-License-Identifier: GPL-2.0

//! Mint: several independent Linux systems on one machine, without virtualization.
//!
//! Data flows one way: sysfs -> OS instance -> load -> firmware tables -> start. See
//! Documentation/architecture.rst.

use kernel::{
    prelude::*,
    sync::Arc, //
};

// Pure: no kernel code, and tested on the host (tools/testing/unit). In some folders, files marked
// with `cfg(MODULE)` are for the kernel only.
pub mod disk;
pub mod ena;
pub mod firmware;
pub mod image;
pub mod memory;
pub mod memory_device;
pub mod network;
pub mod nvme;
pub mod pci;
pub mod polling;
pub mod postmortem;
pub mod state;

// These run in the kernel only.
mod cpu_group;
mod cpu_offline;
mod linux;
mod load;
mod machine;
mod mem_reserve;
mod mint_kexec;
mod os_instance;
mod start;
mod sysfs;
mod watch;

use crate::{
    cpu_offline::Hotplug,
    linux::{kernel_mount::KernelMount, kobject::Node},
    machine::{first_os_events::FirstOsEvents, preconditions, Machine},
    mem_reserve::Pool,
    memory::memmap::{self, Range},
    sysfs::Root,
};

module! {
    type: Mint,
    name: "mint",
    authors: ["The Mint developers"],
    description: "Several independent Linux systems on one machine, without virtualization",
    license: "GPL",
    params: {
        pool_start: u64 {
            default: 0,
            description: "Address of the memory for successors (default: what memmap= reserved)",
        },
        pool_size: u64 {
            default: 0,
            description: "Size of the memory for successors in bytes",
        },
        low_start: u64 {
            default: 0,
            description: "Address of the memory for trampolines, below 640 KiB (default: what memmap= reserved)",
        },
        low_size: u64 {
            default: 0,
            description: "Size of the memory for trampolines in bytes",
        },
    },
}

/// The objects that live as long as the module, dropped in this order.
struct Mint {
    root: Pin<KBox<Node<Root>>>,
    _events: Pin<KBox<FirstOsEvents>>,
    _driver: pci::claims::Driver,
    _hotplug: Hotplug,
}

impl kernel::Module for Mint {
    fn init(module: &'static ThisModule) -> Result<Self> {
        // With a bootconfig, the command line is longer than a boot loader can pass.
        let mut buffer = KVec::from_elem(0u8, 16 * preconditions::COMMAND_LINE_SIZE, GFP_KERNEL)?;
        let cmdline = KernelMount::procfs()
            .and_then(|procfs| procfs.read_text(c"cmdline", &mut buffer))
            .inspect_err(|error| {
                pr_err!(
                    "can't read the kernel's command line (error {}): load mint from a process that no security policy confines\n",
                    error.to_errno()
                )
            })?;
        preconditions::check_machine(cmdline)?;

        let pool = claim_pool(cmdline)?;
        let machine = Arc::new(Machine::new(module, pool)?, GFP_KERNEL)?;
        pr_info!(
            "{} MiB and {} KiB of low memory for successors\n",
            machine.pool.total() >> 20,
            machine.pool.free_low() >> 10
        );
        let hotplug = Hotplug::register()?;
        let driver = pci::claims::Driver::register(module)?;
        let events = KBox::pin_init(FirstOsEvents::watch(machine.clone()), GFP_KERNEL)?;
        Ok(Mint {
            root: Node::in_kernel(c"mint", Root::new(machine))?,
            _events: events,
            _driver: driver,
            _hotplug: hotplug,
        })
    }
}

impl Drop for Mint {
    fn drop(&mut self) {
        self.root.close();
    }
}

/// Claims the memory that the module's parameters name, or else the memory that `memmap=` reserved
/// on `cmdline`.
fn claim_pool(cmdline: &str) -> Result<Pool> {
    use linux::module_params::number;
    use module_parameters::{low_size, low_start, pool_size, pool_start};
    if number(pool_size.value()) == 0 && number(low_size.value()) == 0 {
        return Pool::claim(memmap::reserved(cmdline));
    }
    let pool = Range::new(number(pool_start.value()), number(pool_size.value()));
    let low = Range::new(number(low_start.value()), number(low_size.value()));
    Pool::claim([pool, low].into_iter().flatten())
}
