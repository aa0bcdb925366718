//! SIGHUP: rereads the configuration file and applies the differences.

use std::path::PathBuf;
use std::thread;

use crossbeam::channel::{self, Sender};
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

use crate::api::request::{Apply, Reply, Request};
use crate::api::socket::server::Job;
use crate::log;
use crate::model::{parse, validate};

/// Starts a thread that waits for the signal, so that reading a large file does not delay the control thread.
///
/// # Errors
/// If the signal handler or the thread cannot be created.
pub fn start(config: Option<PathBuf>, jobs: Sender<Job>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGHUP])?;
    let body = move || {
        for _ in signals.forever() {
            match reload(config.as_ref(), &jobs) {
                Ok(done) => log!(Info, "SIGHUP: {done}"),
                Err(why) => log!(Error, "SIGHUP: {why}"),
            }
        }
    };
    thread::Builder::new().name("pollux-reload".to_owned()).spawn(body).map(drop)
}

/// Applies the configuration file and returns a message for the log.
///
/// # Errors
/// A message for the log; then nothing has changed.
pub fn reload(config: Option<&PathBuf>, jobs: &Sender<Job>) -> Result<String, String> {
    let path = config.ok_or(
        "polluxd was started without a configuration file; restart it with --config, or use `pollux apply`",
    )?;
    let refused = |why: &dyn std::fmt::Display| {
        format!("{} refused, the running configuration stays: {why}", path.display())
    };
    let (config, digest) = parse::file_and_digest(path).map_err(|why| refused(&why))?;
    validate::validate(&config).map_err(|why| refused(&why))?;
    let request = Request::ConfigApply(Apply { config, dry_run: false, digest: Some(digest) });
    let (sender, reply) = channel::bounded(1);
    jobs.send(Job { namespace: None, request, reply: sender }).map_err(|_| "polluxd is stopping")?;
    match reply.recv() {
        Ok(Ok(Reply::Applied(applied))) => Ok(format!("{} applied\n{applied}", path.display())),
        Ok(Ok(_)) => Ok(format!("{} applied", path.display())),
        Ok(Err(why)) => Err(refused(&why)),
        Err(_) => Err("polluxd is stopping".to_owned()),
    }
}
