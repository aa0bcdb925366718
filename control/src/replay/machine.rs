//! A model of the recorded machine: its configuration, and the output of its commands.

use super::action::{Action, CONNECTIONS, SERVICES};
use super::balancer::Balancer;
use super::network::NetworkChange;
use super::shell::{self, After, SimpleCommand};
use super::sysctls::{self, SysctlError, Sysctls};
use super::{texts, topology};
use crate::ipvsadm::names::Numeric;
use crate::ipvsadm::program::VERSION;
use crate::ipvsadm::{self, Command, ParseError, apply, refusal, save};
use crate::model::edit::Step;
use crate::model::{Config, Scheduler, Settings, Start};

/// Ticks per second of the recorded kernel.
const HZ: u32 = 100;

/// The state of the machine.
pub struct Machine<'a> {
    /// The configuration.
    pub config: Config,
    /// The balancer it is applied to.
    pub balancer: &'a mut dyn Balancer,
    sysctls: Sysctls,
    /// Configurations that were refused, although the kernel would accept them.
    pub refused: Vec<String>,
}

/// Result of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CommandResult {
    status: u8,
    stdout: String,
    stderr: String,
}

impl CommandResult {
    fn printed(stdout: impl Into<String>) -> CommandResult {
        CommandResult { stdout: stdout.into(), ..CommandResult::default() }
    }

    fn failed(status: u8, why: impl AsRef<str>) -> CommandResult {
        CommandResult { status, stderr: format!("{}\n", why.as_ref()), ..CommandResult::default() }
    }
}

impl<'a> Machine<'a> {
    /// The recorded machine at its start, with small tables: a trace has a few hundred frames, and every case allocates new
    /// tables.
    pub fn new(balancer: &'a mut dyn Balancer) -> Machine<'a> {
        let start = Start {
            connections_ipv4: 1024,
            connections_ipv6: 1024,
            services: 64,
            destinations: 256,
            ..Start::default()
        };
        // Recordings are made without rate limits.
        let settings =
            Settings { like_linux_6_1: true, icmp_ratelimit: 0, icmp_msgs_per_sec: 0, ..Settings::default() };
        let config =
            Config { start, settings, network: Some(topology::network_state()), ..Config::default() };
        Machine { config, balancer, sysctls: Sysctls::default(), refused: Vec::new() }
    }

    /// Loads the modules of the schedulers in the rules, as the recorder did.
    pub fn load_for(&mut self, rules: &[String]) {
        for rule in rules {
            if let Ok(Command::AddService(service)) = ipvsadm::parse(rule) {
                self.sysctls.load(service.scheduler);
            }
        }
    }

    /// Sets a sysctl; `None` if that fails.
    pub fn sysctl(&mut self, name: &str, value: &str) -> Option<()> {
        self.sysctls.write(sysctls::name(name)?, value, &mut self.config).ok()
    }

    /// Applies the configuration, whose services are unchanged, to the balancer.
    pub fn configure(&mut self, command_line: &str) {
        self.apply_steps(command_line, &[]);
    }

    /// Applies the configuration that resulted from these steps to the balancer.
    fn apply_steps(&mut self, command_line: &str, steps: &[Step]) {
        if let Err(why) = self.balancer.configure(&self.config, steps) {
            self.refused.push(format!("`{command_line}`: the configuration is refused: {why}"));
        }
    }

    /// Executes a shell line, and returns its exit status and output.
    pub fn line(&mut self, line: &str) -> (u8, String) {
        self.balancer.fire_due_timers();
        let Some(steps) = shell::parse(line) else {
            return (2, "the shell line is not supported\n".to_owned());
        };
        let (mut status, mut text) = (0, String::new());
        for step in steps {
            let runs = match step.after {
                After::Always => true,
                After::Success => status == 0,
                After::Failure => status != 0,
            };
            if !runs {
                continue;
            }
            let mut input = String::new();
            for command in &step.commands {
                let done = self.simple_command(command, &std::mem::take(&mut input));
                status = done.status;
                if !command.silent {
                    text += &done.stderr;
                }
                input = if command.output.is_some() { String::new() } else { done.stdout };
            }
            text += &input;
        }
        (status, text)
    }

    /// Executes a line of `ipvsadm -R`, or the options of a command.
    pub fn ipvsadm_line(&mut self, line: &str) -> (u8, String) {
        let done = self.ipvsadm(&ipvsadm::parse(line));
        (done.status, done.stdout + &done.stderr)
    }

    fn simple_command(&mut self, command: &SimpleCommand, input: &str) -> CommandResult {
        let command_line = command.words.join(" ");
        match Action::parse(command) {
            Err(feature) => CommandResult::failed(2, format!("not supported yet: {feature}")),
            Ok(Action::Ipvsadm(read)) => self.ipvsadm(&read),
            Ok(Action::Fwmark(change)) => {
                if !change.apply(&mut self.config.fwmarks) {
                    return CommandResult::failed(
                        1,
                        "iptables: Bad rule (does a matching rule exist in that chain?).",
                    );
                }
                self.configure(&command_line);
                CommandResult::default()
            }
            Ok(Action::Network(change)) => self.network(change, &command_line),
            Ok(Action::SetSysctls { values, quiet }) => self.set_sysctls(&values, quiet),
            Ok(Action::GetSysctl { name, value_only }) => self.get_sysctl(&name, value_only),
            Ok(Action::WriteFile { name, text }) => match self.write(&name, &text) {
                Ok(()) => CommandResult::default(),
                Err(SysctlError::Invalid) => CommandResult::failed(1, "sh: write error: Invalid argument"),
                Err(SysctlError::Unknown) => {
                    CommandResult::failed(1, "sh: can't create it: nonexistent directory")
                }
            },
            Ok(Action::ReadFile { path, sorted }) => self.read_file(&path, sorted),
            Ok(Action::Sort) => CommandResult::printed(in_order(input)),
            Ok(Action::Load(scheduler)) => self.load(scheduler),
            Ok(Action::Nothing) => CommandResult::default(),
            Ok(Action::Fail) => CommandResult { status: 1, ..CommandResult::default() },
        }
    }

    fn load(&mut self, scheduler: Scheduler) -> CommandResult {
        self.sysctls.load(scheduler);
        CommandResult::default()
    }

    fn ipvsadm(&mut self, read: &Result<Command, ParseError>) -> CommandResult {
        let command = match read {
            Ok(command) => command,
            Err(error) => return CommandResult::failed(error.status(), error.to_string()),
        };
        match command {
            Command::List(listing) => {
                let (status, text) = texts::listing(listing, &self.config, self.balancer);
                return CommandResult { status, stdout: text, ..CommandResult::default() };
            }
            Command::Save { .. } => {
                return CommandResult::printed(save(&self.balancer.services(), &Numeric));
            }
            Command::Version => return CommandResult::printed(VERSION),
            _ => {}
        }
        let steps = match apply(command, &mut self.config) {
            Ok(steps) => steps,
            Err(why) => return CommandResult::failed(255, refusal(&why)),
        };
        match command {
            Command::AddService(service) | Command::EditService(service) => {
                self.sysctls.load(service.scheduler);
            }
            Command::Zero(only) => self.balancer.zero(*only),
            _ => {}
        }
        self.apply_steps(&format!("{command:?}"), &steps);
        CommandResult::default()
    }

    fn network(&mut self, change: NetworkChange, command_line: &str) -> CommandResult {
        if change == NetworkChange::FlushRoutes(None) {
            self.balancer.flush_pmtu();
        }
        if let Err(why) = change.apply(self.config.network.get_or_insert_default()) {
            return CommandResult::failed(2, why);
        }
        self.configure(command_line);
        CommandResult::default()
    }

    fn write(&mut self, name: &str, text: &str) -> Result<(), SysctlError> {
        self.sysctls.write(name, text, &mut self.config)?;
        self.configure(name);
        Ok(())
    }

    fn set_sysctls(&mut self, values: &[(String, String)], quiet: bool) -> CommandResult {
        let mut done = CommandResult::default();
        for (name, value) in values {
            match self.write(sysctls::name(name).unwrap_or_default(), value) {
                Ok(()) if quiet => {}
                Ok(()) => done.stdout += &format!("{name} = {value}\n"),
                Err(error) => {
                    done.status = 1;
                    done.stderr += &match error {
                        SysctlError::Invalid => "sysctl: write error: Invalid argument\n".to_owned(),
                        SysctlError::Unknown => format!("sysctl: error: '{name}' is an unknown key\n"),
                    };
                }
            }
        }
        done
    }

    fn get_sysctl(&self, name: &str, value_only: bool) -> CommandResult {
        let value = sysctls::name(name).and_then(|name| self.sysctls.read(name, &self.config.settings));
        match value {
            None => CommandResult::failed(1, format!("sysctl: error: '{name}' is an unknown key")),
            Some(value) if value_only => CommandResult::printed(format!("{value}\n")),
            Some(value) => CommandResult::printed(format!("{name} = {value}\n")),
        }
    }

    fn read_file(&mut self, path: &str, sorted: bool) -> CommandResult {
        let text = match path {
            SERVICES => Some(ipvsadm::proc::ip_vs(&self.balancer.services(), HZ)),
            CONNECTIONS => Some(ipvsadm::proc::ip_vs_conn(&self.balancer.connections())),
            _ => sysctls::name(path)
                .and_then(|name| self.sysctls.read(name, &self.config.settings))
                .map(|value| value + "\n"),
        };
        match text {
            None => CommandResult::failed(1, format!("cat: can't open '{path}': No such file or directory")),
            Some(text) if sorted => CommandResult::printed(in_order(&text)),
            Some(text) => CommandResult::printed(text),
        }
    }
}

/// The lines of a text, sorted by their bytes.
fn in_order(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.iter().map(|line| format!("{line}\n")).collect()
}
