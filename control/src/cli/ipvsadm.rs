//! `pollux ipvsadm`, and `pollux` started under the name `ipvsadm`.

use std::io;
use std::path::Path;

use crate::api::socket;
use crate::api::socket::client::{Client, ClientError};
use crate::ipvsadm::daemon::NoDaemon;
use crate::ipvsadm::names::System;
use crate::ipvsadm::program::{Environment, Program, needs_daemon};
use crate::ipvsadm::restore::Stream;

/// Exit status of `ipvsadm` without IPVS in the kernel.
const NO_DAEMON: u8 = 2;

/// Returns the arguments for `ipvsadm` if the program was started under that name or with it as the first argument. They
/// are passed on unchanged, without being parsed as options of `pollux`.
pub fn arguments(mut args: impl Iterator<Item = String>) -> Option<Vec<String>> {
    let program = args.next()?;
    let by_name = Path::new(&program).file_name().is_some_and(|name| name == "ipvsadm");
    (by_name || args.next().is_some_and(|word| word == "ipvsadm")).then(|| args.collect())
}

/// Runs `ipvsadm` on the daemon given by `POLLUX_SOCKET` and `POLLUX_NAMESPACE`.
pub fn run_here(words: Vec<String>) -> u8 {
    run(&socket::path(None), super::namespace_of_environment(), words)
}

/// Runs `ipvsadm` on the daemon behind this socket and returns the exit status. A leading `-N NAME`, an option of ours,
/// selects a namespace.
pub fn run(socket: &Path, mut namespace: Option<String>, mut words: Vec<String>) -> u8 {
    if words.len() > 1 && ["-N", "--namespace"].contains(&words[0].as_str()) {
        namespace = words.drain(..2).next_back();
    }
    let interface = |name: &str| !name.contains('/') && Path::new("/sys/class/net").join(name).exists();
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let names = System::new();
    let environment = Environment { names: &names, interface: &interface, out: &mut out, err: &mut err };
    if !needs_daemon(&words) {
        return Program::new(&mut NoDaemon, environment).run(words, &mut "".lines());
    }
    match Client::connect(socket) {
        Ok(daemon) => {
            let mut daemon = daemon.in_namespace(namespace);
            Program::new(&mut daemon, environment).run(words, &mut Stream::new(io::stdin()))
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
