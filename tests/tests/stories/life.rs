//! Stories of a daemon that ends and starts.

use pollux_tests::bed::command::Result;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::{Bed, wait};

use super::http::all_answer;

pub fn killed() -> Result<()> {
    let bed = Bed::new(2)?;
    let mut daemon = bed.daemon(&config(&rules::HTTP, 2), 1)?;
    all_answer(&bed, &rules::HTTP)?;
    daemon.kill()?;
    assert!(bed.client.ping("10.9.9.1").is_err(), "somebody still answers for a dead balancer");
    drop(daemon);
    let daemon = bed.daemon(&config(&rules::HTTP, 2), 1)?;
    all_answer(&bed, &rules::HTTP)?;
    daemon.balanced()
}

pub fn stopped() -> Result<()> {
    let bed = Bed::new(1)?;
    let mut daemon = bed.daemon(&config(&rules::HTTP, 1), 1)?;
    all_answer(&bed, &rules::HTTP)?;
    daemon.balanced()?;
    daemon.pollux("stop")?;
    daemon.ended()?;
    wait::until("the twins are gone", || Ok(bed.balancer.ip("link show pollux0").is_err().then_some(())))?;
    assert!(!daemon.socket().exists(), "the socket is left behind");
    Ok(())
}

/// What was edited is there again after a kill, before anybody asks for it.
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
    assert!(daemon.log().contains("going on from"), "{}", daemon.log());
    for _ in 0..4 {
        assert_eq!(bed.client.get(&nat.url())?, "web1", "a destination of weight 0 got a connection");
    }
    daemon.balanced()
}

/// SIGHUP reads the configuration file again; one with a fault changes nothing.
pub fn reloaded() -> Result<()> {
    let bed = Bed::new(2)?;
    let nat = rules::HTTP[0];
    let daemon = bed.daemon(&config(&[nat], 2), 1)?;
    let slow = bed
        .client
        .curl()
        .args(["--limit-rate", "3M", "--output", "/dev/null"])
        .arg(format!("{}big", nat.url()))
        .spawn();
    let mut slow = slow?;
    let text = std::fs::read_to_string(daemon.config())?;
    std::fs::write(daemon.config(), "settings = { tcp_timeout = 0 }")?;
    daemon.signal("HUP")?;
    wait::until("the error is told", || {
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
    assert!(slow.wait()?.success(), "a download broke while the file was read again");
    daemon.balanced()
}

fn written(daemon: &pollux_tests::bed::daemon::Daemon) -> Result<()> {
    wait::until("the state is written", || {
        Ok((daemon.json("version")?["state"]["pending"] == false).then_some(()))
    })
}
