//! `pollux` called as `ipvsadm`, as scripts do.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use pollux_tests::bed::Bed;
use pollux_tests::bed::command::{Error, Result, program};
use pollux_tests::bed::rules::{self, config};

use super::http::all_answer;

/// A link named `ipvsadm`, and the daemon's socket.
struct Ipvsadm {
    link: PathBuf,
    socket: PathBuf,
}

impl Ipvsadm {
    fn run(&self, words: &str, input: &str) -> Result<Output> {
        let mut command = Command::new(&self.link);
        command.args(words.split_whitespace()).env("POLLUX_SOCKET", &self.socket);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        // A program that reads no input may already have exited.
        let _ = child.stdin.take().map(|mut to| to.write_all(input.as_bytes()));
        Ok(child.wait_with_output()?)
    }

    fn says(&self, words: &str) -> Result<String> {
        let done = self.run(words, "")?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        Err(Error(format!("ipvsadm {words}: {}", String::from_utf8_lossy(&done.stderr))))
    }

    /// Returns its exit status and standard error.
    fn fails(&self, words: &str, input: &str) -> Result<(Option<i32>, String)> {
        let done = self.run(words, input)?;
        Ok((done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned()))
    }
}

pub fn saves_and_restores() -> Result<()> {
    let bed = Bed::new(1)?;
    let daemon = bed.daemon(&config(&rules::HTTP, 1), 1)?;
    let place = tempfile::tempdir()?;
    let ipvsadm = Ipvsadm { link: place.path().join("ipvsadm"), socket: daemon.socket().clone() };
    symlink(program("pollux")?, &ipvsadm.link)?;

    all_answer(&bed, &rules::HTTP)?;
    let (list, saved) = (ipvsadm.says("-Ln --tun-info")?, ipvsadm.says("-Sn")?);
    assert_eq!(ipvsadm.says("")?.lines().next(), Some("IP Virtual Server version 1.2.1 (size=4096)"));
    assert!(ipvsadm.says("-Lnc")?.lines().count() > 2, "connections are listed");
    assert_eq!(ipvsadm.says("-C")?, "");
    assert_eq!(ipvsadm.says("-Sn")?, "");
    assert_eq!(ipvsadm.fails("-D -t 10.9.9.99:80", "")?, (Some(255), "No such service\n".to_owned()));
    // A line with a syntax error ends a restore, a rejected one does not.
    let lines = format!("-D -t 10.9.9.99:80\n{saved}-Ln stray\n-C\n");
    let expected = "No such service\nunexpected argument stray\n".to_owned();
    assert_eq!(ipvsadm.fails("-R", &lines)?, (Some(2), expected));
    assert_eq!(ipvsadm.says("-Sn")?, saved);
    assert_eq!(ipvsadm.says("-Ln --tun-info")?.lines().count(), list.lines().count());
    all_answer(&bed, &rules::HTTP)?;
    let stats = ipvsadm.says("-Ln --stats --exact")?;
    assert_eq!(stats.lines().count(), list.lines().count());
    ipvsadm.says("-Z")?;

    let no_daemon = Ipvsadm { socket: place.path().join("no-daemon"), ..ipvsadm };
    let (status, why) = no_daemon.fails("-Ln", "")?;
    assert_eq!((status, why.starts_with("Can't initialize ipvs: ")), (Some(2), true), "{why}");
    assert_eq!(no_daemon.says("-v")?, "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n");
    daemon.accounts_for_all_packets()
}
