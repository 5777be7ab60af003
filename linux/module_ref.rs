// SPDX-License-Identifier: GPL-2.0

//! References to the module, which keep it from being unloaded.

use kernel::{bindings, prelude::*};

/// A reference to the module.
///
/// # Invariants
///
/// It was counted by `try_module_get()`.
pub(crate) struct ModuleRef(&'static ThisModule);

impl ModuleRef {
    /// Takes a reference to `module`, which is the one that this code is in.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the module is being unloaded.
    pub(crate) fn get(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: The module is there, since its code runs.
        if !unsafe { bindings::try_module_get(module.as_ptr()) } {
            return Err(ENODEV);
        }
        // INVARIANT: Counted just now.
        Ok(ModuleRef(module))
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariants. The caller runs in a function of this module that
        // sysfs waits for before the module can go.
        unsafe { bindings::module_put(self.0.as_ptr()) };
    }
}
