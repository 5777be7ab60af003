// SPDX-License-Identifier: GPL-2.0

//! The commands Get Feature and Set Feature: struct ena_admin_get_feat_cmd and
//! ena_admin_set_feat_cmd.

use core::ops::DerefMut;

use crate::ena::admin_queue::{Answer, Command};
use crate::ena::card::Card;
use crate::ena::fields::{u16_at, u32_at, u8_at};
use crate::ena::frame::MAX_DESCRIPTORS;
use crate::ena::queue::{QueuePair, MAX_DEPTH};
use crate::ena::registers::ADDRESS_BITS;
use crate::ena::status::{self, Status};

// enum ena_admin_aq_feature_id
const DEVICE_ATTRIBUTES: u8 = 1;
const MAX_QUEUES_NUM: u8 = 2;
const STATELESS_OFFLOAD_CONFIG: u8 = 11;
const RSS_INDIRECTION_TABLE_CONFIG: u8 = 12;
const MTU: u8 = 14;
const AENQ_CONFIG: u8 = 26;
const LINK_CONFIG: u8 = 27;
const HOST_ATTR_CONFIG: u8 = 28;

/// The features that there are. Linux asks for no other, and does without: LLQ (descriptors in the
/// card's memory), driver hints, hash functions, interrupt moderation (interrupt.rs), a clock.
const FEATURES: [u8; 8] = [
    DEVICE_ATTRIBUTES,
    MAX_QUEUES_NUM,
    STATELESS_OFFLOAD_CONFIG,
    RSS_INDIRECTION_TABLE_CONFIG,
    MTU,
    AENQ_CONFIG,
    LINK_CONFIG,
    HOST_ATTR_CONFIG,
];

/// Offsets of a feature's fields in the command, behind struct ena_admin_get_set_feature_common_desc,
/// and in the answer.
const FEATURE_ID: usize = 17;
const SET: usize = 20;
const GET: usize = 8;

/// struct ena_admin_queue_feature_desc's `max_header_size`: longer headers are not a piece of their own
/// in a frame of many pieces. A choice: TCP over IPv6 in two VLAN tags, with room for options.
const MAX_HEADER_LEN: u32 = 128;

// struct ena_admin_feature_offload_desc's `tx`. TX_L4_ipv4_csum_part and TX_L4_ipv6_csum_part, tso_ipv4
// and tso_ipv6. Linux cuts segments with congestion marks itself (tso_ecn): nothing in a descriptor
// tells of them. For received frames, there is nothing: a TAP does not say which checksums it knows.
const OFFLOADS: u32 = (1 << 1) | (1 << 3) | (1 << 5) | (1 << 6);

/// struct ena_admin_feature_rss_ind_table: the number of entries, as a power of 2. Linux wants 128
/// (ENA_RX_RSS_TABLE_LOG_SIZE).
const TABLE_SIZE: u16 = 7;

/// ENA_MIN_MTU
const MIN_MTU: u32 = 128;

/// struct ena_admin_feature_aenq_desc: the group ENA_ADMIN_LINK_CHANGE. The others are not needed, and
/// where there is a keep-alive, the driver resets the card if it does not come.
const EVENT_GROUPS: u32 = 1 << 0;

// struct ena_admin_get_feature_link_desc. A TAP says that its speed is 10 Gbit/s
// (`tun_get_link_ksettings()` in drivers/net/tun.c).
const SPEED: u32 = 10_000;
/// ENA_ADMIN_LINK_SPEED_10G
const SPEEDS: u32 = 0x8;
/// ENA_ADMIN_GET_FEATURE_LINK_DESC_DUPLEX
const FULL_DUPLEX: u32 = 1 << 1;

impl<Q: DerefMut<Target = [QueuePair]>> Card<Q> {
    /// Get Feature.
    pub(super) fn get_feature(&mut self, command: &Command) -> Result<Answer, Status> {
        let mut answer = Answer::EMPTY;
        let mut put = |fields: &[u32]| {
            for (index, field) in fields.iter().enumerate() {
                answer.put(GET + 4 * index, &field.to_le_bytes());
            }
        };
        let pairs = u32::from(self.pairs());
        match u8_at(&command.0, FEATURE_ID) {
            DEVICE_ATTRIBUTES => {
                // struct ena_admin_device_attr_feature_desc. No capabilities.
                let supported = FEATURES.iter().fold(0, |bits, id| bits | (1 << id));
                put(&[0, 0, supported, 0, ADDRESS_BITS, ADDRESS_BITS]);
                answer.put(GET + 24, &self.mac);
                answer.put(GET + 32, &u32::from(self.mtu_max).to_le_bytes());
            }
            MAX_QUEUES_NUM => {
                // struct ena_admin_queue_feature_desc: queues, and their entries, SQs then CQs; no
                // LLQs. The numbers are those of each direction.
                let depth = u32::from(MAX_DEPTH);
                let descriptors = u32::from(MAX_DESCRIPTORS);
                let both = descriptors | (descriptors << 16);
                put(&[pairs, depth, pairs, depth, 0, 0, MAX_HEADER_LEN, both]);
            }
            STATELESS_OFFLOAD_CONFIG => put(&[OFFLOADS, 0, 0]),
            RSS_INDIRECTION_TABLE_CONFIG => {
                let size = u32::from(TABLE_SIZE);
                // The index of an inline entry: none.
                put(&[size | (size << 16), size, u32::MAX]);
            }
            AENQ_CONFIG => put(&[EVENT_GROUPS, self.events.groups()]),
            LINK_CONFIG => put(&[SPEED, SPEEDS, FULL_DUPLEX]),
            _ => return Err(status::UNSUPPORTED),
        }
        Ok(answer)
    }

    /// Set Feature.
    pub(super) fn set_feature(&mut self, command: &Command) -> Result<Answer, Status> {
        let is_valid = match u8_at(&command.0, FEATURE_ID) {
            // What the driver tells of its system is not looked at.
            HOST_ATTR_CONFIG => true,
            AENQ_CONFIG => self.set_event_groups(u32_at(&command.0, SET + 4)),
            MTU => self.set_mtu(u32_at(&command.0, SET)),
            // The table says which queue a frame goes to by its hash. A frame is received into the
            // buffers of a queue before anybody can know its hash (receive.rs), so it is not used.
            RSS_INDIRECTION_TABLE_CONFIG => u16_at(&command.0, SET + 4) == TABLE_SIZE,
            _ => return Err(status::UNSUPPORTED),
        };
        if is_valid {
            Ok(Answer::EMPTY)
        } else {
            Err(status::ILLEGAL_PARAMETER)
        }
    }

    fn set_event_groups(&mut self, groups: u32) -> bool {
        let can_be = groups & !EVENT_GROUPS == 0;
        if can_be {
            self.events.set_groups(groups);
        }
        can_be
    }

    fn set_mtu(&mut self, mtu: u32) -> bool {
        let can_be = (MIN_MTU..=u32::from(self.mtu_max)).contains(&mtu);
        if can_be {
            self.mtu = u16::try_from(mtu).unwrap_or(self.mtu_max);
        }
        can_be
    }
}
