//! Does what was typed: asks the daemon, or answers without it, and gives back the text to print.

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

/// An apply of ten thousand services answers well within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// What was typed does not fit together.
    #[error("{0}")]
    Usage(String),
    /// The file cannot be read.
    #[error(transparent)]
    Parse(#[from] parse::ParseError),
    /// The file makes no sense.
    #[error("{0}")]
    InputErrors(#[from] InputErrors),
    /// The daemon refused, or is not there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A variable cannot be read or set.
    #[error("{0}")]
    Sysctl(String),
    /// This machine cannot run `polluxd`; the text is the list of checks.
    #[error("{0}")]
    NotReady(String),
    /// A replayed case is not as recorded, or there was none; the text is the whole report.
    #[error("{0}")]
    Differs(String),
    /// There is nothing to replay.
    #[error(transparent)]
    Replay(#[from] replay::ReplayError),
    /// The manual pages cannot be written.
    #[error(transparent)]
    Man(#[from] man::ManError),
    /// There is nothing to add, and the status is this one.
    #[error("it ended with status {0}")]
    Status(u8),
    /// The answer cannot be written as JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The answer cannot be written as TOML.
    #[error("cannot write TOML: {0}; try --json")]
    Toml(#[from] toml::ser::Error),
}

/// Does what was typed and gives back what to print.
///
/// # Errors
/// When a file is wrong, or the daemon refuses or is not there.
pub fn run(cli: &Cli) -> Result<String, CliError> {
    let ask = Ask { socket: &cli.socket, namespace: cli.namespace.as_ref(), json: cli.json };
    match &cli.command {
        Command::Apply { file, dry_run } => {
            let (config, digest) = checked(file)?;
            let apply = Apply { config, dry_run: *dry_run, digest: Some(digest) };
            ask.show(&Request::ConfigApply(apply), Applied::to_string)
        }
        Command::Service(command) => ask.done(&service::request(command)?),
        Command::Destination(command) => ask.done(&destination::request(command)?),
        Command::Flush => ask.done(&Request::ServiceFlush(NoParams {})),
        Command::Settings(SettingsCommand::Set { changes }) => {
            ask.done(&Request::SettingsSet(settings::edit(changes)?))
        }
        Command::Fwmarks(command) => fwmarks(command, &ask),
        Command::Namespace(command) => namespaces(command, &ask),
        Command::Sysctl(args) => sysctl(args, &ask),
        Command::Zero(which) => ask.done(&Request::StatsZero(ServiceQuery { service: which.key()? })),
        Command::List(args) => {
            // Whoever reads JSON gets all.
            let query = ServiceListQuery { service: None, brief: !cli.json };
            ask.show(&Request::ServiceList(query), |list: &ServiceList| {
                let rows: Vec<_> = list.services.iter().map(table::service_row).collect();
                ipvsadm::services(
                    &rows,
                    Layout { table: args.table(), exact: args.exact, ..Layout::default() },
                    &Numeric,
                )
            })
        }
        Command::Connections { limit, all } => {
            let page = ask.connections(if *all { None } else { Some(*limit as usize) })?;
            let rows: Vec<_> = page.connections.iter().map(table::connection_row).collect();
            if cli.json { pretty(&page) } else { Ok(ipvsadm::connections(&rows, false, &Numeric)) }
        }
        Command::Stats => ask.show(&Request::StatsGet(NoParams {}), |view: &StatsView| table::stats(view)),
        Command::Debug { command: Some(command), .. } => debug::run(command, &ask),
        Command::Debug { command: None, .. } => debug::follow(&ask),
        Command::Modules { command } => modules::run(command.as_ref(), &ask),
        Command::Config => {
            let config: Config = ask.client()?.call(&Request::ConfigGet(NoParams {}))?;
            if cli.json { pretty(&config) } else { Ok(toml::to_string(&config)?) }
        }
        Command::Schema => pretty(&schema::schema()),
        Command::Check { file } => {
            checked(file)?;
            Ok(if cli.json { "[]\n".to_owned() } else { format!("{}: no errors\n", file.display()) })
        }
        Command::Replay { path } => match replay::cli(path, cli.json)? {
            replay::Told { text, good: true } => Ok(text),
            replay::Told { text, .. } => Err(CliError::Differs(text)),
        },
        Command::Man { dir } => Ok(man::pages(dir.as_deref())?),
        Command::CheckHost => check_host(cli.json),
        Command::Ipvsadm { args } => {
            let status = cli_ipvsadm::run(&cli.socket, cli.namespace.clone(), args.clone());
            Err(CliError::Status(status))
        }
        Command::Version => ask.show(&Request::VersionGet(NoParams {}), table::version),
        Command::Stop => ask.done(&Request::DaemonStop(NoParams {})),
    }
}

fn check_host(json: bool) -> Result<String, CliError> {
    let checks = host::checks(Path::new("/"));
    let text =
        if json { pretty(&checks)? } else { checks.iter().map(|check| format!("{check}\n")).collect() };
    if host::ready(&checks) { Ok(text) } else { Err(CliError::NotReady(text)) }
}

pub(super) struct Ask<'a> {
    socket: &'a Path,
    namespace: Option<&'a String>,
    pub(super) json: bool,
}

impl Ask<'_> {
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        Ok(Client::connect(self.socket, PATIENCE)?.in_namespace(self.namespace.cloned()))
    }

    pub(super) fn show<T: DeserializeOwned + Serialize>(
        &self,
        request: &Request,
        text: impl Fn(&T) -> String,
    ) -> Result<String, CliError> {
        let reply = self.client()?.call(request)?;
        if self.json { pretty(&reply) } else { Ok(text(&reply)) }
    }

    pub(super) fn done(&self, request: &Request) -> Result<String, CliError> {
        self.show(request, |_: &Done| String::new())
    }

    /// Pages until `limit`, or the end. The last page's cursor stays, so that `--json` tells whether there is more.
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

/// The configuration of a file, and what tells that file from others.
fn checked(file: &Path) -> Result<(Config, String), CliError> {
    let (config, digest) = parse::file_and_digest(file)?;
    validate::validate(&config)?;
    Ok((config, digest))
}

fn pretty(value: &impl Serialize) -> Result<String, CliError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn fwmarks(command: &FwmarksCommand, ask: &Ask<'_>) -> Result<String, CliError> {
    match command {
        FwmarksCommand::Set { file } => ask.done(&Request::FwmarksSet(fwmarks::read(file)?)),
        FwmarksCommand::List => {
            let config: Config = ask.client()?.call(&Request::ConfigGet(NoParams {}))?;
            let rules = FwmarksSet { fwmarks: config.fwmarks };
            if ask.json { pretty(&rules) } else { Ok(toml::to_string(&rules)?) }
        }
    }
}

fn namespaces(command: &NamespaceCommand, ask: &Ask<'_>) -> Result<String, CliError> {
    match namespace::request(command) {
        request @ Request::NamespaceList(_) => ask.show(&request, namespace::table),
        request => ask.done(&request),
    }
}

fn sysctl(args: &SysctlArgs, ask: &Ask<'_>) -> Result<String, CliError> {
    if args.load {
        return load(args, ask);
    }
    let changes = args.changes()?;
    if !changes.values.is_empty() {
        set(&mut ask.client()?, changes, &BTreeMap::new())?;
    }
    show(args, args.shown()?, ask)
}

fn show(args: &SysctlArgs, shown: Vec<String>, ask: &Ask<'_>) -> Result<String, CliError> {
    if shown.is_empty() {
        return Ok(String::new());
    }
    let names = shown.clone();
    ask.show(&Request::SysctlGet(SysctlGet { names }), |values: &Values| args.text(&shown, values))
}

/// All that must be set is set together; what may fail comes after it, one by one.
fn load(args: &SysctlArgs, ask: &Ask<'_>) -> Result<String, CliError> {
    let (lines, skipped) = sysctl::files(args)?;
    for line in skipped.iter().filter(|_| !args.quiet) {
        eprintln!("pollux: {line}: not of net.ipv4.vs, passed over");
    }
    let values = |forgiven| {
        let lines = lines.values().filter(move |line| line.forgiven == forgiven);
        lines.map(|line| (line.name.clone(), line.value.clone()))
    };
    let mut client = ask.client()?;
    set(&mut client, Values { values: values(false).collect() }, &lines)?;
    let mut shown: Vec<String> = values(false).map(|(name, _)| name).collect();
    for (name, value) in values(true) {
        let one = Values { values: [(name.clone(), value)].into() };
        match set(&mut client, one, &lines) {
            Ok(()) => shown.push(name),
            // Said, and forgiven.
            Err(CliError::Sysctl(why)) => eprintln!("pollux: {why}"),
            Err(error) => return Err(error),
        }
    }
    shown.sort();
    if args.quiet { Ok(String::new()) } else { show(args, shown, ask) }
}

fn set(client: &mut Client, values: Values, lines: &BTreeMap<String, Line>) -> Result<(), CliError> {
    match client.call::<Done>(&Request::SysctlSet(values)) {
        Ok(Done {}) => Ok(()),
        Err(ClientError::Refused(error)) => Err(CliError::Sysctl(sysctl::told(&error, lines))),
        Err(error) => Err(error.into()),
    }
}
