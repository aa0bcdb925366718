//! Features of a connection beyond plain forwarding. The set is closed: a new feature is a variant here, its condition in
//! [`Feature::of`] and an arm in [`Pipeline::apply_feature`], which both directions call at one point.
//!
//! A connection with a feature that must see every packet has [`Flags::needs_slow_path`], so plain packets of other
//! connections never come here.

use crate::conn::{ConnId, Flags};
use crate::pipeline::Pipeline;
use crate::proto::{Sender, sctp, tcp};
use crate::wire::protocol;

/// A per-connection feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// The persistence template is not marked yet as one whose connections are really opened.
    ConfirmTemplate,
}

impl Feature {
    /// Every feature, in the order they are applied.
    pub(crate) const ALL: [Feature; 1] = [Feature::ConfirmTemplate];

    /// The features of a connection with these flags.
    pub(crate) fn of(flags: Flags) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |feature| match feature {
            Feature::ConfirmTemplate => flags.has(Flags::UNCONFIRMED),
        })
    }
}

impl Pipeline {
    /// Applies a feature to a packet that has just advanced its connection's state.
    pub(crate) fn apply_feature(&mut self, feature: Feature, id: ConnId, sender: Sender) {
        match feature {
            Feature::ConfirmTemplate => self.confirm_template(id, sender),
        }
    }

    /// Marks the template once one of its connections was really opened; it then survives floods. Spec 4.3.
    #[cold]
    fn confirm_template(&mut self, id: ConnId, sender: Sender) {
        let entry = self.conns.entry_mut(id);
        if was_opened(entry.protocol, entry.state, sender) {
            entry.flags.set(Flags::UNCONFIRMED, false);
            if let Some(handle) = self.conns.template(id) {
                self.shared.templates.assure(handle);
            }
        }
    }
}

/// Whether a connection in this state was really opened.
fn was_opened(protocol: u8, state: u8, sender: Sender) -> bool {
    match protocol {
        protocol::TCP => tcp::State::from_number(state) == tcp::State::Established,
        protocol::SCTP => sctp::State::from_number(state) == sctp::State::Established,
        _ => sender == Sender::Destination,
    }
}
