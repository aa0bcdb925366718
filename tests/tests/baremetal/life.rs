//! A story of a polluxd that is killed: the cards are left in the state in which it used them.

use pollux_tests::bed::command::Result;
use pollux_tests::bed::metal::{Metal, Mtu};
use pollux_tests::bed::rules::HTTP;

pub fn killed(metal: &mut Metal) -> Result<()> {
    metal.daemon(Mtu::Standard)?;
    metal.all_answer(&HTTP[0])?;
    metal.kill()?;
    metal.is_silent("although polluxd is dead")?;
    metal.daemon(Mtu::Standard)?;
    for rule in &HTTP[..3] {
        metal.all_answer(rule)?;
    }
    metal.accounts_for_all_packets()
}
