//! The program `ipvsadm`: what it does with its arguments, on a daemon that is asked.
//!
//! Edits are collected and travel together, so that `-R` with a hundred thousand lines is a few requests. Whatever has to
//! know what became of them, a list for one, sends them first.

use std::io::{self, Write};

use super::apply::{self, Refusal, no_sync, nobody_has, refusal};
use super::ask::Ask;
use super::command::{Command, Listing, ParseError, Table};
use super::names::{Names, Numeric};
use super::restore::{Lines, Next};
use super::rows::ServiceRow;
use super::words::arguments;
use super::{Layout, connections, parse_words, save, services, timeouts};
use crate::cli::table::{connection_row, service_row};
use crate::edit::Errno;
use crate::model::{ServiceKey, Settings};
use crate::request::{ConfigEdit, ConnectionQuery, Edit, EditedView, NoParams, Request, ServiceListQuery};
use crate::socket::client::ClientError;
use crate::view::{ConnectionPage, ServiceList};

/// The first line of `-h`, and all of `-v`.
pub const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";
const HELP: &str = include_str!("help.txt");
/// Edits in one request: some MiB of JSON, and a small part of the time that any request costs.
const AT_ONCE: usize = 25_000;
/// Connections in one page.
const PAGE: u32 = 10_000;

/// Whether a daemon is needed to carry this out: only `-h` and `-v` do without.
pub fn needs_daemon(words: &[String]) -> bool {
    !matches!(parse_words(words.to_vec(), &Numeric), Ok(Command::Help | Command::Version))
}

/// Where it runs: everything but the daemon.
pub struct Surroundings<'a> {
    /// Who knows names.
    pub names: &'a dyn Names,
    /// Whether there is a network interface of this name.
    pub interface: &'a dyn Fn(&str) -> bool,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}

/// Why a program ends early.
#[derive(Debug)]
pub enum End {
    /// With this status; what there was to say is said.
    Status(u8),
    /// The daemon failed.
    Daemon(ClientError),
    /// Nobody takes what is written.
    Output(io::Error),
}

impl From<io::Error> for End {
    fn from(why: io::Error) -> End {
        End::Output(why)
    }
}

impl From<ClientError> for End {
    fn from(why: ClientError) -> End {
        End::Daemon(why)
    }
}

/// One run of `ipvsadm`.
pub struct Program<'a, A> {
    daemon: &'a mut A,
    around: Surroundings<'a>,
    edits: Vec<Edit>,
    /// What the last command ended with, of those that were carried out.
    status: u8,
}

impl<'a, A: Ask> Program<'a, A> {
    /// A program that has not begun.
    pub fn new(daemon: &'a mut A, around: Surroundings<'a>) -> Program<'a, A> {
        Program { daemon, around, edits: Vec::new(), status: 0 }
    }

    /// Does what the arguments say, the program's name not among them, and gives the exit status.
    pub fn run(mut self, words: Vec<String>, input: &mut dyn Lines) -> u8 {
        let result = match self.understand(words) {
            Ok(Some(Command::Restore)) => self.restore(input),
            Ok(Some(command)) => self.one(command),
            Ok(None) => Ok(()),
            Err(end) => Err(end),
        };
        // What was asked for before the end counts.
        let result = match self.send() {
            Ok(()) => result,
            Err(why) => Err(why),
        };
        match result {
            Ok(()) => self.status,
            Err(End::Status(status)) => status,
            Err(End::Daemon(why)) => {
                let _ = writeln!(self.around.err, "{why}");
                255
            }
            // A reader that has seen enough, such as `head`, is no failure of ours.
            Err(End::Output(_)) => self.status,
        }
    }

    fn one(&mut self, command: Command) -> Result<(), End> {
        self.carry_out(command)?;
        self.send()
    }

    /// The command of a line; none when the line is wrong and the next may follow.
    fn understand(&mut self, words: Vec<String>) -> Result<Option<Command>, End> {
        let error = match parse_words(words, self.around.names) {
            Ok(command) => return Ok(Some(command)),
            Err(error) => error,
        };
        self.send()?;
        writeln!(self.around.err, "{error}")?;
        self.status = error.status();
        if matches!(error, ParseError::Unknown(_)) { Ok(None) } else { Err(End::Status(self.status)) }
    }

    /// Lines, each a command, until one is wrong.
    fn restore(&mut self, input: &mut dyn Lines) -> Result<(), End> {
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
            match self.understand(words)? {
                // It would wait for itself.
                Some(Command::Restore) => {
                    self.send()?;
                    writeln!(self.around.err, "{}", ParseError::NoCommand)?;
                    return Err(End::Status(255));
                }
                Some(command) => self.carry_out(command)?,
                None => {}
            }
        }
    }

    fn carry_out(&mut self, command: Command) -> Result<(), End> {
        let command = match apply::edit(command) {
            Ok(edit) => {
                self.edits.push(edit);
                return if self.edits.len() < AT_ONCE { Ok(()) } else { self.send() };
            }
            Err(other) => other,
        };
        self.send()?;
        self.status = 0;
        match command {
            Command::NobodyHas { edit, service, name } => {
                let there = !self.services(Some(service))?.is_empty();
                self.refuse(&nobody_has(edit, service, there, &name))
            }
            Command::StartDaemon { interface } => {
                let why = no_sync(interface.as_deref(), self.around.interface);
                self.refuse(&why)
            }
            Command::StopDaemon => self.refuse(&Refusal::NoDaemon),
            Command::List(listing) => self.list(&listing),
            Command::Save { numeric } => {
                let rows = self.services(None)?;
                let text = save(&rows, if numeric { &Numeric } else { self.around.names });
                self.say(&text)
            }
            Command::Help => {
                self.say(VERSION)?;
                self.say(HELP)?;
                Err(End::Status(0))
            }
            Command::Version => {
                self.say(VERSION)?;
                Err(End::Status(0))
            }
            _ => Ok(()),
        }
    }

    fn say(&mut self, text: &str) -> Result<(), End> {
        self.around.out.write_all(text.as_bytes())?;
        Ok(self.around.out.flush()?)
    }

    fn refuse(&mut self, why: &Refusal) -> Result<(), End> {
        self.status = 255;
        Ok(writeln!(self.around.err, "{}", refusal(why))?)
    }

    /// Sends the edits that were collected, and tells of those that were refused.
    fn send(&mut self) -> Result<(), End> {
        let edits = std::mem::take(&mut self.edits);
        if edits.is_empty() { Ok(()) } else { self.deliver(edits) }
    }

    /// The status is that of the last edit. Where there is no room for all, there may be some for a part.
    fn deliver(&mut self, edits: Vec<Edit>) -> Result<(), End> {
        let about_destination: Vec<bool> = edits.iter().map(is_about_destination).collect();
        let last = edits.len() - 1;
        let request = Request::ConfigEdit(ConfigEdit { edits });
        let edited: EditedView = match (self.daemon.ask(&request), request) {
            (Ok(edited), _) => edited,
            (Err(ClientError::Refused(_)), Request::ConfigEdit(ConfigEdit { mut edits })) if last > 0 => {
                let rest = edits.split_off(edits.len() / 2);
                self.deliver(edits)?;
                return self.deliver(rest);
            }
            (Err(why @ ClientError::Refused(_)), _) => {
                self.status = 255;
                return Ok(writeln!(self.around.err, "{why}")?);
            }
            (Err(why), _) => return Err(why.into()),
        };
        self.status = 0;
        for refused in edited.refused {
            let errno = refused.data.errno.unwrap_or(Errno::EInval);
            let of_destination = about_destination.get(refused.at).is_some_and(|of| *of);
            writeln!(self.around.err, "{}", apply::words(errno, of_destination))?;
            if refused.at == last {
                self.status = 255;
            }
        }
        Ok(())
    }

    fn list(&mut self, listing: &Listing) -> Result<(), End> {
        let Listing { table, exact, unsorted, numeric, service } = *listing;
        let names: &dyn Names = if numeric { &Numeric } else { self.around.names };
        let text = match table {
            Table::Timeouts => timeouts(&self.settings()?),
            // No sync daemon ever runs.
            Table::Daemons => String::new(),
            Table::Connections { engine } => {
                let page = self.connections()?;
                let rows: Vec<_> = page.connections.iter().map(connection_row).collect();
                connections(&rows, engine, names)
            }
            _ => {
                let rows = self.services(service)?;
                if service.is_some() && rows.is_empty() {
                    writeln!(self.around.err, "No such service")?;
                    return Err(End::Status(1));
                }
                services(&rows, Layout { table, exact, unsorted, single: service.is_some() }, names)
            }
        };
        self.say(&text)
    }

    fn services(&mut self, only: Option<ServiceKey>) -> Result<Vec<ServiceRow>, End> {
        let query = ServiceListQuery { service: only, brief: true };
        let list: ServiceList = self.daemon.ask(&Request::ServiceList(query))?;
        Ok(list.services.iter().map(service_row).collect())
    }

    fn settings(&mut self) -> Result<Settings, End> {
        /// Of the configuration only this.
        #[derive(serde::Deserialize)]
        struct Known {
            settings: Settings,
        }
        let known: Known = self.daemon.ask(&Request::ConfigGet(NoParams {}))?;
        Ok(known.settings)
    }

    fn connections(&mut self) -> Result<ConnectionPage, End> {
        let mut all = ConnectionPage::default();
        loop {
            let query =
                ConnectionQuery { limit: PAGE, cursor: all.next.take(), ..ConnectionQuery::default() };
            let page: ConnectionPage = self.daemon.ask(&Request::ConnectionList(query))?;
            all.connections.extend(page.connections);
            all.next = page.next;
            if all.next.is_none() {
                return Ok(all);
            }
        }
    }
}

fn is_about_destination(edit: &Edit) -> bool {
    matches!(edit, Edit::DestinationAdd(_) | Edit::DestinationEdit(_) | Edit::DestinationRemove(_))
}
