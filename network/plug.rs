// SPDX-License-Identifier: GPL-2.0

//! What a card is plugged into: a TAP interface, which can be changed while the OS runs.

use crate::{
    ena::counters::Counters,
    linux::{kthread::Alarm, tap::Tap},
    network::{
        mac::MacAddress,
        wanted::End, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex}, //
};

/// A card's address, and the TAP interface that it is plugged into.
#[pin_data]
pub(crate) struct Plug {
    mac: MacAddress,
    #[pin]
    tap: Mutex<Option<Arc<Tap>>>,
    #[pin]
    counters: Mutex<Counters>,
}

impl Plug {
    /// Makes the plug of a card with the address `mac`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(mac: MacAddress, tap: Option<Arc<Tap>>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Plug {
                mac,
                tap <- new_mutex!(tap),
                counters <- new_mutex!(Counters::default()),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the address of the card.
    pub(crate) fn mac(&self) -> MacAddress {
        self.mac
    }

    /// Returns the TAP interface.
    pub(crate) fn tap(&self) -> Option<Arc<Tap>> {
        self.tap.lock().clone()
    }

    /// Plugs the card into `tap`, or pulls it out of what it is plugged into.
    pub(crate) fn put_into(&self, tap: Option<Arc<Tap>>) {
        let old = core::mem::replace(&mut *self.tap.lock(), tap);
        drop(old);
    }

    /// Pulls the card out if it is still plugged into `tap`, whose interface is gone.
    pub(super) fn lose(&self, tap: &Arc<Tap>) {
        let mut plugged = self.tap.lock();
        if plugged.as_ref().is_some_and(|it| Arc::ptr_eq(it, tap)) {
            *plugged = None;
        }
    }

    /// Sets the counters of the card.
    pub(super) fn count(&self, counters: &Counters) {
        *self.counters.lock() = *counters;
    }

    /// Returns the counters of the card since the OS was started last.
    pub(crate) fn counters(&self) -> Counters {
        *self.counters.lock()
    }
}

/// Takes the TAP interface at `end`, for `os`. `current` is the one that its card is plugged into. Rings
/// `alarm` when the interface has frames.
///
/// # Errors
///
/// Those of [`Tap::attach`] and [`Tap::from_fd`]; the log says what to do.
pub(crate) fn take(
    end: End<'_>,
    current: Option<Arc<Tap>>,
    alarm: Arc<Alarm>,
    os: &CStr,
) -> Result<Option<Arc<Tap>>> {
    let taken = match end {
        End::None => return Ok(None),
        End::Interface(name) => {
            if current
                .as_ref()
                .is_some_and(|tap| tap.is_attached() && tap.name() == name.as_bytes())
            {
                return Ok(current);
            }
            Tap::attach(name.as_bytes(), alarm).inspect_err(|error| {
                let hint = match *error {
                    EBUSY => "somebody else is attached to this interface",
                    EINVAL => "this is not a TAP interface with one queue: make one by 'ip tuntap add NAME mode tap'",
                    ENOENT | ENODEV => "load the module tun first",
                    _ => "can't attach to this interface",
                };
                pr_err!("{os}: {name}: {hint}\n");
            })
        }
        End::File(fd) => Tap::from_fd(fd, alarm).inspect_err(|error| {
            let hint = match *error {
                EBADF => "the writer has no such file open",
                _ => "this file is not attached to a TAP interface with IFF_NO_PI and IFF_VNET_HDR",
            };
            pr_err!("{os}: file {fd}: {hint}\n");
        }),
    };
    Ok(Some(Arc::new(taken?, GFP_KERNEL)?))
}
