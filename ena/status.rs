// SPDX-License-Identifier: GPL-2.0

//! How an admin command ended: enum ena_admin_aq_completion_status.

/// A status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub u8);

/// ENA_ADMIN_SUCCESS
pub(super) const SUCCESS: Status = Status(0);
/// ENA_ADMIN_RESOURCE_ALLOCATION_FAILURE: there are no more queues.
pub(super) const NO_RESOURCE: Status = Status(1);
/// ENA_ADMIN_UNSUPPORTED_OPCODE: the command, or the feature, is not there. The driver goes on
/// without it (`ena_com_comp_status_to_errno()`: `EOPNOTSUPP`).
pub(super) const UNSUPPORTED: Status = Status(3);
/// ENA_ADMIN_ILLEGAL_PARAMETER
pub(super) const ILLEGAL_PARAMETER: Status = Status(5);
