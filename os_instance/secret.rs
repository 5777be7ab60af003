// SPDX-License-Identifier: GPL-2.0

//! Bytes that are nobody's business once their memory is free.

use kernel::prelude::*;

/// Bytes whose memory is filled with zeros before it is freed, as by `kfree_sensitive()`.
pub(crate) struct Secret(KVec<u8>);

impl Secret {
    /// Makes one without bytes.
    pub(crate) fn new() -> Self {
        Secret(KVec::new())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Copies this.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        Self::joined(self.bytes(), &[])
    }

    /// Returns the first `offset` bytes of this, followed by `bytes`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are not that many bytes, `ENOMEM`.
    pub(crate) fn written(&self, offset: usize, bytes: &[u8]) -> Result<Self> {
        Self::joined(self.0.get(..offset).ok_or(EINVAL)?, bytes)
    }

    fn joined(first: &[u8], second: &[u8]) -> Result<Self> {
        // As large as it gets: memory that is allocated anew is not filled before.
        let mut bytes = KVec::with_capacity(first.len() + second.len(), GFP_KERNEL)?;
        bytes.extend_from_slice(first, GFP_KERNEL)?;
        bytes.extend_from_slice(second, GFP_KERNEL)?;
        Ok(Secret(bytes))
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // The compiler must suppose that the zeros are read.
        core::hint::black_box(&*self.0);
    }
}
