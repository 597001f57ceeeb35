//! The generated files of this repository.

use std::process::Command;

use crate::command::cargo;

/// A file and the command that prints it.
pub(crate) struct Generated {
    /// From the root of the repository.
    pub(crate) path: &'static str,
    /// Arguments of `holdpoint`.
    pub(crate) arguments: &'static [&'static str],
}

/// Every one of them. The binary prints them, so what is published is what runs.
pub(crate) const GENERATED: &[Generated] = &[];

impl Generated {
    /// The command that prints the file.
    pub(crate) fn command(&self) -> Command {
        let mut command = cargo();
        command.args(["run", "--quiet", "--locked", "--package", "holdpoint", "--"]).args(self.arguments);
        command
    }
}
