//! `periplus completions`.

use clap::Args;
use clap_complete::Shell;

use super::output;

/// Print what makes a shell complete these commands.
///
/// For bash: periplus completions bash > /etc/bash_completion.d/periplus
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, command: &mut clap::Command) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "periplus", &mut script);
        output::line(String::from_utf8_lossy(&script))
    }
}
