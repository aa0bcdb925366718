//! SIGHUP: the configuration file is read again, and applied by difference like any other.

use std::path::PathBuf;
use std::thread;

use crossbeam::channel::{self, Sender};
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

use crate::api::request::{Apply, Reply, Request};
use crate::api::socket::server::Job;
use crate::model::{parse, validate};
use crate::say;

/// Waits for the signal in a thread of its own: reading a large file delays nobody.
///
/// # Errors
/// When the system refuses the handler or the thread.
pub fn start(config: Option<PathBuf>, jobs: Sender<Job>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGHUP])?;
    let body = move || {
        for _ in signals.forever() {
            match reload(config.as_ref(), &jobs) {
                Ok(done) => say!(Info, "SIGHUP: {done}"),
                Err(why) => say!(Error, "SIGHUP: {why}"),
            }
        }
    };
    thread::Builder::new().name("pollux-reload".to_owned()).spawn(body).map(drop)
}

/// Applies the file; gives back what to say about it, be it well or not.
///
/// # Errors
/// What is wrong; nothing has changed then.
pub fn reload(config: Option<&PathBuf>, jobs: &Sender<Job>) -> Result<String, String> {
    let path = config.ok_or("there is no configuration file to read again; start with --config")?;
    let (config, digest) = parse::file_and_digest(path).map_err(|why| format!("nothing changes: {why}"))?;
    validate::validate(&config).map_err(|why| format!("nothing changes: {}: {why}", path.display()))?;
    let request = Request::ConfigApply(Apply { config, dry_run: false, digest: Some(digest) });
    let (reply, answer) = channel::bounded(1);
    jobs.send(Job { namespace: None, request, reply }).map_err(|_| "polluxd is stopping")?;
    match answer.recv() {
        Ok(Ok(Reply::Applied(applied))) => Ok(format!("{} is applied\n{applied}", path.display())),
        Ok(Ok(_)) => Ok(format!("{} is applied", path.display())),
        Ok(Err(why)) => Err(format!("nothing changes: {why}")),
        Err(_) => Err("polluxd is stopping".to_owned()),
    }
}
