//! Stories of configuration changes under traffic.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use pollux_tests::bed::Bed;
use pollux_tests::bed::command::Result;
use pollux_tests::bed::rules::{self, config};
use serde_json::Value;

use super::http::all_answer;

pub fn live_edits() -> Result<()> {
    let bed = Bed::new(2)?;
    let nat = rules::HTTP[0];
    let daemon = bed.daemon(&config(&[nat], 1), 1)?;
    let (vip, second) = (nat.endpoint(), nat.server(2));
    let mut slow = bed.client.slow_download(&nat.url())?;
    assert_eq!(bed.client.get(&nat.url())?, "web1");
    daemon.pollux(&format!("destination add tcp {vip} {second} --method nat --weight 1"))?;
    all_answer(&bed, &[nat])?;
    daemon.pollux(&format!("destination edit tcp {vip} {second} --weight 0"))?;
    for _ in 0..4 {
        assert_eq!(bed.client.get(&nat.url())?, "web1", "a destination of weight 0 got a connection");
    }
    daemon.pollux(&format!("destination remove tcp {vip} {second}"))?;
    assert_eq!(bed.client.get(&nat.url())?, "web1");
    assert!(slow.wait()?.success(), "a download broke while destinations came and went");
    daemon.accounts_for_all_packets()
}

pub fn bad_input() -> Result<()> {
    let bed = Bed::new(1)?;
    let daemon = bed.daemon(&config(&rules::HTTP, 1), 1)?;
    let before = daemon.json("list")?;
    for line in [
        "this is no JSON",
        "[]",
        r#"{"jsonrpc":"2.0","id":1,"method":"no.such.method"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"service.add","params":{"surprise":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"apply","params":{"config":{"services":[{"protocol":"tcp"}]}}}"#,
    ] {
        let mut stream = UnixStream::connect(daemon.socket())?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        writeln!(stream, "{line}")?;
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply)?;
        let reply: Value = serde_json::from_str(&reply)?;
        assert!(reply["error"]["message"].is_string(), "{line} was answered {reply}");
    }
    assert!(daemon.pollux("service add tcp nonsense").is_err());
    assert_eq!(daemon.json("list")?, before, "bad input changed something");
    all_answer(&bed, &rules::HTTP)?;
    daemon.accounts_for_all_packets()
}
