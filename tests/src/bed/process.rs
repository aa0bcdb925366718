//! A background process, stopped by its process ID.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::command::{Error, Result};
use super::resources::Resources;
use super::wait;

/// The process; it is killed when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command with its output in a log file of the test network.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(resources: &Resources, name: &str, command: &mut Command) -> Result<Process> {
        let log = resources.directory().join(format!("{name}.log"));
        let file = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .map_err(|error| Error(format!("cannot run {command:?}: {error}")))?;
        let process = Process { name: name.to_owned(), child, log };
        resources.process(process.child.id())?;
        Ok(process)
    }

    /// Waits for a condition; it is an error if the program exits before.
    ///
    /// # Errors
    /// If the condition does not become true in time; the message ends with the program's log.
    pub fn until<T>(&mut self, what: &str, mut ask: impl FnMut(&str) -> Result<Option<T>>) -> Result<T> {
        let (name, log) = (self.name.clone(), self.log.clone());
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        wait::until(what, || {
            if let Some(answer) = ask(&read())? {
                return Ok(Some(answer));
            }
            match self.child.try_wait()? {
                Some(status) => Err(Error(format!("{name} exited ({status}) before: {what}"))),
                None => Ok(None),
            }
        })
        .map_err(|error| Error(format!("{error}\n--- log of {name}\n{}", read())))
    }

    /// Returns its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns its output so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// If the system call fails.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it has exited by itself.
    ///
    /// # Errors
    /// If it does not exit, or not with success.
    pub fn wait_exit(&mut self) -> Result<()> {
        let name = self.name.clone();
        let status = wait::until(&format!("{name} has exited"), || Ok(self.child.try_wait()?))?;
        if status.success() { Ok(()) } else { Err(Error(format!("{name} exited with {status}"))) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has already exited.
        let _ = self.kill();
    }
}
