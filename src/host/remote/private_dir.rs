//! Driver: a directory that nobody else may look into, removed with its value.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::config::is_plain_path;

/// Those that exist, for an end of the process that runs no destructors.
static ALIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes what is left of all of them: to be called before a hard end of the process.
pub fn remove_all() {
    for path in std::mem::take(&mut *ALIVE.lock().unwrap_or_else(PoisonError::into_inner)) {
        let _ = fs::remove_dir_all(path);
    }
}

#[derive(Debug)]
pub(super) struct PrivateDir {
    path: PathBuf,
}

impl PrivateDir {
    /// `name` must not be guessable, or somebody could be there first (which is an error, not a danger).
    pub(super) fn new(name: &str) -> io::Result<Self> {
        let usual = std::env::temp_dir();
        // ssh reads the path as a word of its configuration, and a shell reads it for a jump host.
        let parent = if is_plain_path(&usual) { usual } else { PathBuf::from("/tmp") };
        let path = parent.join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        ALIVE.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        Ok(Self { path })
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }

    pub(super) fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path(file))?;
        file.write_all(text.as_bytes())
    }

    /// A name in here for a file whose own path may be anything.
    pub(super) fn link(&self, file: &str, target: &Path) -> io::Result<()> {
        symlink(fs::canonicalize(target)?, self.path(file))
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        ALIVE.lock().unwrap_or_else(PoisonError::into_inner).retain(|path| *path != self.path);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "reads the files back")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn private_and_gone_with_its_value() {
        let name = format!("postern-test-{}-private", std::process::id());
        let directory = PrivateDir::new(&name).unwrap();
        directory.write("config", "x\n").unwrap();
        directory.link("user", Path::new("Cargo.toml")).unwrap();
        let path = directory.path("");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(directory.path("config")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(directory.path("user")).unwrap().contains("[package]"));
        assert!(PrivateDir::new(&name).is_err(), "whoever was there first keeps it");
        assert!(path.exists());
        drop(directory);
        assert!(!path.exists() && fs::metadata("Cargo.toml").is_ok());
    }
}
