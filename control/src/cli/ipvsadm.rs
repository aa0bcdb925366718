//! `pollux ipvsadm`, and `pollux` called by the name `ipvsadm`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ipvsadm::ask::Nobody;
use crate::ipvsadm::names::System;
use crate::ipvsadm::program::{Program, Surroundings, needs_daemon};
use crate::ipvsadm::restore::Stream;
use crate::socket::DEFAULT_PATH;
use crate::socket::client::{Client, ClientError};

/// A restore of a hundred thousand lines answers well within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `ipvsadm` ends with when there is no IPVS.
const NO_DAEMON: u8 = 2;

/// The arguments for `ipvsadm`, if that is what these ask for: by the program's name, or by its first argument. They go
/// to it as they are, whatever they would mean to `pollux`.
pub fn wanted(mut args: impl Iterator<Item = String>) -> Option<Vec<String>> {
    let program = args.next()?;
    let by_name = Path::new(&program).file_name().is_some_and(|name| name == "ipvsadm");
    (by_name || args.next().is_some_and(|word| word == "ipvsadm")).then(|| args.collect())
}

/// Runs `ipvsadm` on the daemon that the environment names.
pub fn run_here(words: Vec<String>) -> u8 {
    let socket = std::env::var_os("POLLUX_SOCKET").map_or_else(|| PathBuf::from(DEFAULT_PATH), PathBuf::from);
    run(&socket, std::env::var("POLLUX_NAMESPACE").ok(), words)
}

/// Runs `ipvsadm` on the daemon with this socket, and gives the exit status. Words that begin with `-N NAME` are about
/// another namespace, which the original does not know.
pub fn run(socket: &Path, mut namespace: Option<String>, mut words: Vec<String>) -> u8 {
    if words.len() > 1 && ["-N", "--namespace"].contains(&words[0].as_str()) {
        namespace = words.drain(..2).next_back();
    }
    let interface = |name: &str| !name.contains('/') && Path::new("/sys/class/net").join(name).exists();
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let names = System::new();
    let around = Surroundings { names: &names, interface: &interface, out: &mut out, err: &mut err };
    if !needs_daemon(&words) {
        return Program::new(&mut Nobody, around).run(words, &mut "".lines());
    }
    match Client::connect(socket, PATIENCE) {
        Ok(daemon) => {
            let mut daemon = daemon.in_namespace(namespace);
            Program::new(&mut daemon, around).run(words, &mut Stream::new(io::stdin()))
        }
        Err(why) => {
            let why = match why {
                ClientError::Unreachable { source, .. } => source.to_string(),
                other => other.to_string(),
            };
            eprintln!("Can't initialize ipvs: no polluxd at {}: {why}", socket.display());
            eprintln!(
                "Are you sure that polluxd is running? Start it with `polluxd -- --config FILE`, or name its control \
                 socket in POLLUX_SOCKET"
            );
            NO_DAEMON
        }
    }
}
