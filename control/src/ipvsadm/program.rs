//! The program `ipvsadm`: executes its arguments on a daemon.
//!
//! Edits are collected and sent together, so that `-R` with a hundred thousand lines takes a few requests. A command that
//! depends on their results, such as a list, sends them first.

use std::io::{self, Write};

use super::apply::{self, Refusal, no_sync, refusal, unknown_name};
use super::command::{Command, Listing, ParseError, Table};
use super::daemon::Daemon;
use super::names::{Names, Numeric};
use super::restore::{LineSource, Next};
use super::words::arguments;
use super::{Layout, connections, parse_words, save, services, timeouts};
use crate::api::request::{ConfigEdit, Edit, EditedView, NoParams, Request, ServiceListQuery};
use crate::api::socket::client::ClientError;
use crate::api::view::{ServiceList, ServiceView};
use crate::model::edit::Errno;
use crate::model::{ServiceKey, Settings};

/// The first line of `-h`, and all of `-v`.
pub const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";
const HELP: &str = include_str!("help.txt");
/// Edits in one request: a few MiB of JSON, enough to make the cost of the request itself negligible.
const MAX_EDITS: usize = 25_000;

/// Returns true if the command needs a daemon: all but `-h` and `-v` do.
pub fn needs_daemon(words: &[String]) -> bool {
    !matches!(parse_words(words.to_vec(), &Numeric), Ok(Command::Help | Command::Version))
}

/// Everything the program uses except the daemon.
pub struct Environment<'a> {
    /// Host and service names.
    pub names: &'a dyn Names,
    /// Returns true if a network interface of this name exists.
    pub interface: &'a dyn Fn(&str) -> bool,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}

/// Reason why a program ends early.
#[derive(Debug)]
pub enum Exit {
    /// With this status, after its message has been printed.
    Status(u8),
    /// The daemon failed.
    Daemon(ClientError),
    /// The output cannot be written.
    Output,
}

impl From<io::Error> for Exit {
    fn from(_: io::Error) -> Exit {
        Exit::Output
    }
}

impl From<ClientError> for Exit {
    fn from(why: ClientError) -> Exit {
        Exit::Daemon(why)
    }
}

/// One run of `ipvsadm`.
pub struct Program<'a, A> {
    daemon: &'a mut A,
    environment: Environment<'a>,
    edits: Vec<Edit>,
    /// Exit status of the last command executed.
    status: u8,
}

impl<'a, A: Daemon> Program<'a, A> {
    /// Creates a program.
    pub fn new(daemon: &'a mut A, environment: Environment<'a>) -> Program<'a, A> {
        Program { daemon, environment, edits: Vec::new(), status: 0 }
    }

    /// Executes the arguments, given without the program's name, and returns the exit status.
    pub fn run(mut self, words: Vec<String>, input: &mut dyn LineSource) -> u8 {
        let result = match self.parse(words) {
            Ok(Some(Command::Restore)) => self.restore(input),
            Ok(Some(command)) => self.single(command),
            Ok(None) => Ok(()),
            Err(end) => Err(end),
        };
        // Commands before an error still take effect.
        let result = match self.send() {
            Ok(()) => result,
            Err(why) => Err(why),
        };
        match result {
            Ok(()) => self.status,
            Err(Exit::Status(status)) => status,
            Err(Exit::Daemon(why)) => {
                let _ = writeln!(self.environment.err, "{why}");
                255
            }
            // A closed pipe, such as after `| head`, is not an error.
            Err(Exit::Output) => self.status,
        }
    }

    fn single(&mut self, command: Command) -> Result<(), Exit> {
        self.carry_out(command)?;
        self.send()
    }

    /// Parses a line; `None` if it is wrong and the next lines may still be read.
    fn parse(&mut self, words: Vec<String>) -> Result<Option<Command>, Exit> {
        let error = match parse_words(words, self.environment.names) {
            Ok(command) => return Ok(Some(command)),
            Err(error) => error,
        };
        self.send()?;
        writeln!(self.environment.err, "{error}")?;
        self.status = error.status();
        if matches!(error, ParseError::Unknown(_)) { Ok(None) } else { Err(Exit::Status(self.status)) }
    }

    /// Executes lines until one is wrong.
    fn restore(&mut self, input: &mut dyn LineSource) -> Result<(), Exit> {
        loop {
            let line = match input.next(!self.edits.is_empty()) {
                Next::Line(line) => line,
                Next::Nothing => {
                    self.send()?;
                    continue;
                }
                Next::End => return Ok(()),
            };
            let words = arguments(&line);
            if words.is_empty() {
                continue;
            }
            match self.parse(words)? {
                // A nested restore would wait for its own input.
                Some(Command::Restore) => {
                    self.send()?;
                    writeln!(self.environment.err, "{}", ParseError::NoCommand)?;
                    return Err(Exit::Status(255));
                }
                Some(command) => self.carry_out(command)?,
                None => {}
            }
        }
    }

    fn carry_out(&mut self, command: Command) -> Result<(), Exit> {
        let command = match apply::edit(command) {
            Ok(edit) => {
                self.edits.push(edit);
                return if self.edits.len() < MAX_EDITS { Ok(()) } else { self.send() };
            }
            Err(other) => other,
        };
        self.send()?;
        self.status = 0;
        match command {
            Command::UnknownName { edit, service, name } => {
                let there = !self.services(Some(service))?.is_empty();
                self.refuse(&unknown_name(edit, service, there, &name))
            }
            Command::StartDaemon { interface } => {
                let why = no_sync(interface.as_deref(), self.environment.interface);
                self.refuse(&why)
            }
            Command::StopDaemon => self.refuse(&Refusal::NoDaemon),
            Command::List(listing) => self.list(&listing),
            Command::Save { numeric } => {
                let services = self.services(None)?;
                let text = save(&services, if numeric { &Numeric } else { self.environment.names });
                self.print(&text)
            }
            Command::Help => {
                self.print(VERSION)?;
                self.print(HELP)?;
                Err(Exit::Status(0))
            }
            Command::Version => {
                self.print(VERSION)?;
                Err(Exit::Status(0))
            }
            _ => Ok(()),
        }
    }

    fn print(&mut self, text: &str) -> Result<(), Exit> {
        self.environment.out.write_all(text.as_bytes())?;
        Ok(self.environment.out.flush()?)
    }

    fn refuse(&mut self, why: &Refusal) -> Result<(), Exit> {
        self.status = 255;
        Ok(writeln!(self.environment.err, "{}", refusal(why))?)
    }

    /// Sends the collected edits and reports those that were refused.
    fn send(&mut self) -> Result<(), Exit> {
        let edits = std::mem::take(&mut self.edits);
        if edits.is_empty() { Ok(()) } else { self.deliver(edits) }
    }

    /// The status is that of the last edit. If the daemon refuses a batch, for lack of space, both halves are tried.
    fn deliver(&mut self, edits: Vec<Edit>) -> Result<(), Exit> {
        let about_destination: Vec<bool> = edits.iter().map(is_about_destination).collect();
        let last = edits.len() - 1;
        let request = Request::ConfigEdit(ConfigEdit { edits });
        let edited: EditedView = match (self.daemon.request(&request), request) {
            (Ok(edited), _) => edited,
            (Err(ClientError::Refused(_)), Request::ConfigEdit(ConfigEdit { mut edits })) if last > 0 => {
                let rest = edits.split_off(edits.len() / 2);
                self.deliver(edits)?;
                return self.deliver(rest);
            }
            (Err(why @ ClientError::Refused(_)), _) => {
                self.status = 255;
                return Ok(writeln!(self.environment.err, "{why}")?);
            }
            (Err(why), _) => return Err(why.into()),
        };
        self.status = 0;
        for refused in edited.refused {
            let errno = refused.data.errno.unwrap_or(Errno::EInval);
            let of_destination = about_destination.get(refused.at).is_some_and(|is_about| *is_about);
            writeln!(self.environment.err, "{}", apply::words(errno, of_destination))?;
            if refused.at == last {
                self.status = 255;
            }
        }
        Ok(())
    }

    fn list(&mut self, listing: &Listing) -> Result<(), Exit> {
        let Listing { table, exact, unsorted, numeric, service } = *listing;
        let names: &dyn Names = if numeric { &Numeric } else { self.environment.names };
        let text = match table {
            Table::Timeouts => timeouts(&self.settings()?),
            // There is no sync daemon.
            Table::Daemons => String::new(),
            Table::Connections { engine } => {
                let page = self.daemon.connections(None)?;
                connections(&page.connections, engine, names)
            }
            _ => {
                let found = self.services(service)?;
                if service.is_some() && found.is_empty() {
                    writeln!(self.environment.err, "No such service")?;
                    return Err(Exit::Status(1));
                }
                services(&found, Layout { table, exact, unsorted, single: service.is_some() }, names)
            }
        };
        self.print(&text)
    }

    fn services(&mut self, only: Option<ServiceKey>) -> Result<Vec<ServiceView>, Exit> {
        let query = ServiceListQuery { service: only, brief: true };
        let list: ServiceList = self.daemon.request(&Request::ServiceList(query))?;
        Ok(list.services)
    }

    fn settings(&mut self) -> Result<Settings, Exit> {
        /// The part of the configuration that is needed.
        #[derive(serde::Deserialize)]
        struct Known {
            settings: Settings,
        }
        let known: Known = self.daemon.request(&Request::ConfigGet(NoParams {}))?;
        Ok(known.settings)
    }
}

fn is_about_destination(edit: &Edit) -> bool {
    matches!(edit, Edit::DestinationAdd(_) | Edit::DestinationEdit(_) | Edit::DestinationRemove(_))
}
