//! An interface and its TAP follow each other, as far as it matters to the port and its twin.

use std::time::{Duration, Instant};

use super::InterfaceError;
use super::change::Change;
use super::request::Mode;
use super::system::System;
use super::take::Interfaces;
use crate::log;

/// How often they are looked at.
const INTERVAL: Duration = Duration::from_millis(200);

impl<S: System> Interfaces<S> {
    /// From time to time, gives the TAPs the carriers of their interfaces, so that ports and twins have them, too, and lets
    /// an interface receive frames for other hardware addresses if its TAP does.
    pub fn follow(&mut self, now: Instant) {
        if self.looked.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            return;
        }
        self.looked = Some(now);
        for number in 0..self.taken.len() {
            let is_tap = self.taken[number].port.as_ref().is_some_and(|port| port.mode == Mode::Tap);
            if is_tap && let Err(why) = self.follow_one(number) {
                log!(Warn, "interface {}: it is not followed: {why}", self.taken[number].name);
            }
        }
    }

    fn follow_one(&mut self, number: usize) -> Result<(), InterfaceError> {
        let taken = &mut self.taken[number];
        let Some(port) = taken.port.as_ref() else { return Ok(()) };
        if let Some(carrier) = self.system.carrier(&taken.name).filter(|on| *on != taken.carrier) {
            taken.carrier = carrier;
            let word = if carrier { "on" } else { "off" };
            self.system.run("ip", &["link", "set", "dev", &port.tap, "carrier", word])?;
        }
        let promiscuous = Change::Promiscuous {};
        let is_made = taken.promiscuous || taken.changes.iter().any(|change| change.is_about(&promiscuous));
        if !is_made && self.system.receives_other_macs(&port.tap, &port.mac) {
            taken.changes.push(promiscuous.clone());
            self.write()?;
            let name = &self.taken[number].name;
            promiscuous.make(name, &self.system)?;
            log!(Info, "interface {name}: {}", promiscuous.made());
        }
        Ok(())
    }
}
