// SPDX-License-Identifier: GPL-2.0

//! References to this module, which prevent its unloading.

use kernel::{bindings, prelude::*};

/// A reference to the module.
///
/// # Invariants
///
/// The reference was taken by `try_module_get()`.
pub(crate) struct ModuleRef(&'static ThisModule);

impl ModuleRef {
    /// Takes a reference to `module`, which must be the module of this code.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the module is being unloaded.
    pub(crate) fn get(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: The module exists, since its code is running.
        if !unsafe { bindings::try_module_get(module.as_ptr()) } {
            return Err(ENODEV);
        }
        // INVARIANT: `try_module_get()` has taken a reference.
        Ok(ModuleRef(module))
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this owns a reference. The caller runs in a callback of
        // this module that sysfs waits for before the module can be unloaded.
        unsafe { bindings::module_put(self.0.as_ptr()) };
    }
}
