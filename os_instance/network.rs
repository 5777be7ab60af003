// SPDX-License-Identifier: GPL-2.0

//! The network card of an OS, which a person may plug into something else while the OS runs.

use crate::{
    network::{
        mac::MacAddress,
        plug::{self, Plug},
        wanted::Wanted, //
    },
    os_instance::{identity::Identity, Os},
};
use kernel::{prelude::*, sync::Arc};

impl Os {
    /// Gives the OS a card as `wanted`, or none. The card of an OS that is not offline can only be plugged
    /// into something else.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the OS is not offline, and would get a card, another address, or lose its card;
    /// `ENODEV` if it is being removed; those of [`plug::take`]. The log says what to do.
    pub(crate) fn set_network(self: &Arc<Self>, wanted: Option<Wanted<'_>>) -> Result {
        let Some(wanted) = wanted else {
            return self.configure(|config| {
                config.network = None;
                Ok(())
            });
        };
        let (card, uuid) = {
            let inner = self.inner.lock();
            let identity = Identity::of(&inner.config, &self.name)?;
            (inner.config.network.clone(), identity.uuid)
        };
        let mac = wanted.mac.unwrap_or(MacAddress::of_uuid(&uuid));
        let current = card.as_ref().and_then(|card| card.tap());
        let alarm = self.machine.poller.alarm();
        let tap = plug::take(wanted.end, current, alarm.clone(), &self.name)?;
        match card.filter(|card| card.mac() == mac) {
            Some(card) => card.put_into(tap),
            None => {
                let plug = Plug::new(mac, tap)?;
                self.configure(|config| {
                    config.network = Some(plug);
                    Ok(())
                })?;
            }
        }
        alarm.ring();
        Ok(())
    }

    /// Returns the plug of the OS's card, if it has one.
    pub(crate) fn network(&self) -> Option<Arc<Plug>> {
        self.inner.lock().config.network.clone()
    }
}
