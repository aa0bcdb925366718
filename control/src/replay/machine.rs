//! The recorded machine as its commands know it: what is configured, and what commands print.

use super::action::{Action, CONNECTIONS, SERVICES};
use super::balancer::Balancer;
use super::network::NetworkChange;
use super::shell::{self, After, Simple};
use super::sysctls::{self, InputError, Sysctls};
use super::{texts, topology};
use crate::ipvsadm::names::Numeric;
use crate::ipvsadm::program::VERSION;
use crate::ipvsadm::{self, Command, ParseError, apply, refusal, save};
use crate::model::{Config, Scheduler, Settings, Start};

/// Ticks of the recorded kernel in a second.
const HZ: u32 = 100;

/// Commands, and what they left behind.
pub struct Machine<'a> {
    /// What is configured.
    pub config: Config,
    /// What it is configured on.
    pub balancer: &'a mut dyn Balancer,
    sysctls: Sysctls,
    /// Why a configuration was refused that the kernel would have taken.
    pub refused: Vec<String>,
}

/// What a command did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Done {
    status: u8,
    said: String,
    complained: String,
}

impl Done {
    fn said(said: impl Into<String>) -> Done {
        Done { said: said.into(), ..Done::default() }
    }

    fn failed(status: u8, why: impl AsRef<str>) -> Done {
        Done { status, complained: format!("{}\n", why.as_ref()), ..Done::default() }
    }
}

impl<'a> Machine<'a> {
    /// The recorded machine as it starts, with small tables: a conversation is some hundreds of frames, and each run
    /// takes its memory anew.
    pub fn new(balancer: &'a mut dyn Balancer) -> Machine<'a> {
        let start = Start {
            connections_ipv4: 1024,
            connections_ipv6: 1024,
            services: 64,
            destinations: 256,
            ..Start::default()
        };
        let settings = Settings { like_linux_6_1: true, ..Settings::default() };
        let config =
            Config { start, settings, network: Some(topology::network_config()), ..Config::default() };
        Machine { config, balancer, sysctls: Sysctls::default(), refused: Vec::new() }
    }

    /// Loads the modules of the schedulers that rules name, as the recorder did.
    pub fn load_for(&mut self, rules: &[String]) {
        for rule in rules {
            if let Ok(Command::AddService(service)) = ipvsadm::parse(rule) {
                self.sysctls.load(service.scheduler);
            }
        }
    }

    /// Sets a sysctl; none if it cannot be.
    pub fn sysctl(&mut self, name: &str, value: &str) -> Option<()> {
        self.sysctls.write(sysctls::name(name)?, value, &mut self.config).ok()
    }

    /// Lets the balancer act on what is configured.
    pub fn configure(&mut self, place: &str) {
        if let Err(why) = self.balancer.configure(&self.config) {
            self.refused.push(format!("`{place}`: the configuration is refused: {why}"));
        }
    }

    /// Carries out a line of a shell: its exit status and what it prints.
    pub fn line(&mut self, line: &str) -> (u8, String) {
        self.balancer.settle();
        let Some(steps) = shell::read(line) else { return (2, "this line is not understood\n".to_owned()) };
        let (mut status, mut text) = (0, String::new());
        for step in steps {
            let runs = match step.after {
                After::Anything => true,
                After::Success => status == 0,
                After::Failure => status != 0,
            };
            if !runs {
                continue;
            }
            let mut input = String::new();
            for command in &step.commands {
                let done = self.simple(command, &std::mem::take(&mut input));
                status = done.status;
                if !command.silent {
                    text += &done.complained;
                }
                input = if command.output.is_some() { String::new() } else { done.said };
            }
            text += &input;
        }
        (status, text)
    }

    /// Carries out a line of `ipvsadm -R`, or the options of a command.
    pub fn ipvsadm_line(&mut self, line: &str) -> (u8, String) {
        let done = self.ipvsadm(&ipvsadm::parse(line));
        (done.status, done.said + &done.complained)
    }

    fn simple(&mut self, command: &Simple, input: &str) -> Done {
        let place = command.words.join(" ");
        match Action::read(command) {
            Err(feature) => Done::failed(2, format!("not supported yet: {feature}")),
            Ok(Action::Ipvsadm(read)) => self.ipvsadm(&read),
            Ok(Action::Fwmark(change)) => {
                if !change.apply(&mut self.config.fwmarks) {
                    return Done::failed(
                        1,
                        "iptables: Bad rule (does a matching rule exist in that chain?).",
                    );
                }
                self.configure(&place);
                Done::default()
            }
            Ok(Action::Network(change)) => self.network(change, &place),
            Ok(Action::SetSysctls { values, quiet }) => self.set_sysctls(&values, quiet),
            Ok(Action::GetSysctl { name, value_only }) => self.get_sysctl(&name, value_only),
            Ok(Action::WriteFile { name, text }) => match self.write(&name, &text) {
                Ok(()) => Done::default(),
                Err(InputError::Invalid) => Done::failed(1, "sh: write error: Invalid argument"),
                Err(InputError::Unknown) => Done::failed(1, "sh: can't create it: nonexistent directory"),
            },
            Ok(Action::ReadFile { path, sorted }) => self.read_file(&path, sorted),
            Ok(Action::Sort) => Done::said(in_order(input)),
            Ok(Action::Load(scheduler)) => self.load(scheduler),
            Ok(Action::Nothing) => Done::default(),
            Ok(Action::Fail) => Done { status: 1, ..Done::default() },
        }
    }

    fn load(&mut self, scheduler: Scheduler) -> Done {
        self.sysctls.load(scheduler);
        Done::default()
    }

    fn ipvsadm(&mut self, read: &Result<Command, ParseError>) -> Done {
        let command = match read {
            Ok(command) => command,
            Err(error) => return Done::failed(error.status(), error.to_string()),
        };
        match command {
            Command::List(listing) => {
                let (status, text) = texts::listing(listing, &self.config, self.balancer);
                return Done { status, said: text, ..Done::default() };
            }
            Command::Save { .. } => return Done::said(save(&texts::rows(self.balancer), &Numeric)),
            Command::Version => return Done::said(VERSION),
            _ => {}
        }
        if let Err(why) = apply(command, &mut self.config) {
            return Done::failed(255, refusal(&why));
        }
        match command {
            Command::AddService(service) | Command::EditService(service) => {
                self.sysctls.load(service.scheduler);
            }
            Command::EditDestination(service, destination) => {
                self.balancer.touch(*service, destination.key());
            }
            Command::Zero(only) => self.balancer.zero(*only),
            _ => {}
        }
        self.configure(&format!("{command:?}"));
        Done::default()
    }

    fn network(&mut self, change: NetworkChange, place: &str) -> Done {
        if change == NetworkChange::FlushRoutes(None) {
            self.balancer.forget_ways();
        }
        if let Err(why) = change.apply(self.config.network.get_or_insert_default()) {
            return Done::failed(2, why);
        }
        self.configure(place);
        Done::default()
    }

    fn write(&mut self, name: &str, text: &str) -> Result<(), InputError> {
        self.sysctls.write(name, text, &mut self.config)?;
        self.configure(name);
        Ok(())
    }

    fn set_sysctls(&mut self, values: &[(String, String)], quiet: bool) -> Done {
        let mut done = Done::default();
        for (name, value) in values {
            match self.write(sysctls::name(name).unwrap_or_default(), value) {
                Ok(()) if quiet => {}
                Ok(()) => done.said += &format!("{name} = {value}\n"),
                Err(error) => {
                    done.status = 1;
                    done.complained += &match error {
                        InputError::Invalid => "sysctl: write error: Invalid argument\n".to_owned(),
                        InputError::Unknown => format!("sysctl: error: '{name}' is an unknown key\n"),
                    };
                }
            }
        }
        done
    }

    fn get_sysctl(&self, name: &str, value_only: bool) -> Done {
        let value = sysctls::name(name).and_then(|name| self.sysctls.read(name, &self.config.settings));
        match value {
            None => Done::failed(1, format!("sysctl: error: '{name}' is an unknown key")),
            Some(value) if value_only => Done::said(format!("{value}\n")),
            Some(value) => Done::said(format!("{name} = {value}\n")),
        }
    }

    fn read_file(&mut self, path: &str, sorted: bool) -> Done {
        let text = match path {
            SERVICES => Some(ipvsadm::proc::ip_vs(&texts::rows(self.balancer), HZ)),
            CONNECTIONS => Some(ipvsadm::proc::ip_vs_conn(&texts::connection_rows(self.balancer))),
            _ => sysctls::name(path)
                .and_then(|name| self.sysctls.read(name, &self.config.settings))
                .map(|value| value + "\n"),
        };
        match text {
            None => Done::failed(1, format!("cat: can't open '{path}': No such file or directory")),
            Some(text) if sorted => Done::said(in_order(&text)),
            Some(text) => Done::said(text),
        }
    }
}

/// The lines of a text in the order of their bytes.
fn in_order(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.iter().map(|line| format!("{line}\n")).collect()
}
