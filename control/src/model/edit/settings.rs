//! Edits of settings: all fields of [`Settings`], each optional.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EditError, valid};
use crate::model::{Config, Settings, optional_switch};
use crate::model::{modules, validate};

/// Generates [`SettingsEdit`] from field names and types, so that `onto` covers every field.
macro_rules! settings_edit {
    ($($(#[$attribute:meta])* $name:ident: $kind:ty,)*) => {
        /// Parameters of `settings.set`: absent fields keep their value. The fields are those of [`Settings`].
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        #[allow(missing_docs, reason = "each field is described once, in `Settings`")]
        pub struct SettingsEdit {
            $($(#[$attribute])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$kind>,)*
            /// Timeouts to change; other timeouts keep their value.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub timeouts: Option<BTreeMap<String, u32>>,
            /// The complete set of modules that are switched off.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub disabled_modules: Option<BTreeSet<String>>,
        }

        impl SettingsEdit {
            /// Returns `old` with the changes.
            pub fn onto(&self, old: &Settings) -> Settings {
                let mut timeouts = old.timeouts.clone();
                timeouts.extend(self.timeouts.iter().flatten().map(|(state, secs)| (state.clone(), *secs)));
                let disabled_modules =
                    self.disabled_modules.clone().unwrap_or_else(|| old.disabled_modules.clone());
                Settings { timeouts, disabled_modules, $($name: self.$name.unwrap_or(old.$name),)* }
            }
        }
    };
}

settings_edit! {
    tcp_timeout: u32,
    tcp_fin_timeout: u32,
    udp_timeout: u32,
    amemthresh: i32,
    am_droprate: i32,
    drop_entry: i32,
    drop_packet: i32,
    secure_tcp: i32,
    #[serde(deserialize_with = "optional_switch")] snat_reroute: i32,
    #[serde(deserialize_with = "optional_switch")] cache_bypass: i32,
    #[serde(deserialize_with = "optional_switch")] expire_nodest_conn: i32,
    #[serde(deserialize_with = "optional_switch")] expire_quiescent_template: i32,
    #[serde(deserialize_with = "optional_switch")] sloppy_tcp: i32,
    #[serde(deserialize_with = "optional_switch")] sloppy_sctp: i32,
    #[serde(deserialize_with = "optional_switch")] nat_icmp_send: i32,
    #[serde(deserialize_with = "optional_switch")] pmtu_disc: i32,
    #[serde(deserialize_with = "optional_switch")] backup_only: i32,
    conn_reuse_mode: i32,
    #[serde(deserialize_with = "optional_switch")] schedule_icmp: i32,
    #[serde(deserialize_with = "optional_switch")] ignore_tunneled: i32,
    #[serde(deserialize_with = "optional_switch")] run_estimation: i32,
    lblc_expiration: u32,
    lblcr_expiration: u32,
    debug_level: i32,
    like_linux_6_1: bool,
}

/// Changes settings.
///
/// # Errors
/// If one is out of range; then none is changed.
pub fn set_settings(config: &mut Config, edit: &SettingsEdit) -> Result<(), EditError> {
    let new = edit.onto(&config.settings);
    valid(|errors| {
        validate::settings(&new, errors);
        modules::unused("settings.disabled_modules", config, &new.disabled_modules, errors);
    })?;
    config.settings = new;
    Ok(())
}
