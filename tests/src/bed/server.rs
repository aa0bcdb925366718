//! A real server: nginx that responds with its name, and a program that decapsulates tunnel packets.

use std::fs;
use std::path::{Path, PathBuf};

use super::command::{Result, ip, program};
use super::namespace::Namespace;
use super::process::Process;
use super::resources::Resources;
use super::{rules, wait};

/// Length of `/big` in bytes.
pub const BIG: usize = 10_000_000;

/// A server; it stops when this is dropped.
pub struct Server {
    /// `web1`; also the body of its responses.
    pub name: String,
    /// Contents of `/big`.
    pub big: Vec<u8>,
    root: PathBuf,
    _nginx: Process,
    _host: Process,
    /// Its namespace.
    pub namespace: Namespace,
}

impl Server {
    pub(super) fn new(resources: &Resources, switch: &Namespace, number: usize) -> Result<Server> {
        let name = format!("web{number}");
        let namespace = Namespace::new(resources, &name)?;
        namespace.connect("eth0", switch, &name)?;
        switch.ip(&format!("link set {name} up master br0"))?;
        namespace.address(&format!("10.2.0.{}/24", 10 + number), "eth0")?;
        namespace.address(&format!("fd00:2::{}/64", 10 + number), "eth0")?;
        namespace.ip("route add default via 10.2.0.254")?;
        namespace.ip("-6 route add default via fd00:2::254")?;
        namespace.ip("route add 10.1.0.2 via 10.2.0.1")?;
        namespace.ip("-6 route add fd00:1::2 via fd00:2::1")?;
        // With DR and tunnels, packets arrive with the virtual address as destination. NAT addresses are only the balancer's.
        for vip in rules::VIPS.iter().filter(|vip| !vip.contains("9.1/") && !vip.contains("::1/")) {
            namespace.address(vip, "lo")?;
        }
        let big: Vec<u8> = (0..BIG).map(|at| (at.wrapping_mul(31 * number) >> 3) as u8).collect();
        let mut host =
            Process::start(resources, &format!("{name}-host"), &mut namespace.command(program("host")?))?;
        host.until("the host program is ready", |log| Ok(log.contains("ready").then_some(())))?;
        let root = resources.directory().join(&name);
        let nginx = nginx(resources, &namespace, (&name, &root), &big)?;
        Ok(Server { name, big, root, _nginx: nginx, _host: host, namespace })
    }

    /// Returns what was uploaded to `/put/NAME`.
    pub fn uploaded(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.root.join("put").join(name)).ok()
    }
}

fn nginx(
    resources: &Resources,
    namespace: &Namespace,
    (name, root): (&str, &Path),
    big: &[u8],
) -> Result<Process> {
    fs::create_dir_all(root.join("put"))?;
    fs::write(root.join("big"), big)?;
    let conf = format!(
        "daemon off; master_process off; user root; pid {root}/pid; error_log stderr;\n\
         events {{}}\n\
         http {{ access_log off; client_max_body_size 16m; client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;\n\
         uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5; default_type text/plain;\n\
         server {{ listen 80; listen [::]:80; listen 8080; location = / {{ return 200 \"{name}\\n\"; }} location = /big {{ root {root}; }}\n\
         location /put/ {{ root {root}; dav_methods PUT; }} }} }}\n",
        root = root.display(),
    );
    let file = root.join("nginx.conf");
    fs::write(&file, conf)?;
    let mut command = namespace.command("nginx");
    command.arg("-p").arg(root).arg("-c").arg(&file).args(["-e", "stderr"]);
    let mut process = Process::start(resources, name, &mut command)?;
    let up = format!("netns exec {} curl --silent --output /dev/null http://127.0.0.1/", namespace.name);
    process.until("nginx answers", |_| Ok(ip(&up).ok()))?;
    Ok(process)
}

/// Waits until an address replies to pings from a namespace, so that neighbours are known.
///
/// # Errors
/// If it does not.
pub fn reachable(from: &Namespace, address: &str) -> Result<()> {
    let ping = format!("netns exec {} ping -c 1 -W 1 {address}", from.name);
    wait::until(&format!("{address} answers a ping"), || Ok(ip(&ping).ok()))
}
