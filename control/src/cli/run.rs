//! Executes a command, with or without the daemon, and returns the text to print.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::CliError;
use super::session::{Session, pretty};
use super::{
    Cli, Command, FwmarksCommand, NamespaceCommand, SettingsCommand, SysctlArgs, debug, destination, fwmarks,
    ipvsadm as cli_ipvsadm, man, modules, namespace, service, settings, sysctl, table,
};
use crate::api::request::{
    Apply, Done, FwmarksSet, NoParams, Request, ServiceListQuery, ServiceQuery, SysctlGet,
};
use crate::api::schema;
use crate::api::socket::client::{Client, ClientError};
use crate::api::view::{ServiceList, StatsView};
use crate::ipvsadm::daemon::Daemon;
use crate::ipvsadm::names::Numeric;
use crate::ipvsadm::{self, Layout};
use crate::model::Config;
use crate::model::diff::Applied;
use crate::model::sysctl::Values;
use crate::model::sysctl::conf::Line;
use crate::model::{parse, validate};
use crate::{host, replay};

/// Executes a command and returns the text to print.
///
/// # Errors
/// If a file is wrong, or the daemon refuses or cannot be reached.
pub fn run(cli: &Cli) -> Result<String, CliError> {
    let session = Session::new(cli);
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
                let layout = Layout { table: args.table(), exact: args.exact, ..Layout::default() };
                ipvsadm::services(&list.services, layout, &Numeric)
            })
        }
        Command::Connections { limit, all } => {
            let page = session.client()?.connections(if *all { None } else { Some(*limit as usize) })?;
            if cli.json {
                return pretty(&page);
            }
            Ok(ipvsadm::connections(&page.connections, false, &Numeric))
        }
        Command::Stats => {
            session.show(&Request::StatsGet(NoParams {}), |view: &StatsView| table::stats(view))
        }
        Command::Debug { command, follow } => debug::run(command.as_ref(), *follow, &session),
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
            let status = cli_ipvsadm::run(&cli.socket(), cli.namespace(), args.clone());
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

/// The valid configuration in a file, and the digest of the file.
fn validated(file: &Path) -> Result<(Config, String), CliError> {
    let (config, digest) = parse::file_and_digest(file)?;
    validate::validate(&config).map_err(|errors| CliError::in_file(file, errors))?;
    Ok((config, digest))
}

fn fwmarks(command: &FwmarksCommand, session: &Session) -> Result<String, CliError> {
    match command {
        FwmarksCommand::Set { file } => session.send(&Request::FwmarksSet(fwmarks::read(file)?)),
        FwmarksCommand::List => {
            let config: Config = session.client()?.call(&Request::ConfigGet(NoParams {}))?;
            let rules = FwmarksSet { fwmarks: config.fwmarks };
            if session.json { pretty(&rules) } else { Ok(toml::to_string(&rules)?) }
        }
    }
}

fn namespaces(command: &NamespaceCommand, session: &Session) -> Result<String, CliError> {
    match namespace::request(command) {
        request @ Request::NamespaceList(_) => session.show(&request, namespace::table),
        request => session.send(&request),
    }
}

fn sysctl(args: &SysctlArgs, session: &Session) -> Result<String, CliError> {
    if args.load {
        return load(args, session);
    }
    let changes = args.changes()?;
    if !changes.values.is_empty() {
        set(&mut session.client()?, changes, &BTreeMap::new())?;
    }
    show(args, args.shown()?, session)
}

fn show(args: &SysctlArgs, shown: Vec<String>, session: &Session) -> Result<String, CliError> {
    if shown.is_empty() {
        return Ok(String::new());
    }
    let names = shown.clone();
    session.show(&Request::SysctlGet(SysctlGet { names }), |values: &Values| args.text(&shown, values))
}

/// Sets all mandatory variables in one request, then those whose failure is ignored one by one.
fn load(args: &SysctlArgs, session: &Session) -> Result<String, CliError> {
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
            Err(CliError::SysctlRefused { text, .. }) => eprintln!("pollux: {text}"),
            Err(error) => return Err(error),
        }
    }
    shown.sort();
    if args.quiet { Ok(String::new()) } else { show(args, shown, session) }
}

fn set(client: &mut Client, values: Values, lines: &BTreeMap<String, Line>) -> Result<(), CliError> {
    match client.call::<Done>(&Request::SysctlSet(values)) {
        Ok(Done {}) => Ok(()),
        Err(ClientError::Refused(error)) => {
            Err(CliError::SysctlRefused { text: sysctl::explain(&error, lines), error: Box::new(error) })
        }
        Err(error) => Err(error.into()),
    }
}
