// SPDX-License-Identifier: GPL-2.0

//! Identify, Base 5.15.

use crate::memory_device::access::{OutOfReach, SystemMemory};
use crate::nvme::answer::Answer;
use crate::nvme::disk::{Disk, NAMESPACE};
use crate::nvme::events;
use crate::nvme::log_page::ERROR_ENTRIES;
use crate::nvme::prp::{MAX_LEN, MDTS};
use crate::nvme::registers::{PAGE_LEN, VERSION};
use crate::nvme::status::{self, Status};

/// The length of each data structure.
pub const IDENTIFY_LEN: u32 = 4096;

/// WCTEMP and CCTEMP in Kelvins; Base 5.15.2.2 wants 0157h at least for the former. The disk has no
/// sensor.
pub const WARNING_TEMPERATURE: u16 = 0x157;
const CRITICAL_TEMPERATURE: u16 = 0x161;

// Base 5.15.2.2.
/// RTD3E in microseconds: how long a shutdown may take. Linux waits that long
/// (`nvme_init_identify()`), and 5 seconds if told nothing.
const RTD3E: u32 = 30_000_000;
/// CNTRLTYPE: I/O controller.
const IO_CONTROLLER: u8 = 1;
/// OACS: Doorbell Buffer Config.
const OACS_DOORBELL_BUFFER: u16 = 1 << 8;
/// FRMW: one firmware slot, read-only.
const ONE_READ_ONLY_SLOT: u8 = (1 << 1) | 1;
/// LPA: Commands Supported and Effects; log pages can be read in parts.
const LPA: u8 = (1 << 1) | (1 << 2);
/// SQES: the highest and the lowest size of a submission queue entry, 2^6.
const SQES: u8 = 0x66;
/// CQES: the same for completion queue entries, 2^4.
const CQES: u8 = 0x44;
/// ONCS: Dataset Management.
const ONCS_DATASET_MANAGEMENT: u16 = 1 << 2;
/// ONCS: Write Zeroes.
const ONCS_WRITE_ZEROES: u16 = 1 << 3;
/// ONCS: the fields Save and Select of Set and Get Features.
const ONCS_SAVE_SELECT: u16 = 1 << 4;
/// VWC: there is a volatile write cache, and Flush takes the namespace ID for all.
const VWC: u8 = 0b111;

// Base 5.15.2.1.
/// NSFEAT: NPWG, NPWA, NPDG, NPDA and NOWS are given (OPTPERF).
const NSFEAT_OPTPERF: u8 = 1 << 4;
/// DLFEAT: deallocated blocks read as zeros.
const DLFEAT_ZEROES: u8 = 1;
/// DLFEAT: Write Zeroes may deallocate.
const DLFEAT_WRITE_ZEROES: u8 = 1 << 3;
/// NSATTR: write protected.
const NSATTR_WRITE_PROTECTED: u8 = 1;
/// Base 5.15.2.4: a Namespace Identification Descriptor's type for a UUID.
const NIDT_UUID: u8 = 3;

/// Writes the data structure of CNS value `cns`.
pub(super) fn identify(
    answer: &Answer<'_, impl SystemMemory>,
    disk: &Disk,
    cns: u8,
    namespace: u32,
) -> Result<(), Status> {
    let is_ours = namespace == NAMESPACE;
    // Base 5.15.1.
    let written = match cns {
        0x00 | 0x03 if !is_ours => return Err(status::INVALID_NAMESPACE),
        0x00 => namespace_data(answer, disk),
        0x01 => controller(answer, disk),
        0x02 => match namespace {
            // The namespaces above.
            0 => answer.put(0, &NAMESPACE.to_le_bytes()),
            0xffff_fffe.. => return Err(status::INVALID_NAMESPACE),
            _ => Ok(()),
        },
        0x03 => answer
            .put(0, &[NIDT_UUID, disk.uuid.len() as u8])
            .and_then(|()| answer.put(4, &disk.uuid)),
        _ => return Err(status::INVALID_FIELD),
    };
    written.map_err(|OutOfReach| status::DATA_TRANSFER_ERROR)
}

/// Base 5.15.2.2, Identify Controller Data Structure.
fn controller(answer: &Answer<'_, impl SystemMemory>, disk: &Disk) -> Result<(), OutOfReach> {
    answer.put(0, &disk.vendor.to_le_bytes())?;
    answer.put(2, &disk.subsystem_vendor.to_le_bytes())?;
    answer.put(4, &disk.serial)?;
    answer.put(24, &disk.model)?;
    answer.put(64, &disk.firmware)?;
    answer.put(77, &[MDTS])?;
    // CNTLID
    answer.put(78, &1u16.to_le_bytes())?;
    answer.put(80, &VERSION.to_le_bytes())?;
    answer.put(88, &RTD3E.to_le_bytes())?;
    // OAES
    answer.put(92, &events::NAMESPACE_NOTICES.to_le_bytes())?;
    answer.put(111, &[IO_CONTROLLER])?;
    answer.put(256, &OACS_DOORBELL_BUFFER.to_le_bytes())?;
    // ACL, 0's based: Abort is done at once. AERL, FRMW, LPA, ELPE.
    answer.put(258, &[3, events::LIMIT, ONE_READ_ONLY_SLOT, LPA])?;
    answer.put(262, &[ERROR_ENTRIES as u8 - 1])?;
    answer.put(266, &WARNING_TEMPERATURE.to_le_bytes())?;
    answer.put(268, &CRITICAL_TEMPERATURE.to_le_bytes())?;
    answer.put(512, &[SQES, CQES])?;
    // NN
    answer.put(516, &1u32.to_le_bytes())?;
    let discard = if disk.takes_discards() {
        ONCS_DATASET_MANAGEMENT
    } else {
        0
    };
    let oncs = ONCS_WRITE_ZEROES | ONCS_SAVE_SELECT | discard;
    answer.put(520, &oncs.to_le_bytes())?;
    answer.put(525, &[VWC])?;
    answer.put(768, &qualified_name(&disk.uuid))
}

/// SUBNQN, Base 7.9: the NVMe Qualified Name of what has the UUID.
fn qualified_name(uuid: &[u8; 16]) -> [u8; 68] {
    const PREFIX: &[u8] = b"nqn.2014-08.org.nvmexpress:uuid:";
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut name = [b'-'; 68];
    // Hyphens stand behind the bytes 4, 6, 8 and 10.
    let hyphens = |byte: usize| [4, 6, 8, 10].iter().filter(|&&at| at <= byte).count();
    name[..PREFIX.len()].copy_from_slice(PREFIX);
    for (index, byte) in uuid.iter().enumerate() {
        let at = PREFIX.len() + index * 2 + hyphens(index);
        name[at] = DIGITS[usize::from(byte >> 4)];
        name[at + 1] = DIGITS[usize::from(byte & 0xf)];
    }
    name
}

/// Base 5.15.2.1, Identify Namespace Data Structure.
fn namespace_data(answer: &Answer<'_, impl SystemMemory>, disk: &Disk) -> Result<(), OutOfReach> {
    // NSZE, NCAP, NUSE
    for at in [0, 8, 16] {
        answer.put(at, &disk.blocks.to_le_bytes())?;
    }
    answer.put(24, &[NSFEAT_OPTPERF])?;
    let mut dlfeat = 0;
    if disk.takes_discards() && disk.discard_zeroes {
        dlfeat = DLFEAT_ZEROES | DLFEAT_WRITE_ZEROES;
    }
    answer.put(33, &[dlfeat])?;
    // NVMCAP, in bytes; it has 16.
    let capacity = disk.blocks.saturating_mul(disk.block_len().into());
    answer.put(48, &capacity.to_le_bytes())?;
    // NPWG, NPWA, NPDG, NPDA: a page, which is what most file systems use as block. NOWS.
    for at in [64, 66, 68, 70] {
        let granularity = disk.blocks_0_based(PAGE_LEN as u32);
        answer.put(at, &granularity.to_le_bytes())?;
    }
    answer.put(72, &disk.blocks_0_based(MAX_LEN).to_le_bytes())?;
    if disk.read_only {
        answer.put(99, &[NSATTR_WRITE_PROTECTED])?;
    }
    // LBAF0: LBADS. There is no metadata, and no other format.
    answer.put(130, &[disk.block_shift])
}
