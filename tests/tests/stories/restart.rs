//! Stories of a daemon that stops and starts.

use pollux_tests::bed::command::Result;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::{Bed, wait};

use super::http::all_answer;

pub fn killed() -> Result<()> {
    let bed = Bed::new(2)?;
    let mut daemon = bed.daemon(&config(&rules::HTTP, 2), 1)?;
    all_answer(&bed, &rules::HTTP)?;
    daemon.kill()?;
    assert!(bed.client.ping("10.9.9.1").is_err(), "a ping is answered although the balancer is dead");
    drop(daemon);
    let daemon = bed.daemon(&config(&rules::HTTP, 2), 1)?;
    all_answer(&bed, &rules::HTTP)?;
    daemon.accounts_for_all_packets()
}

pub fn stopped() -> Result<()> {
    let bed = Bed::new(1)?;
    let mut daemon = bed.daemon(&config(&rules::HTTP, 1), 1)?;
    all_answer(&bed, &rules::HTTP)?;
    daemon.accounts_for_all_packets()?;
    daemon.pollux("stop")?;
    daemon.wait_exit()?;
    wait::until("the twins are gone", || Ok(bed.balancer.ip("link show pollux0").is_err().then_some(())))?;
    assert!(!daemon.socket().exists(), "the socket is left behind");
    Ok(())
}

/// Run-time changes are restored after a kill, before the first request.
pub fn kept() -> Result<()> {
    let bed = Bed::new(2)?;
    let nat = rules::HTTP[0];
    let mut daemon = bed.daemon(&config(&[nat], 2), 1)?;
    let (vip, second) = (nat.endpoint(), nat.server(2));
    for words in [
        format!("destination edit tcp {vip} {second} --weight 0"),
        "service add tcp 10.9.9.7:70 --scheduler rr".to_owned(),
        "settings set tcp_timeout=77 timeouts.tcp.SYN_RECV=5".to_owned(),
        "sysctl net.ipv4.vs.drop_entry=3".to_owned(),
    ] {
        daemon.pollux(&words)?;
    }
    written(&daemon)?;
    let before = daemon.pollux("config")?;
    daemon.kill()?;
    drop(daemon);
    let daemon = bed.daemon(&config(&[nat], 2), 1)?;
    assert_eq!(daemon.pollux("config")?, before);
    assert!(daemon.log().contains("resuming from state file"), "{}", daemon.log());
    for _ in 0..4 {
        assert_eq!(bed.client.get(&nat.url())?, "web1", "a destination of weight 0 got a connection");
    }
    daemon.accounts_for_all_packets()
}

/// SIGHUP reads the configuration file again; a file with an error changes nothing.
pub fn reloaded() -> Result<()> {
    let bed = Bed::new(2)?;
    let nat = rules::HTTP[0];
    let daemon = bed.daemon(&config(&[nat], 2), 1)?;
    let mut slow = bed.client.slow_download(&nat.url())?;
    let text = std::fs::read_to_string(daemon.config())?;
    std::fs::write(daemon.config(), "settings = { tcp_timeout = 0 }")?;
    daemon.signal("HUP")?;
    wait::until("the error is logged", || {
        Ok(daemon.log().contains("settings.tcp_timeout: 0 seconds").then_some(()))
    })?;
    std::fs::write(
        daemon.config(),
        format!("{text}\n[[services]]\nprotocol = \"tcp\"\naddress = \"10.9.9.7\"\nl4_port = 70\n"),
    )?;
    daemon.signal("HUP")?;
    wait::until("the file is applied", || {
        Ok(daemon.log().contains("+ service tcp 10.9.9.7:70").then_some(()))
    })?;
    assert!(daemon.pollux("list")?.contains("TCP  10.9.9.7:70"));
    assert!(slow.wait()?.success(), "a download broke during the reload");
    daemon.accounts_for_all_packets()
}

fn written(daemon: &pollux_tests::bed::daemon::Daemon) -> Result<()> {
    wait::until("the state is written", || {
        Ok((daemon.json("version")?["state"]["pending"] == false).then_some(()))
    })
}
