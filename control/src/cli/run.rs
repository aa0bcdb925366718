//! Executes a command, with or without the daemon, and returns the text to print.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    Cli, Command, FwmarksCommand, NamespaceCommand, SettingsCommand, SysctlArgs, debug, destination, fwmarks,
    ipvsadm as cli_ipvsadm, man, modules, namespace, service, settings, sysctl, table,
};
use crate::diff::Applied;
use crate::input_error::InputErrors;
use crate::ipvsadm::names::Numeric;
use crate::ipvsadm::{self, Layout};
use crate::model::Config;
use crate::request::{
    Apply, ConnectionQuery, Done, FwmarksSet, NoParams, Request, ServiceListQuery, ServiceQuery, SysctlGet,
};
use crate::socket::client::{Client, ClientError};
use crate::sysctl::Values;
use crate::sysctl::conf::Line;
use crate::view::{ConnectionPage, ServiceList, StatsView};
use crate::{host, parse, replay, schema, validate};

/// Long enough for an apply of ten thousand services.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Arguments contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The file cannot be read or parsed.
    #[error(transparent)]
    Parse(#[from] parse::ParseError),
    /// The file has invalid values.
    #[error("{0}")]
    InputErrors(#[from] InputErrors),
    /// The daemon refused or cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A sysctl variable cannot be read or set.
    #[error("{0}")]
    Sysctl(String),
    /// This machine cannot run `polluxd`; the text is the list of checks.
    #[error("{0}")]
    NotReady(String),
    /// A replayed case differs from its recording; the text is the whole report.
    #[error("{0}")]
    Differs(String),
    /// The cases to replay cannot be found.
    #[error(transparent)]
    Replay(#[from] replay::ReplayError),
    /// The manual pages cannot be written.
    #[error(transparent)]
    Man(#[from] man::ManError),
    /// The command has printed its error and ends with this exit status.
    #[error("exit status {0}")]
    Status(u8),
    /// The reply cannot be written as JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The reply cannot be written as TOML.
    #[error("cannot write TOML: {0}; try --json")]
    Toml(#[from] toml::ser::Error),
}

/// Executes a command and returns the text to print.
///
/// # Errors
/// If a file is wrong, or the daemon refuses or cannot be reached.
pub fn run(cli: &Cli) -> Result<String, CliError> {
    let session = Session { socket: &cli.socket, namespace: cli.namespace.as_ref(), json: cli.json };
    match &cli.command {
        Command::Apply { file, dry_run } => {
            let (config, digest) = validated(file)?;
            let apply = Apply { config, dry_run: *dry_run, digest: Some(digest) };
            session.show(&Request::ConfigApply(apply), Applied::to_string)
        }
        Command::Service(command) => session.send(&service::request(command)?),
        Command::Destination(command) => session.send(&destination::request(command)?),
        Command::Flush => session.send(&Request::ServiceFlush(NoParams {})),
        Command::Settings(SettingsCommand::Set { changes }) => {
            session.send(&Request::SettingsSet(settings::edit(changes)?))
        }
        Command::Fwmarks(command) => fwmarks(command, &session),
        Command::Namespace(command) => namespaces(command, &session),
        Command::Sysctl(args) => sysctl(args, &session),
        Command::Zero(service) => session.send(&Request::StatsZero(ServiceQuery { service: service.key()? })),
        Command::List(args) => {
            // JSON output has every field.
            let query = ServiceListQuery { service: None, brief: !cli.json };
            session.show(&Request::ServiceList(query), |list: &ServiceList| {
                let rows: Vec<_> = list.services.iter().map(table::service_row).collect();
                ipvsadm::services(
                    &rows,
                    Layout { table: args.table(), exact: args.exact, ..Layout::default() },
                    &Numeric,
                )
            })
        }
        Command::Connections { limit, all } => {
            let page = session.connections(if *all { None } else { Some(*limit as usize) })?;
            let rows: Vec<_> = page.connections.iter().map(table::connection_row).collect();
            if cli.json { pretty(&page) } else { Ok(ipvsadm::connections(&rows, false, &Numeric)) }
        }
        Command::Stats => {
            session.show(&Request::StatsGet(NoParams {}), |view: &StatsView| table::stats(view))
        }
        Command::Debug { command: Some(command), .. } => debug::run(command, &session),
        Command::Debug { command: None, .. } => debug::follow(&session),
        Command::Modules { command } => modules::run(command.as_ref(), &session),
        Command::Config => {
            let config: Config = session.client()?.call(&Request::ConfigGet(NoParams {}))?;
            if cli.json { pretty(&config) } else { Ok(toml::to_string(&config)?) }
        }
        Command::Schema => pretty(&schema::schema()),
        Command::Check { file } => {
            validated(file)?;
            Ok(if cli.json { "[]\n".to_owned() } else { format!("{}: no errors\n", file.display()) })
        }
        Command::Replay { path } => match replay::cli(path, cli.json)? {
            replay::Output { text, passed: true } => Ok(text),
            replay::Output { text, .. } => Err(CliError::Differs(text)),
        },
        Command::Man { dir } => Ok(man::pages(dir.as_deref())?),
        Command::CheckHost => check_host(cli.json),
        Command::Ipvsadm { args } => {
            let status = cli_ipvsadm::run(&cli.socket, cli.namespace.clone(), args.clone());
            Err(CliError::Status(status))
        }
        Command::Version => session.show(&Request::VersionGet(NoParams {}), table::version),
        Command::Stop => session.send(&Request::DaemonStop(NoParams {})),
    }
}

fn check_host(json: bool) -> Result<String, CliError> {
    let checks = host::checks(Path::new("/"));
    let text =
        if json { pretty(&checks)? } else { checks.iter().map(|check| format!("{check}\n")).collect() };
    if host::ready(&checks) { Ok(text) } else { Err(CliError::NotReady(text)) }
}

/// How to reach the daemon, and how to print its replies.
pub(super) struct Session<'a> {
    socket: &'a Path,
    namespace: Option<&'a String>,
    pub(super) json: bool,
}

impl Session<'_> {
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        Ok(Client::connect(self.socket, TIMEOUT)?.in_namespace(self.namespace.cloned()))
    }

    pub(super) fn show<T: DeserializeOwned + Serialize>(
        &self,
        request: &Request,
        text: impl Fn(&T) -> String,
    ) -> Result<String, CliError> {
        let reply = self.client()?.call(request)?;
        if self.json { pretty(&reply) } else { Ok(text(&reply)) }
    }

    pub(super) fn send(&self, request: &Request) -> Result<String, CliError> {
        self.show(request, |_: &Done| String::new())
    }

    /// Reads pages up to `limit` or the end. The cursor of the last page stays, so that `--json` shows whether there are more.
    fn connections(&self, limit: Option<usize>) -> Result<ConnectionPage, CliError> {
        let mut client = self.client()?;
        let mut all = ConnectionPage::default();
        loop {
            let left = limit.map_or(10_000, |limit| limit.saturating_sub(all.connections.len()).min(10_000));
            if left == 0 {
                return Ok(all);
            }
            let query = ConnectionQuery {
                limit: u32::try_from(left).unwrap_or(u32::MAX),
                cursor: all.next.take(),
                ..ConnectionQuery::default()
            };
            let page: ConnectionPage = client.call(&Request::ConnectionList(query))?;
            all.connections.extend(page.connections);
            all.next = page.next;
            if all.next.is_none() {
                return Ok(all);
            }
        }
    }
}

/// The valid configuration in a file, and the digest of the file.
fn validated(file: &Path) -> Result<(Config, String), CliError> {
    let (config, digest) = parse::file_and_digest(file)?;
    validate::validate(&config)?;
    Ok((config, digest))
}

fn pretty(value: &impl Serialize) -> Result<String, CliError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn fwmarks(command: &FwmarksCommand, session: &Session<'_>) -> Result<String, CliError> {
    match command {
        FwmarksCommand::Set { file } => session.send(&Request::FwmarksSet(fwmarks::read(file)?)),
        FwmarksCommand::List => {
            let config: Config = session.client()?.call(&Request::ConfigGet(NoParams {}))?;
            let rules = FwmarksSet { fwmarks: config.fwmarks };
            if session.json { pretty(&rules) } else { Ok(toml::to_string(&rules)?) }
        }
    }
}

fn namespaces(command: &NamespaceCommand, session: &Session<'_>) -> Result<String, CliError> {
    match namespace::request(command) {
        request @ Request::NamespaceList(_) => session.show(&request, namespace::table),
        request => session.send(&request),
    }
}

fn sysctl(args: &SysctlArgs, session: &Session<'_>) -> Result<String, CliError> {
    if args.load {
        return load(args, session);
    }
    let changes = args.changes()?;
    if !changes.values.is_empty() {
        set(&mut session.client()?, changes, &BTreeMap::new())?;
    }
    show(args, args.shown()?, session)
}

fn show(args: &SysctlArgs, shown: Vec<String>, session: &Session<'_>) -> Result<String, CliError> {
    if shown.is_empty() {
        return Ok(String::new());
    }
    let names = shown.clone();
    session.show(&Request::SysctlGet(SysctlGet { names }), |values: &Values| args.text(&shown, values))
}

/// Sets all mandatory variables in one request, then those whose failure is ignored one by one.
fn load(args: &SysctlArgs, session: &Session<'_>) -> Result<String, CliError> {
    let (lines, skipped) = sysctl::files(args)?;
    for line in skipped.iter().filter(|_| !args.quiet) {
        eprintln!("pollux: {line}: ignored, not in net.ipv4.vs");
    }
    let values = |optional| {
        let lines = lines.values().filter(move |line| line.optional == optional);
        lines.map(|line| (line.name.clone(), line.value.clone()))
    };
    let mut client = session.client()?;
    set(&mut client, Values { values: values(false).collect() }, &lines)?;
    let mut shown: Vec<String> = values(false).map(|(name, _)| name).collect();
    for (name, value) in values(true) {
        let one = Values { values: [(name.clone(), value)].into() };
        match set(&mut client, one, &lines) {
            Ok(()) => shown.push(name),
            // A leading `-` in the file: report the failure and go on.
            Err(CliError::Sysctl(why)) => eprintln!("pollux: {why}"),
            Err(error) => return Err(error),
        }
    }
    shown.sort();
    if args.quiet { Ok(String::new()) } else { show(args, shown, session) }
}

fn set(client: &mut Client, values: Values, lines: &BTreeMap<String, Line>) -> Result<(), CliError> {
    match client.call::<Done>(&Request::SysctlSet(values)) {
        Ok(Done {}) => Ok(()),
        Err(ClientError::Refused(error)) => Err(CliError::Sysctl(sysctl::explain(&error, lines))),
        Err(error) => Err(error.into()),
    }
}
