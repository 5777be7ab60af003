// SPDX-License-Identifier: GPL-2.0

//! What the fuzz targets share.

#![forbid(unsafe_code)]

pub mod boot_code;
pub mod image_checks;
pub mod input;
pub mod kernel_code;
#[path = "../../unit/tests/common/nvme_driver.rs"]
pub mod nvme_driver;
