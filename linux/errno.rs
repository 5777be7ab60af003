// SPDX-License-Identifier: GPL-2.0

//! Error codes that the `kernel` crate of Linux 7.2 lacks.

use kernel::{bindings, error::Error};

/// An error code of the kernel.
#[derive(Clone, Copy)]
pub(crate) struct Errno(u32);

// The `kernel` crate has no const function that makes an error from a number.
impl From<Errno> for Error {
    fn from(Errno(number): Errno) -> Self {
        Error::from_errno(-(number as i32))
    }
}

/// "File descriptor in bad state."
pub(crate) const EBADFD: Errno = Errno(bindings::EBADFD);
/// "Not a data message."
pub(crate) const EBADMSG: Errno = Errno(bindings::EBADMSG);
/// "Message too long."
pub(crate) const EMSGSIZE: Errno = Errno(bindings::EMSGSIZE);
/// "File name too long."
pub(crate) const ENAMETOOLONG: Errno = Errno(bindings::ENAMETOOLONG);
/// "No data available."
pub(crate) const ENODATA: Errno = Errno(bindings::ENODATA);
/// "Operation not supported on transport endpoint."
pub(crate) const EOPNOTSUPP: Errno = Errno(bindings::EOPNOTSUPP);
/// "Cannot send after transport endpoint shutdown."
pub(crate) const ESHUTDOWN: Errno = Errno(bindings::ESHUTDOWN);
