// SPDX-License-Identifier: GPL-2.0

//! References to this module, which keep it from being unloaded.

use crate::Mint;
use kernel::{bindings, module::this_module, prelude::*};

/// A reference to this module.
///
/// # Invariants
///
/// It was counted by `try_module_get()`.
pub(crate) struct ModuleRef(());

impl ModuleRef {
    /// Takes a reference.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the module is being unloaded.
    pub(crate) fn get() -> Result<Self> {
        // SAFETY: It is this module.
        if !unsafe { bindings::try_module_get(this_module::<Mint>().as_ptr()) } {
            return Err(ENODEV);
        }
        // INVARIANT: Counted just now.
        Ok(ModuleRef(()))
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariants. The caller runs in a function of this module that
        // sysfs waits for before the module can go.
        unsafe { bindings::module_put(this_module::<Mint>().as_ptr()) };
    }
}
