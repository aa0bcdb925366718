//! A program that runs beside us and is stopped by the process id we started it with.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::command::{Result, Trouble};
use super::ledger::Ledger;
use super::wait;

/// The program; it is killed when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command with its output in a log file of the bed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(ledger: &Ledger, name: &str, command: &mut Command) -> Result<Process> {
        let log = ledger.directory().join(format!("{name}.log"));
        let file = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .map_err(|error| Trouble(format!("cannot run {command:?}: {error}")))?;
        let process = Process { name: name.to_owned(), child, log };
        ledger.process(process.child.id())?;
        Ok(process)
    }

    /// Waits until a fact holds, or until the program has ended, which is an error.
    ///
    /// # Errors
    /// When the fact does not come true; the message ends with the program's log.
    pub fn until<T>(&mut self, what: &str, mut ask: impl FnMut(&str) -> Result<Option<T>>) -> Result<T> {
        let (name, log) = (self.name.clone(), self.log.clone());
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        wait::until(what, || {
            if let Some(answer) = ask(&read())? {
                return Ok(Some(answer));
            }
            match self.child.try_wait()? {
                Some(status) => Err(Trouble(format!("{name} ended ({status}) before this: {what}"))),
                None => Ok(None),
            }
        })
        .map_err(|error| Trouble(format!("{error}\n--- log of {name}\n{}", read())))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it does not end, or not with success.
    pub fn ended(&mut self) -> Result<()> {
        let name = self.name.clone();
        let status = wait::until(&format!("{name} has ended"), || Ok(self.child.try_wait()?))?;
        if status.success() { Ok(()) } else { Err(Trouble(format!("{name} ended with {status}"))) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it is gone already.
        let _ = self.kill();
    }
}
