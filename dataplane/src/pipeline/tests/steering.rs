//! Property: both directions of a flow, and errors about it, belong to one worker.

use proptest::prelude::*;

use super::bed::*;
use crate::flow::Seed;
use crate::parse::parse;
use crate::service::{Method, Tunnel};
use crate::steer::Steering;

proptest! {
    #[test]
    fn both_directions_have_one_owner(host: u8, port in 1024u16.., workers in 1u16..9, seed: u64, method in 0..3usize) {
        let method = [Method::Nat, Method::Dr, Method::Tunnel(Tunnel::Ipip)][method];
        let snapshot = Plan::new(method).snapshot();
        let steering = Steering { workers, seed: Seed(seed | 1, 7), rss_keys: None };
        let client = at(v4(198, 51, 100, host), port);
        let owner = |frame: &[u8]| {
            let mut parsed = crate::parse::Parsed::NOTHING;
            parse(frame, &mut parsed).unwrap();
            steering.owner(&parsed, 0, &snapshot)
        };
        let from_client = owner(&tcp(client, vip(), "S"));
        prop_assert!(from_client.is_some_and(|owner| owner.0 < workers));
        let source = if method == Method::Nat { server() } else { vip() };
        prop_assert_eq!(owner(&tcp(source, client, "SA")), from_client);
        let error = error_about(&tcp(vip(), client, "A"), vip().address, 3, 4);
        prop_assert_eq!(owner(&error), from_client);
        if method == Method::Nat {
            let error = error_about(&tcp(client, server(), "A"), client.address, 3, 1);
            prop_assert_eq!(owner(&error), from_client);
        }
    }
}
