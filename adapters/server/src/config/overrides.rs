//! Flags and environment as a layer over the rest.

use anyhow::Context;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::{Config, file};

/// What flags and environment said of a [`Config`]: only that, no defaults.
#[derive(Clone, Debug)]
pub struct Overrides(ArgMatches);

impl Overrides {
    /// Sets what flags and environment named; the rest stays.
    ///
    /// # Errors
    /// Names the flag whose value does not fit. The configuration may then be half changed.
    pub fn apply(&self, config: &mut Config) -> anyhow::Result<()> {
        config.update_from_arg_matches(&self.0).context("cannot apply the flags")
    }
}

impl FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(matches.clone()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = matches.clone();
        Ok(())
    }
}

impl Args for Overrides {
    fn augment_args(command: Command) -> Command {
        Self::augment_args_for_update(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        let settings = settings();
        command.args(settings.get_arguments())
    }
}

/// A command whose arguments are the keys of the schema, named by the rule, and with their defaults in their help.
pub(super) fn settings() -> Command {
    let defaults = file::leaves(&Config::default());
    Config::augment_args_for_update(Command::new("settings")).mut_args(|arg| {
        let key = arg.get_id().as_str().to_owned();
        let name = key.replace(['.', '_'], "-");
        let default = defaults.iter().find(|(leaf, _)| *leaf == key).map_or("", |(_, value)| value.trim_matches('"'));
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let help = match default {
            "" | "[]" | "false" => help,
            default => format!("{help} [default: {default}]"),
        };
        let variable = format!("PERIPLUS_{}", name.to_uppercase().replace('-', "_"));
        arg.long(name).env(variable).hide_env(true).help(help)
    })
}
