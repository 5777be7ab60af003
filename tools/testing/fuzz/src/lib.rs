// SPDX-License-Identifier: GPL-2.0

//! What the fuzz targets share.

#![forbid(unsafe_code)]

pub mod boot_code;
#[path = "../../unit/tests/common/ena_driver.rs"]
pub mod ena_driver;
pub mod image_checks;
pub mod input;
pub mod kernel_code;
#[path = "../../unit/tests/common/nvme_driver.rs"]
pub mod nvme_driver;
pub mod wild;
