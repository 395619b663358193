//! A host report as the tests look at it.

use serde_json::Value;

use crate::support::Host;

/// Stands for a secret, wherever one may be: it must appear in no output.
pub const CANARY: &str = "CANARY-hunter2-9f86";

/// What `postern host` says on a machine.
#[derive(Debug)]
pub struct View(pub Value);

impl View {
    /// By root; the table is checked for the canary, too.
    pub fn by_root(host: &Host) -> Self {
        let table = output(host, &[], &[]);
        assert!(!table.contains(CANARY), "{table}");
        Self::read(&output(host, &[], &["-o", "json"]))
    }

    /// By an ordinary user without any capability.
    pub fn by_nobody(host: &Host) -> Self {
        let drop = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"];
        Self::read(&output(host, &drop, &["-o", "json"]))
    }

    fn read(text: &str) -> Self {
        assert!(!text.contains(CANARY), "{text}");
        Self(serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    pub fn list(&self, key: &str) -> &[Value] {
        self.0[key].as_array().map_or(&[], Vec::as_slice)
    }

    /// The TCP listener on a port; `namespace` is the name or its beginning.
    pub fn listener(&self, port: u16, namespace: &str) -> &Value {
        let found = self.list("listeners").iter().find(|one| {
            one["port"] == port && one["namespace"].as_str().is_some_and(|name| name.starts_with(namespace))
        });
        found.unwrap_or_else(|| panic!("nothing listens on {port} in {namespace}: {:#}", self.0["listeners"]))
    }

    /// The TCP listener on a port in a container, whatever its namespace is called; namespaces of other tests that run at
    /// the same time are seen, too.
    pub fn inside(&self, container: &str, port: u16) -> &Value {
        let found = self
            .list("listeners")
            .iter()
            .find(|one| one["port"] == port && one["container"] == container && one["namespace"] != "host");
        found.unwrap_or_else(|| panic!("nothing listens on {port} in {container}: {:#}", self.0["listeners"]))
    }

    pub fn namespace(&self, name: &str) -> &Value {
        let found = self.list("namespaces").iter().find(|one| one["name"] == name);
        found.unwrap_or_else(|| panic!("no namespace {name}: {:?}", self.namespace_names()))
    }

    pub fn namespace_names(&self) -> Vec<&str> {
        self.list("namespaces").iter().filter_map(|one| one["name"].as_str()).collect()
    }

    pub fn container(&self, name: &str) -> &Value {
        let found = self.list("containers").iter().find(|one| one["name"] == name || one["id"] == name);
        found.unwrap_or_else(|| panic!("no container {name}: {:#}", self.0["containers"]))
    }

    pub fn owner(&self, listener: &Value) -> &Value {
        let found = self.list("owners").iter().find(|one| one["pid"] == listener["pid"]);
        found.unwrap_or_else(|| panic!("no owner of {listener:#}"))
    }

    /// Whether a gap speaks of `words`, in what or in why.
    pub fn has_gap(&self, words: &str) -> bool {
        self.list("gaps").iter().any(|gap| {
            let says = |key: &str| gap[key].as_str().is_some_and(|text| text.contains(words));
            says("what") || says("cause")
        })
    }

    #[track_caller]
    pub fn assert_gap(&self, words: &str) {
        assert!(self.has_gap(words), "no gap about `{words}`: {:#}", self.0["gaps"]);
    }
}

fn output(host: &Host, before: &[&str], arguments: &[&str]) -> String {
    let mut command = host.command("env");
    command.args(["NO_COLOR=1", "timeout", "60"]).args(before).arg(env!("CARGO_BIN_EXE_postern")).arg("host");
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
